"""A training records the rows it learnt from, and another one learns from the very same."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from mlinfra.datasets import write_dataset
from mlinfra.features import FeatureStore, Snapshot, UnknownFeatureGroup, UnknownSnapshot, get_feature_store
from mlinfra.resources.built_in_training import Export
from mlinfra.tracking.contract import FEATURE_SNAPSHOT_PROBLEM_TAG, FEATURE_SNAPSHOT_TAG
from mlinfra.training.config import DataConfig, ModelConfig, TrainerConfig, TrainingConfig
from mlinfra.training.data import SNAPSHOT_FILE
from mlinfra.training.local import LocalTraining, Registration, train_locally

GROUP = "sp500_daily"


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = get_feature_store(tmp_path / "store")
    write_dataset(store, "sp500")
    return store


def trained(store: FeatureStore, folder: Path, **data: Any) -> LocalTraining:
    learnt = {"feature_group": GROUP, "label": "turbulent", "features": ["rsi_14", "range_10"], **data}
    config = TrainingConfig(
        data=DataConfig(**learnt),
        model=ModelConfig(parameters={"hiddenSize": 8, "convChannels": [8]}),
        training=TrainerConfig(epochs=1),
        export=Export(onnx=False),
    )
    return train_locally(
        config,
        Registration("repeated", register=False),
        on_progress=lambda _epoch, _progress: None,
        store=store,
        experiment_name="repeated",
        export_folder=folder / "exports",
    )


def rewritten(store: FeatureStore) -> None:
    """Other values for the last thousand days, as a correction would write them."""
    frame = store.read_offline_features(GROUP).tail(1000)
    numbers = frame.select_dtypes("float").columns
    store.write_offline_features(GROUP, frame.assign(**{name: frame[name] / 2 for name in numbers}))


def test_a_training_is_repeated_on_the_rows_of_its_snapshot(
    store: FeatureStore, mlflow_server: Any, tmp_path: Path
) -> None:
    client = MlflowClient(mlflow_server.uri)
    first = trained(store, tmp_path, start_date="2004-01-01", end_date="2017-12-31")
    run = client.get_run(first.run_id)
    snapshot_id = run.data.tags[FEATURE_SNAPSHOT_TAG]
    assert FEATURE_SNAPSHOT_PROBLEM_TAG not in run.data.tags
    snapshot = store.get_snapshot(snapshot_id)
    assert snapshot.of_group(GROUP).features == ["rsi_14", "range_10", "turbulent"]
    assert run.inputs is not None
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == (GROUP, snapshot_id)
    assert json.loads(entry.dataset.source)["store"] == store.uri

    rewritten(store)
    repeated = trained(store, tmp_path, snapshot=snapshot_id)
    other = trained(store, tmp_path, start_date="2004-01-01", end_date="2017-12-31")
    tags = {each.run_id: client.get_run(each.run_id).data.tags for each in (repeated, other)}
    assert tags[repeated.run_id][FEATURE_SNAPSHOT_TAG] == snapshot_id
    assert tags[other.run_id][FEATURE_SNAPSHOT_TAG] != snapshot_id
    assert repeated.result.metrics == first.result.metrics
    assert repeated.result.periods == first.result.periods
    assert other.result.metrics != first.result.metrics


def test_a_store_that_cannot_be_written_leaves_the_manifest_to_the_run(
    store: FeatureStore, mlflow_server: Any, tmp_path: Path
) -> None:
    # A file where the folder would be fails as a read-only volume does, also for root.
    manifests = store.root / "metadata" / "snapshots"
    manifests.parent.mkdir(exist_ok=True)
    manifests.touch()
    done = trained(store, tmp_path)
    run = MlflowClient(mlflow_server.uri).get_run(done.run_id)
    assert "snapshots" in run.data.tags[FEATURE_SNAPSHOT_PROBLEM_TAG]
    file = mlflow.artifacts.download_artifacts(f"runs:/{done.run_id}/{SNAPSHOT_FILE}", dst_path=str(tmp_path))
    snapshot = Snapshot.from_json(Path(file).read_bytes(), where=file)
    assert snapshot.id == run.data.tags[FEATURE_SNAPSHOT_TAG]
    before = store.read_snapshot(snapshot)

    manifests.unlink()
    store.publish_snapshot(snapshot)
    rewritten(store)
    pd.testing.assert_frame_equal(store.read_snapshot(snapshot.id), before)


def test_a_snapshot_that_is_not_there_or_of_another_group_is_refused(
    store: FeatureStore, tmp_path: Path
) -> None:
    with pytest.raises(UnknownSnapshot, match="no snapshot 'lost'"):
        trained(store, tmp_path, snapshot="lost")
    write_dataset(store, "nasdaq")
    store.create_snapshot("nasdaq_daily", "other")
    with pytest.raises(UnknownFeatureGroup, match="'other' holds no feature group 'sp500_daily'"):
        trained(store, tmp_path, snapshot="other")
