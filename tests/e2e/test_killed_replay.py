"""A replay whose server, operator and MLflow are killed ends as an undisturbed one does.

Both are played on one platform, one after the other, under names of their own. All else is the same in both:
the dates on which the policy asked for a training and what came of it, every answer and the version that
gave it, each row of the prediction log and of the labels, and what the monitors count. Requests do fail
while a server is away, and are sent again under their IDs. MLINFRA_KILL_SEED chooses other moments.
"""

import io
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import httpx
import numpy as np
import pytest
from e2e.driver import REPOSITORY
from e2e.killer import NAMESPACE, VICTIMS, Blow, Killer, blows
from integration.conftest import quietly
from mlflow import MlflowClient
from rich.console import Console

from mlinfra.cli.drift_demonstration import Played, live_settings, play, template_in
from mlinfra.features import get_feature_store
from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, SERVICES, TRAINING_JOBS
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.platform import Platform
from mlinfra.local.state import ClusterState
from mlinfra.local.supervision import kept_running
from mlinfra.monitoring.chunk_store import ChunkStore
from mlinfra.monitoring.monitor import ModelMonitor
from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.resources.names import TRAINING_JOB_LABEL
from mlinfra.retraining.live.manifests import LiveSettings, retraining_policy
from mlinfra.serving.label_book import LABELS_PREFIX
from mlinfra.serving.log_rows import (
    ID_COLUMN,
    LABEL_COLUMN,
    OUTPUT_PREFIX,
    TIME_COLUMN,
    VERSION_COLUMN,
    log_group,
)
from mlinfra.serving.model_source import ModelSource
from mlinfra.serving.prediction_log import GROUP_PREFIX

Found = dict[str, Any]

START, UNTIL = datetime(2003, 12, 31, tzinfo=UTC), datetime(2005, 4, 15, tzinfo=UTC)
CALM_UNTIL = date(2005, 2, 28)
"""The policy asks for its training after it."""
WINDOW_ROWS = 100
SEED = int(os.environ.get("MLINFRA_KILL_SEED", "6"))
"""Chooses the moments; `make test` kills at the same ones each time."""
TEMPLATE = template_in(REPOSITORY / "examples" / "backtest_training.yaml")


@pytest.fixture
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """A platform that this test holds."""
    cluster = LocalCluster(ClusterState(tmp_path_factory.mktemp("killed"), "killed"), durable=False)
    try:
        with cluster.session("pytest") as session:
            platform = Platform(cluster)
            await platform.up(session, quietly)
            yield platform
    finally:
        cluster.down(delete=True)


@pytest.mark.timeout(900)
async def test_kills_lose_no_label_train_nothing_twice_and_end_alike(platform: Platform) -> None:
    calm, calm_end = await played(platform, ())
    assert calm.failures == ()
    chosen = blows(SEED, START.date(), CALM_UNTIL)
    killed, killed_end = await played(platform, chosen)

    assert killed_end == calm_end
    assert np.array_equal(killed.served.answers, calm.served.answers)
    assert np.array_equal(killed.served.by, calm.served.by)

    # One training of its own, and one that the policy asked for, each done once; the second one is served.
    assert [len(calm_end[what]) for what in ("decisions", "versions", "runs", "registered")] == [1, 2, 2, 2]
    assert [(each["version"], each["phase"]) for each in calm_end["versions"]] == [
        ("1", "Archived"),
        ("2", "Production"),
    ]
    assert calm_end["jobs"] == [1, 1]
    rows = len(calm.served.rows)
    assert calm.labels == killed.labels == rows
    for log in ("predictions", "labels"):
        assert sorted(row[ID_COLUMN] for row in calm_end[log]) == sorted(str(row) for row in range(rows))
    assert sum(each["rows"] for each in calm_end["counted"]) == rows


async def played(platform: Platform, blows: Sequence[Blow]) -> tuple[Played, Found]:
    """A replay under blows, and what it came to."""
    settings = live_settings(START, UNTIL, window_rows=WINDOW_ROWS)
    killer, said = Killer(platform, settings.model), list[str]()
    async with kept_running(platform, said.append):
        async with killer.striking(blows):
            found = await play(platform, settings, TEMPLATE, Console(file=io.StringIO()))
        end = await end_of(platform, settings, found)
    struck = Counter[str](blow.victim for blow in killer.struck)
    assert all(struck[victim] >= (2 if blows else 0) for victim in VICTIMS)
    # The node starts servers again; what else ended is started again here, and that is told.
    for name in ("operator", "mlflow"):
        assert any(text.startswith(f"{name} ended by itself") for text in said) == bool(struck[name])
    return found, end


async def end_of(platform: Platform, settings: LiveSettings, played: Played) -> Found:
    """What a replay came to, without its names and how long anything took."""
    model = settings.model
    async with platform.cluster.client() as client:
        versions, _ = await client.list(MODEL_VERSIONS, NAMESPACE)
        trainings, _ = await client.list(TRAINING_JOBS, NAMESPACE)
        jobs, _ = await client.list(JOBS, NAMESPACE)
        services, _ = await client.list(SERVICES, NAMESPACE)
    own = sorted(
        (obj for obj in versions if obj["spec"]["modelName"] == model),
        key=lambda obj: obj["metadata"]["name"],
    )
    names = [obj["metadata"]["name"] for obj in trainings if obj["spec"]["modelName"] == model]
    mlflow = MlflowClient(platform.mlflow_url)
    experiment = mlflow.get_experiment_by_name(model)
    assert experiment is not None
    (service,) = (
        obj for obj in services if (obj["metadata"].get("labels") or {}).get("mlinfra.io/model") == model
    )
    return {
        "decisions": [
            {name: value for name, value in asdict(each).items() if name not in ("job", "seconds")}
            for each in played.replayed.retrainings
        ],
        "rollbacks": played.replayed.rollbacks,
        "versions": [_version(obj) for obj in own],
        "jobs": [sum(_training_of(job) == name for job in jobs) for name in names],
        "runs": [run.info.status for run in mlflow.search_runs([experiment.experiment_id])],
        "registered": sorted(
            (each.version, each.current_stage, tuple(each.aliases))
            for each in mlflow.search_model_versions(f"name='{model}'")
        ),
        "predictions": _rows(platform, model, GROUP_PREFIX, VERSION_COLUMN, f"{OUTPUT_PREFIX}0"),
        "labels": _rows(platform, model, LABELS_PREFIX, VERSION_COLUMN, LABEL_COLUMN),
        "counted": [_counted(platform, model, obj["spec"]["version"]) for obj in own],
        "monitors": await _monitors(service, settings),
    }


def _version(obj: Found) -> Found:
    status = obj["status"]
    lineage = {
        name: value
        for name, value in (status.get("lineage") or {}).items()
        if name in ("trigger", "message", "evidence")
    }
    return {
        "version": obj["spec"]["version"],
        "phase": status["phase"],
        "metrics": [each for each in status["metrics"] if not each["name"].endswith("_seconds")],
        "gates": status.get("gates"),
        "lineage": lineage,
    }


def _training_of(job: Found) -> str | None:
    labels: dict[str, str] = job["metadata"].get("labels") or {}
    return labels.get(TRAINING_JOB_LABEL)


def _rows(platform: Platform, model: str, prefix: str, *columns: str) -> list[Found]:
    """All rows of a group as they were written: one that was written twice is there twice."""
    store = get_feature_store(platform.cluster.state.directory / "predictions")
    files, _ = store.offline_files_since(log_group(prefix, model), None)
    found = [
        row | {ID_COLUMN: row[ID_COLUMN].removeprefix(f"{model}-")}
        for _, batch in files.batches([ID_COLUMN, TIME_COLUMN, *columns])
        for row in batch.to_pylist()
    ]
    return sorted(found, key=lambda row: int(row[ID_COLUMN]))


def _counted(platform: Platform, model: str, version: str) -> Found:
    """What the servers of a version counted, as one more of them reads it."""
    file = ModelSource(f"models:/{model}/{version}", tracking_uri=platform.mlflow_url).fetch()
    assert file.profile is not None
    profile = ReferenceProfile.of_json(file.profile)
    store = ChunkStore(
        platform.cluster.state.directory / "monitoring",
        model=model,
        version=version,
        profile=profile.id,
        replica="test",
        classes=bool(profile.classes),
    )
    report = ModelMonitor(profile, model_name=model, model_version=version, store=store).check(None, None)
    return {"rows": report.rows, "labelled": report.labelled}


async def _monitors(service: Found, settings: LiveSettings) -> Found:
    """What the server in Production says of the policy's monitors."""
    spec = retraining_policy(settings, TEMPLATE)["spec"]
    address = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
    async with httpx.AsyncClient(trust_env=False, timeout=30.0) as http:
        answer = await http.post(
            f"{address}/v2/models/{settings.model}/monitoring",
            json={name: spec[name] for name in ("drift", "performance")},
        )
    report: Found = answer.raise_for_status().json()
    told = {
        name: {part: report[name]["result"].get(part) for part in ("outcome", "score")}
        for name in ("drift", "performance")
    }
    return told | {name: report[name] for name in ("modelVersion", "rows", "labelled")}
