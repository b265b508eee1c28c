"""A certificate authority for one test run, and a certificate for 127.0.0.1."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Certificates:
    ca: Path
    """The authority's certificate: what a client trusts."""
    folder: Path
    """The authority under the name that OpenSSL looks for (XRootD's ``certdir``)."""
    certificate: Path
    key: Path


def make_certificates(at: Path) -> Certificates:
    """New keys and certificates in a folder, good for a day."""
    at.mkdir(exist_ok=True)
    made = Certificates(at / "ca.pem", at / "certs", at / "host.pem", at / "host.key")
    made.folder.mkdir()
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    _openssl("req", "-x509", *new_key, "-subj", "/CN=test CA", "-keyout", at / "ca.key", "-out", made.ca)
    signed = ["-CA", made.ca, "-CAkey", at / "ca.key", "-addext", NAMES, "-addext", "basicConstraints=CA:FALSE"]
    _openssl(
        "req", "-x509", *new_key, "-subj", "/CN=localhost", *signed, "-keyout", made.key, "-out", made.certificate
    )
    hashed = _openssl("x509", "-noout", "-hash", "-in", made.ca).strip()
    (made.folder / f"{hashed}.0").write_bytes(made.ca.read_bytes())
    return made


def _openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stdout
