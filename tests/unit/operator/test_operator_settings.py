"""What the operator is told by its environment."""

import pytest

from mlinfra_operator.modelversion.imports import ImportScope
from mlinfra_operator.settings import DEFAULT_TRAINER_IMAGE, Settings, SettingsError


def test_settings_have_defaults_and_empty_values_are_absent() -> None:
    settings = Settings.of(
        {"MLFLOW_TRACKING_URI": "http://mlflow:5000/", "MLINFRA_WATCH_NAMESPACE": "", "OTHER": "x"}
    )
    assert settings == Settings(tracking_uri="http://mlflow:5000", trainer_image=DEFAULT_TRAINER_IMAGE)


def test_every_setting_is_read() -> None:
    assert Settings.of(
        {
            "MLFLOW_TRACKING_URI": "https://mlflow",
            "MLINFRA_TRAINER_IMAGE": "trainer:2",
            "MLINFRA_SERVER_IMAGE": "server:2",
            "MLINFRA_FEATURE_STORE_URI": "s3://features",
            "MLINFRA_MONITORING_URI": "file:///monitoring",
            "MLINFRA_PREDICTION_LOG_URI": "s3://predictions",
            "MLINFRA_SERVING_TOKEN": "a-token-of-ours",
            "MLINFRA_WATCH_NAMESPACE": "team",
            "MLINFRA_HEALTH_ADDRESS": "0.0.0.0:8080",
            "MLINFRA_WATCH_SILENCE_SECONDS": "30.5",
            "MLINFRA_DELETION_PATIENCE_SECONDS": "60",
            "MLINFRA_IMPORT_NAMESPACE": "team",
            "MLINFRA_IMPORT_MODELS": "fraud-*, prices,",
            "MLINFRA_LOG_FORMAT": "json",
            "MLINFRA_METRICS_ADDRESS": "0.0.0.0:8081",
            "MLINFRA_LEADER_ELECTION": "False",
            "POD_NAME": "operator-1",
            "POD_NAMESPACE": "system",
        }
    ) == Settings(
        "https://mlflow",
        trainer_image="trainer:2",
        server_image="server:2",
        feature_store_uri="s3://features",
        monitoring_uri="file:///monitoring",
        prediction_log_uri="s3://predictions",
        serving_token="a-token-of-ours",
        watch_namespace="team",
        health_address="0.0.0.0:8080",
        watch_silence=30.5,
        deletion_patience=60,
        import_scope=ImportScope("team", ("fraud-*", "prices")),
        log_format="json",
        metrics_address="0.0.0.0:8081",
        leader_election=False,
        identity="operator-1",
        lease_namespace="system",
    )


def test_the_token_is_not_shown() -> None:
    settings = Settings.of(
        {"MLFLOW_TRACKING_URI": "http://mlflow", "MLINFRA_SERVING_TOKEN": "a-token-of-ours"}
    )
    assert "a-token-of-ours" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"MLINFRA_IMPORT_MODELS": "a"}, "set MLINFRA_IMPORT_NAMESPACE as well"),
        ({"MLINFRA_IMPORT_NAMESPACE": "a", "MLINFRA_WATCH_NAMESPACE": "b"}, "looks at namespace b alone"),
    ],
)
def test_an_import_that_could_not_work_is_refused_at_the_start(
    environment: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        Settings.of({"MLFLOW_TRACKING_URI": "http://mlflow", **environment})


@pytest.mark.parametrize("uri", ["s3://monitoring", "monitoring", "file://other/monitoring"])
def test_counters_that_no_server_could_keep_are_refused_at_the_start(uri: str) -> None:
    with pytest.raises(SettingsError, match=f"MLINFRA_MONITORING_URI is '{uri}': .* write file:///path"):
        Settings.of({"MLFLOW_TRACKING_URI": "http://mlflow", "MLINFRA_MONITORING_URI": uri})


def test_operators_of_different_scopes_have_leases_of_their_own() -> None:
    assert Settings("http://mlflow").lease_name == "mlinfra-operator"
    assert Settings("http://mlflow", watch_namespace="team").lease_name == "mlinfra-operator-team"


def test_a_switch_is_on_or_off() -> None:
    with pytest.raises(SettingsError, match="MLINFRA_LEADER_ELECTION is 'maybe'"):
        Settings.of({"MLFLOW_TRACKING_URI": "http://mlflow", "MLINFRA_LEADER_ELECTION": "maybe"})


@pytest.mark.parametrize("uri", [None, "", "mlruns", "sqlite:///mlflow.db", "file:///mlruns"])
def test_an_mlflow_that_pods_cannot_reach_is_refused_at_the_start(uri: str | None) -> None:
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_URI"):
        Settings.of({} if uri is None else {"MLFLOW_TRACKING_URI": uri})


@pytest.mark.parametrize("name", ["MLINFRA_METRICS_ADDRESS", "MLINFRA_HEALTH_ADDRESS"])
@pytest.mark.parametrize("address", ["8081", ":8081", "localhost", "localhost:http", "localhost:70000"])
def test_an_address_is_a_host_and_a_port(name: str, address: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{address}': write host:port"):
        Settings.of({"MLFLOW_TRACKING_URI": "http://mlflow", name: address})


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_silence_is_a_time(seconds: str) -> None:
    with pytest.raises(SettingsError, match="number of seconds above 0"):
        Settings.of({"MLFLOW_TRACKING_URI": "http://mlflow", "MLINFRA_WATCH_SILENCE_SECONDS": seconds})


def test_a_log_format_is_one_of_two() -> None:
    with pytest.raises(SettingsError, match="json or text"):
        Settings.of({"MLFLOW_TRACKING_URI": "http://mlflow", "MLINFRA_LOG_FORMAT": "yaml"})
