"""Definitions from several processes at once: together they stay without a cycle, on a folder and on S3."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlinfra.features import FeatureInUse, FeatureMetadata, FeatureStore, get_feature_store

CLOSING_A_CYCLE = """
import sys
from mlinfra.features import CyclicDependency, FeatureMetadata, get_feature_store
root, name, other = sys.argv[1:]
store = get_feature_store(root)
print("ready", flush=True)
sys.stdin.readline()
for version in range(1, 7):
    try:
        store.register_feature(FeatureMetadata(name=name, version=f"{version}.0", dependencies=(other,)))
        print(version, "registered")
    except CyclicDependency:
        print(version, "refused")
"""


def test_two_processes_do_not_close_a_cycle_together(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.register_features([FeatureMetadata(name=name, version="0.1") for name in "ab"])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLOSING_A_CYCLE, str(tmp_path), name, other],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, other in ("ab", "ba")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("go\n")[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    outcomes = {tuple(sorted(set(answer[1::2]))) for answer in answers}
    assert outcomes == {("registered",), ("refused",)}
    assert len(store.feature_lineage("a").edges) + len(store.feature_lineage("b").edges) > 0


@pytest.fixture
def s3_store(s3_uri: str) -> FeatureStore:
    return get_feature_store(s3_uri)


def test_definitions_on_s3(s3_store: FeatureStore) -> None:
    momentum = FeatureMetadata(name="momentum", dependencies=("log_return",))
    log_return = FeatureMetadata(name="log_return", dependencies=("raw:close",))
    s3_store.register_features([momentum, log_return])
    s3_store.register_features([momentum, log_return])
    assert s3_store.list_features() == [log_return, momentum]
    assert [node.name for node in s3_store.feature_lineage("momentum").upstream] == [
        "log_return@1.0",
        "raw:close",
    ]
    with pytest.raises(FeatureInUse, match=r"used by momentum@1\.0"):
        s3_store.delete_feature("log_return", "1.0")
    s3_store.delete_feature("momentum", "1.0")
    assert s3_store.list_features() == [log_return]
