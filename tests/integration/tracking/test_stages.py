"""Stage, alias and tag of a model version stay together."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlinfra.resources.promotion import Stage
from mlinfra.tracking.contract import STAGE_TAG
from mlinfra.tracking.stages import set_stage, stage_of

MODEL = "volatility"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def client(store: str, tmp_path: Path) -> MlflowClient:
    client = MlflowClient(store, store)
    for found in client.search_registered_models():
        client.delete_registered_model(found.name)
    client.create_registered_model(MODEL)
    for _ in range(2):
        client.create_model_version(MODEL, source=f"file://{tmp_path}")
    return client


def held_aliases(client: MlflowClient) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(MODEL).aliases.items()}


@pytest.mark.parametrize(
    ("stage", "aliases"),
    [("Production", ["production"]), ("Staging", ["staging"]), ("Archived", []), ("None", [])],
)
def test_stage_alias_and_tag_agree(client: MlflowClient, stage: Stage, aliases: list[str]) -> None:
    set_stage(client, MODEL, "1", stage)

    version = client.get_model_version(MODEL, "1")
    assert (version.current_stage, version.tags[STAGE_TAG], version.aliases) == (stage, stage, aliases)


def test_second_call_writes_nothing(client: MlflowClient) -> None:
    assert set_stage(client, MODEL, "1", "Production")
    updated = client.get_model_version(MODEL, "1").last_updated_timestamp

    assert not set_stage(client, MODEL, "1", "Production")
    assert client.get_model_version(MODEL, "1").last_updated_timestamp == updated


def test_version_that_leaves_a_stage_loses_its_alias(client: MlflowClient) -> None:
    set_stage(client, MODEL, "1", "Production")
    set_stage(client, MODEL, "1", "Staging")

    assert client.get_model_version(MODEL, "1").aliases == ["staging"]
    assert held_aliases(client) == {"staging": "1"}


def test_archiving_the_older_version_leaves_the_newer_ones_alias(client: MlflowClient) -> None:
    set_stage(client, MODEL, "1", "Production")
    set_stage(client, MODEL, "2", "Production")
    set_stage(client, MODEL, "1", "Archived")

    assert held_aliases(client) == {"production": "2"}
    assert stage_of(client.get_model_version(MODEL, "1")) == "Archived"
    assert stage_of(client.get_model_version(MODEL, "2")) == "Production"


def test_a_users_own_alias_is_left_alone(client: MlflowClient) -> None:
    client.set_registered_model_alias(MODEL, "favourite", "1")
    set_stage(client, MODEL, "1", "Production")
    set_stage(client, MODEL, "1", "Archived")

    assert held_aliases(client) == {"favourite": "1"}
