"""A pod's volumes as folders of this machine, and what has to be written into them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlinfra.local.node.environment import Data, Document, MissingReferenceError, field_of
from mlinfra.local.node.pod_files import PodFiles

DEFAULT_TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """A file to write into a volume."""

    volume: str
    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file to write a ServiceAccount token into."""

    volume: str
    path: str
    audience: str | None
    expiration_seconds: int


@dataclass(frozen=True, slots=True)
class Mount:
    """A source of this machine to appear at a path of the container."""

    source: Path
    target: str
    read_only: bool


def plan_files(pod: Document, data: Data) -> list[VolumeFile | TokenFile]:
    """What has to be written into the pod's volumes.

    Raises:
        MissingReferenceError: a Secret or ConfigMap that is not optional does not exist.
    """
    files: list[VolumeFile | TokenFile] = []
    for volume in pod["spec"].get("volumes") or []:
        name = volume["name"]
        if "secret" in volume:
            source = volume["secret"] | {"name": volume["secret"]["secretName"]}
            files += _keys(name, "Secret", source, data)
        elif "configMap" in volume:
            files += _keys(name, "ConfigMap", volume["configMap"], data)
        elif "downwardAPI" in volume:
            files += _fields(name, volume["downwardAPI"], pod)
        elif "projected" in volume:
            for source in volume["projected"].get("sources") or []:
                files += _projected(name, source, pod, data)
    return files


def folder_of(volume: Document, files: PodFiles) -> Path:
    """The folder that a volume is."""
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    return files.volume(volume["name"])


def mounts_of(container: Document, volumes: Sequence[Document], files: PodFiles) -> list[Mount]:
    """The mounts of a container, outer paths first."""
    folders = {volume["name"]: folder_of(volume, files) for volume in volumes}
    mounts = [
        Mount(
            source=folders[item["name"]] / item["subPath"] if item.get("subPath") else folders[item["name"]],
            target=item["mountPath"].rstrip("/") or "/",
            read_only=bool(item.get("readOnly")),
        )
        for item in container.get("volumeMounts") or []
    ]
    return sorted(mounts, key=lambda mount: mount.target)


def secret_data(secret: Mapping[str, Any]) -> dict[str, str]:
    """The keys and decoded values of a Secret."""
    return {
        key: base64.b64decode(value).decode(errors="surrogateescape")
        for key, value in (secret.get("data") or {}).items()
    }


def _keys(volume: str, kind: str, source: Document, data: Data) -> list[VolumeFile | TokenFile]:
    found = data(kind, source["name"])
    if found is None:
        if source.get("optional"):
            return []
        raise MissingReferenceError(f"{kind} {source['name']!r} not found")
    mode = source.get("defaultMode") or 0o644
    items = source.get("items") or [{"key": key, "path": key} for key in found]
    files: list[VolumeFile | TokenFile] = []
    for item in items:
        if item["key"] in found:
            files.append(VolumeFile(volume, item["path"], found[item["key"]], item.get("mode") or mode))
        elif not source.get("optional"):
            raise MissingReferenceError(f"{kind} {source['name']!r} has no key {item['key']!r}")
    return files


def _fields(volume: str, source: Document, pod: Document) -> list[VolumeFile | TokenFile]:
    return [
        VolumeFile(volume, item["path"], field_of(pod, item["fieldRef"]["fieldPath"]))
        for item in source.get("items") or []
    ]


def _projected(volume: str, source: Document, pod: Document, data: Data) -> list[VolumeFile | TokenFile]:
    if token := source.get("serviceAccountToken"):
        seconds = token.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS
        return [TokenFile(volume, token["path"], token.get("audience"), seconds)]
    if "secret" in source:
        return _keys(volume, "Secret", source["secret"], data)
    if "configMap" in source:
        return _keys(volume, "ConfigMap", source["configMap"], data)
    if "downwardAPI" in source:
        return _fields(volume, source["downwardAPI"], pod)
    raise MissingReferenceError(f"the local node does not know the projection {', '.join(source)}")
