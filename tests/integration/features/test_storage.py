"""What every storage promises, tried on a folder, on S3, and on pyarrow file systems handed in."""

import threading
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import fs

from mlinfra.features import (
    FeatureConflict,
    FeatureMetadata,
    FeatureStore,
    FeatureStoreUnavailable,
    get_feature_store,
    object_storage,
)
from mlinfra.features.local_storage import LocalStorage
from mlinfra.features.object_storage import ObjectStorage
from mlinfra.features.storage import Storage, open_storage


@pytest.fixture(params=["folder", "s3", "handed in"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, s3_uri: str) -> Storage:
    if request.param == "folder":
        return open_storage(tmp_path / "store")
    if request.param == "s3":
        return open_storage(s3_uri)
    return open_storage(tmp_path.name, fs.PyFileSystem(fs.FSSpecHandler(memory_file_system())))


def memory_file_system() -> object:
    import fsspec

    return fsspec.filesystem("memory", skip_instance_cache=True)


def test_files_are_listed_read_and_deleted(storage: Storage) -> None:
    assert storage.entries() == []
    assert storage.size("a/x.json") is None
    storage.publish("a/x.json", b"12")
    storage.write("a/b/y.bin", memoryview(b"345"))
    listed = storage.entries(recursive=True)
    assert [(entry.name, entry.is_folder, entry.size) for entry in listed] == [
        ("a", True, 0),
        ("a/b", True, 0),
        ("a/b/y.bin", False, 3),
        ("a/x.json", False, 2),
    ]
    assert [entry.base_name for entry in storage.at("a").entries()] == ["b", "x.json"]
    assert storage.at("a").read("x.json") == b"12"
    with storage.filesystem.open_input_file(storage.path("a/b/y.bin")) as file:
        assert file.read() == b"345"
    for _ in range(2):
        storage.delete("a/x.json")
    with pytest.raises(FileNotFoundError):
        storage.read("a/x.json")


def test_what_is_published_is_not_replaced(storage: Storage) -> None:
    storage.publish("x.json", b"first")
    with pytest.raises(FileExistsError):
        storage.publish("x.json", b"second")
    assert storage.read("x.json") == b"first"
    assert [entry.name for entry in storage.entries()] == ["x.json"]


def test_one_at_a_time_holds_a_lock(storage: Storage) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(3):
            with storage.exclusive("locks/one") as still_held:
                inside += 1
                most = max(most, inside)
                still_held()
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_lease_of_a_holder_that_died_ends(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_storage, "LEASE_SECONDS", 0.3)
    storage = open_storage(s3_uri)
    storage.write("lock.claims/of-the-dead", b"")
    with storage.exclusive("lock"):
        assert len(storage.entries("lock.claims")) == 1


def test_a_holder_that_stalled_is_told(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_storage, "HOLD_SECONDS", -1.0)
    with (
        open_storage(s3_uri).exclusive("lock") as still_held,
        pytest.raises(FeatureStoreUnavailable, match=r"lock s3://features/\w+/lock was held for more than"),
    ):
        still_held()


def test_a_store_works_on_s3_as_on_a_folder(s3_uri: str) -> None:
    store = get_feature_store(s3_uri)
    frame = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=3), "symbol": "A", "x": [1, 2, 3]})
    store.register_feature(FeatureMetadata(name="x"))
    store.write_offline_features("g", frame, partition_by="day")
    store.write_offline_features("g", frame.tail(1).assign(x=9))
    again = get_feature_store(s3_uri)
    assert again.list_feature_groups() == ["g"]
    assert again.read_offline_features("g")["x"].tolist() == [1, 2, 9]
    assert again.read_offline_features("g", "2024-01-02", "2024-01-02")["x"].tolist() == [2]
    assert [each.name for each in again.list_features()] == ["x"]
    with pytest.raises(FeatureConflict):
        again.register_feature(FeatureMetadata(name="x", description="another"))
    with pytest.raises(FeatureStoreUnavailable, match="is not a folder of this machine"):
        _ = again.root


def test_a_bucket_that_is_not_there_is_told(bucket: str) -> None:
    with pytest.raises(FeatureStoreUnavailable, match=r"NO_SUCH_BUCKET.*nothing was changed"):
        get_feature_store("s3://no-such-bucket/store").register_feature(FeatureMetadata(name="x"))


def test_credentials_in_a_uri_are_never_shown(bucket: str) -> None:
    store = FeatureStore("s3://an-access-key:a-secret-key@features/x")
    assert store.uri == "s3://features/x"


def test_file_systems_of_the_machine_are_folders(tmp_path: Path) -> None:
    inner = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    storage = open_storage("a/b", inner)
    assert isinstance(storage, LocalStorage)
    assert storage.folder == tmp_path / "a" / "b"
    assert isinstance(
        open_storage("a/b", fs.PyFileSystem(fs.FSSpecHandler(memory_file_system()))), ObjectStorage
    )
