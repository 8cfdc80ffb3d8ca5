"""A container's environment and arguments, as a kubelet makes them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
ENVIRONMENT_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

Document = Mapping[str, Any]
Data = Callable[[str, str], Mapping[str, str] | None]
"""``data("Secret" or "ConfigMap", name)``: its keys and values, or None where it does not exist."""


class MissingReferenceError(Exception):
    """A Secret, ConfigMap or key that is not optional does not exist (yet)."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by a variable; ``$$`` is an escaped ``$``; what is not known stays as it is.

    The rules are those of the Kubernetes API for ``command``, ``args`` and ``env``.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return variables.get(name, match.group(0))

    return REFERENCE.sub(replace, text)


def environment_of(
    container: Document, *, pod: Document, data: Data, inherited: Mapping[str, str]
) -> dict[str, str]:
    """The variables of a container: inherited ones, then ``envFrom``, then ``env`` in its order.

    Args:
        container: the container of the pod's spec.
        pod: the pod, with its address in the status.
        data: reads Secrets and ConfigMaps.
        inherited: what every container gets; `env` may refer to it.

    Raises:
        MissingReferenceError: what is referred to does not exist and is not optional.
    """
    variables = dict(inherited)
    for source in container.get("envFrom") or []:
        for kind, reference in _references(source, {"secretRef": "Secret", "configMapRef": "ConfigMap"}):
            found = data(kind, reference["name"])
            if found is None and not reference.get("optional"):
                raise MissingReferenceError(f"{kind} {reference['name']!r} not found")
            prefix = source.get("prefix") or ""
            names = {prefix + key: value for key, value in (found or {}).items()}
            variables |= {name: value for name, value in names.items() if ENVIRONMENT_NAME.fullmatch(name)}
    for item in container.get("env") or []:
        if "valueFrom" in item:
            value = _value_from(item["valueFrom"], pod, data)
            if value is not None:
                variables[item["name"]] = value
        else:
            variables[item["name"]] = expand(item.get("value") or "", variables)
    return variables


def field_of(pod: Document, path: str) -> str:
    """The value of a pod's field, such as ``metadata.name`` or ``metadata.labels['app']``.

    Raises:
        MissingReferenceError: the local node does not know the field.
    """
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    if keyed := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((metadata.get(keyed[1]) or {}).get(keyed[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        values = metadata.get(path.split(".")[1]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
    known: dict[str, Any] = {
        "metadata.name": metadata.get("name"),
        "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.podIP": status.get("podIP"),
        "status.podIPs": status.get("podIP"),
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": status.get("hostIP"),
    }
    if path not in known:
        raise MissingReferenceError(f"the local node does not know the field {path!r}")
    return str(known[path] or "")


def _value_from(source: Document, pod: Document, data: Data) -> str | None:
    if field := source.get("fieldRef"):
        return field_of(pod, field["fieldPath"])
    kinds = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
    for kind, reference in _references(source, kinds):
        found = data(kind, reference["name"])
        if found is not None and reference["key"] in found:
            return found[reference["key"]]
        if reference.get("optional"):
            return None
        missing = "not found" if found is None else f"has no key {reference['key']!r}"
        raise MissingReferenceError(f"{kind} {reference['name']!r} {missing}")
    raise MissingReferenceError(f"the local node does not know the source {', '.join(source)}")


def _references(source: Document, kinds: Mapping[str, str]) -> list[tuple[str, Document]]:
    return [(kind, source[name]) for name, kind in kinds.items() if source.get(name)]
