"""An object store in memory."""

import fsspec
import pytest
from pyarrow import fs


@pytest.fixture
def objects() -> fs.FileSystem:
    """A file system that no other test has, whose locks are leases."""
    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory", skip_instance_cache=True)))
