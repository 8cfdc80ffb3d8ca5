"""A bucket of a local S3 server for the whole session."""

import uuid
from collections.abc import Iterator

import pytest
from servers.s3_server import s3_server


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    with s3_server("features") as uri:
        yield uri


@pytest.fixture
def s3_uri(bucket: str) -> str:
    """A place of its own in the bucket."""
    return f"{bucket}/{uuid.uuid4().hex}"
