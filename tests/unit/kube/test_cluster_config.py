"""Which cluster and identity a configuration gives, and what it says when it cannot."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlinfra.kube import ClusterConfig, ConfigError


def write(folder: Path, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Path:
    path = folder / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
                "clusters": [
                    {"name": "c", "cluster": {"server": "https://127.0.0.1:6443"} | (cluster or {})}
                ],
                "users": [{"name": "u", "user": user or {}}],
            }
        )
    )
    return path


def test_the_current_context_gives_server_and_namespace(tmp_path: Path) -> None:
    config = ClusterConfig.from_kubeconfig(write(tmp_path))
    assert (config.server, config.namespace, config.token()) == ("https://127.0.0.1:6443", "ns", None)


def test_a_token_file_is_read_anew_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    config = ClusterConfig.from_kubeconfig(write(tmp_path, user={"tokenFile": "token"}))
    assert config.token() == "first"
    token.write_text("second\n")
    assert config.token() == "second"


def test_a_token_is_not_printed(tmp_path: Path) -> None:
    config = ClusterConfig.from_kubeconfig(write(tmp_path, user={"token": "s3cret"}))
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        pytest.param({"insecure-skip-tls-verify": True}, None, "insecure-skip-tls-verify", id="no-trust"),
        pytest.param(None, {"exec": {"command": "login"}}, "'exec'", id="login-program"),
        pytest.param({"server": None}, None, "no server", id="no-server"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    tmp_path: Path, cluster: dict[str, Any] | None, user: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ClusterConfig.from_kubeconfig(write(tmp_path, cluster=cluster, user=user))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        ClusterConfig.load({"KUBECONFIG": str(tmp_path / "nowhere")}.get)
