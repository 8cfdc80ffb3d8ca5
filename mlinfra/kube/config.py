"""Where the API server is and who we are: from a kubeconfig, or from a pod's ServiceAccount."""

import base64
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SERVICE_ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """No usable cluster configuration; the message says what is missing and where."""


@dataclass(frozen=True)
class ClusterConfig:
    """Address, trust and identity of one user of one cluster."""

    server: str
    ssl_context: ssl.SSLContext = field(repr=False)
    token_file: Path | None = None
    static_token: str | None = field(default=None, repr=False)
    namespace: str = "default"
    _last_read: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def token(self) -> str | None:
        """The bearer token of now: a kubelet replaces the file before its token expires."""
        if self.token_file is None:
            return self.static_token
        found = self.token_file.stat()
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._last_read.get("version") != version:
            self._last_read.update(version=version, token=self.token_file.read_text().strip())
        token: str = self._last_read["token"]
        return token

    @classmethod
    def load(cls, environ: Callable[[str], str | None] = os.environ.get) -> "ClusterConfig":
        """From ``KUBECONFIG``, else the pod's ServiceAccount, else ``~/.kube/config``.

        Raises:
            ConfigError: none of them is there, or the one that is cannot be used.
        """
        if path := environ("KUBECONFIG"):
            return cls.from_kubeconfig(Path(path.split(os.pathsep)[0]))
        if environ("KUBERNETES_SERVICE_HOST"):
            return cls.in_cluster(environ)
        default = Path.home() / ".kube" / "config"
        if default.is_file():
            return cls.from_kubeconfig(default)
        raise ConfigError(
            f"no cluster: KUBECONFIG is not set, this is not a pod, and {default} does not exist; "
            "start one with 'mlinfra up'"
        )

    @classmethod
    def in_cluster(cls, environ: Callable[[str], str | None] = os.environ.get) -> "ClusterConfig":
        """From the environment and token folder that Kubernetes gives a pod."""
        host = environ("KUBERNETES_SERVICE_HOST")
        if not host:
            raise ConfigError("this is not a pod: KUBERNETES_SERVICE_HOST is not set")
        port = environ("KUBERNETES_SERVICE_PORT") or "443"
        if ":" in host:
            host = f"[{host}]"
        directory = SERVICE_ACCOUNT_DIRECTORY
        if not (directory / "token").is_file():
            raise ConfigError(f"no ServiceAccount token in {directory}: is it mounted?")
        return cls(
            server=f"https://{host}:{port}",
            ssl_context=ssl.create_default_context(cafile=str(directory / "ca.crt")),
            token_file=directory / "token",
            namespace=(directory / "namespace").read_text().strip(),
        )

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str | None = None) -> "ClusterConfig":
        """From one context of a kubeconfig file, its current one by default.

        Raises:
            ConfigError: the file cannot be read, or the context uses what is not supported.
        """
        try:
            config: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"kubeconfig {path}: {error}") from error
        name = context or config.get("current-context")
        chosen = _named(config, "contexts", "context", name, path)
        cluster = _named(config, "clusters", "cluster", chosen.get("cluster"), path)
        user = _named(config, "users", "user", chosen.get("user"), path)
        if not cluster.get("server"):
            raise ConfigError(f"kubeconfig {path}: cluster {chosen.get('cluster')} has no server")
        for unsupported in ("exec", "auth-provider"):
            if unsupported in user:
                raise ConfigError(
                    f"kubeconfig {path}: user {chosen.get('user')} logs in by '{unsupported}', which is "
                    "not supported; use a certificate or a token"
                )
        token_file = user.get("tokenFile")
        return cls(
            server=cluster["server"].rstrip("/"),
            ssl_context=_ssl_context(cluster, user, path),
            token_file=path.parent / token_file if token_file else None,
            static_token=user.get("token"),
            namespace=chosen.get("namespace") or "default",
        )


def _named(config: dict[str, Any], section: str, key: str, name: str | None, path: Path) -> dict[str, Any]:
    for entry in config.get(section) or []:
        if entry.get("name") == name:
            found: dict[str, Any] = entry.get(key) or {}
            return found
    raise ConfigError(f"kubeconfig {path}: no {key} named {name!r}")


def _ssl_context(cluster: dict[str, Any], user: dict[str, Any], path: Path) -> ssl.SSLContext:
    ca_data = _data(cluster, "certificate-authority", path)
    context = ssl.create_default_context(cadata=ca_data.decode() if ca_data else None)
    if cluster.get("insecure-skip-tls-verify"):
        raise ConfigError(
            f"kubeconfig {path}: insecure-skip-tls-verify is refused; give certificate-authority-data"
        )
    certificate, key = _data(user, "client-certificate", path), _data(user, "client-key", path)
    if certificate and key:
        # ssl reads client certificates from files only; the folder is readable by this user alone.
        with tempfile.TemporaryDirectory() as folder:
            pem = Path(folder) / "client.pem"
            pem.touch(mode=0o600)
            pem.write_bytes(certificate + b"\n" + key)
            context.load_cert_chain(pem)
    return context


def _data(entry: dict[str, Any], key: str, path: Path) -> bytes | None:
    if encoded := entry.get(f"{key}-data"):
        return base64.b64decode(str(encoded))
    if file := entry.get(key):
        return (path.parent / str(file)).read_bytes()
    return None
