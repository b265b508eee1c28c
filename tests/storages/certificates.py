"""A certificate authority for one test run, and a certificate for 127.0.0.1."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Certificates:
    at: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate: what a client trusts."""
        return self.at / "ca.pem"

    @property
    def folder(self) -> Path:
        """The authority under the name that OpenSSL looks for (XRootD's ``certdir``)."""
        return self.at / "certs"

    @property
    def certificate(self) -> Path:
        return self.at / "host.pem"

    @property
    def key(self) -> Path:
        return self.at / "host.key"


def make_certificates(at: Path) -> Certificates:
    """New keys and certificates in a folder, good for a day."""
    made = Certificates(at)
    made.folder.mkdir(parents=True)
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
