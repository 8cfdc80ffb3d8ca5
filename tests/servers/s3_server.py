"""A real S3 server on a free port, in this process, with its data in memory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs


@contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """A bucket; the standard AWS variables lead to it, here and in processes started from here."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
                patch.delenv(name, raising=False)
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "an-access-key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            filesystem, path = fs.FileSystem.from_uri(f"s3://{bucket}?allow_bucket_creation=true")
            filesystem.create_dir(path)
            yield f"s3://{bucket}"
    finally:
        server.stop()
