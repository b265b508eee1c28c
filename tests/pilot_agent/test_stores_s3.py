"""What only S3 has: signatures and a largest size."""

import threading
from calendar import timegm
from pathlib import Path

import pytest

from prodchain.pilot_agent import stores_s3
from prodchain.pilot_agent.errors import StorageError
from prodchain.pilot_agent.store import Source

AWS = {"key": "AKIAIOSFODNN7EXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
"""https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, its first example."""


def test_a_request_is_signed_as_amazons_example_says() -> None:
    headers = {"Range": "bytes=0-9", "x-amz-content-sha256": stores_s3.EMPTY}
    now = timegm((2013, 5, 24, 0, 0, 0))
    signed = stores_s3.signed("GET", "https://examplebucket.s3.amazonaws.com/test.txt", headers, AWS, now)
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_file_that_s3_does_not_take_in_one_request_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(stores_s3.MOST + 1)
    store = stores_s3.S3Store("s3+https://nowhere.invalid", AWS)
    with pytest.raises(StorageError, match="at most 5368709120 in an S3 object") as caught:
        store.put("/bucket/huge", Source(huge, threading.Event()))
    assert "smaller files" in caught.value.hint
