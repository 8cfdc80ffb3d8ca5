"""What the local node cannot run, said plainly before anything is started."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VOLUME_TYPES = frozenset({"emptyDir", "hostPath", "configMap", "secret", "projected", "downwardAPI"})

HANDLERS = frozenset({"exec", "httpGet", "tcpSocket", "sleep"})
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod can never run here; ``container`` is the one to blame, if one is."""

    reason: str
    message: str
    container: str | None = None


def refusal_of(pod: Mapping[str, Any]) -> Refusal | None:
    """The first thing in a pod that the local node cannot do, or None."""
    spec = pod["spec"]
    if spec.get("initContainers"):
        return Refusal("InitContainersNotSupported", "the local node does not run initContainers yet")
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if unknown := kinds - VOLUME_TYPES:
            return Refusal(
                "VolumeNotSupported",
                f"volume {volume['name']!r} is of type {', '.join(sorted(unknown))}; the local node has "
                f"{', '.join(sorted(VOLUME_TYPES))}",
            )
    for container in spec["containers"]:
        if not container.get("command"):
            return Refusal(
                "CommandRequired",
                f"container {container['name']!r} of image {container.get('image')!r} has no command: the "
                "local node runs a pod's command as a process and cannot read an image's entrypoint; set "
                "command",
                container["name"],
            )
        if refusal := _unknown_handler(container):
            return refusal
    return None


def _unknown_handler(container: Mapping[str, Any]) -> Refusal | None:
    handlers = {name: container.get(name) for name in PROBES}
    handlers["preStop"] = (container.get("lifecycle") or {}).get("preStop")
    if (container.get("lifecycle") or {}).get("postStart"):
        handlers["postStart"] = {"postStart": {}}
    for name, handler in handlers.items():
        if handler and not HANDLERS.intersection(handler):
            return Refusal(
                "HandlerNotSupported",
                f"container {container['name']!r}: the local node does not know its {name}; it "
                f"knows probes and preStop of {', '.join(sorted(HANDLERS))}",
                container["name"],
            )
    return None
