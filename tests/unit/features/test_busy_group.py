"""Everything that is appended and not dropped is read once, whatever else is done at the same time."""

import tempfile
import uuid
from pathlib import Path

import fsspec
from hypothesis import given, settings
from oracles.busy_group import STEPS, Step, busy_group
from pyarrow import fs

from mlinfra.features.local_storage import LocalStorage
from mlinfra.features.object_storage import ObjectStorage


@given(steps=STEPS)
@settings(max_examples=30)
def test_in_a_folder_each_row_is_read_once(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder, busy_group(LocalStorage(Path(folder))) as group:
        for step in steps:
            group.do(step)
        group.end()


@given(steps=STEPS)
@settings(max_examples=15)
def test_in_an_object_store_each_row_is_read_once(steps: list[Step]) -> None:
    memory = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory", skip_instance_cache=True)))
    with busy_group(ObjectStorage(memory, uuid.uuid4().hex)) as group:
        for step in steps:
            group.do(step)
        group.end()
