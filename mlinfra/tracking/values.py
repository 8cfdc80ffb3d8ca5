"""Turns what a user logs into what MLflow keeps: names it takes, finite keys, plain numbers and strings."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlinfra.tracking.batches import MetricPoint
from mlinfra.tracking.errors import InvalidTrackingValueError

MAX_NAME_LENGTH = 250
MAX_PARAM_LENGTH = 6000
NAME_PATTERN = re.compile(r"[/\w.\- :]+")
NAME_RULE = (
    f"up to {MAX_NAME_LENGTH} letters, digits, spaces and _ - . : /, and no path such as ../a, ..a, /a or "
    "a//b"
)


def metric_points(
    metrics: Mapping[str, Any], step: Any, *, timestamp: int, known: set[str]
) -> list[MetricPoint]:
    """Metrics as points.

    Args:
        metrics: numbers by name; numpy and torch scalars, NaN and infinities are numbers too.
        step: a whole number.
        timestamp: milliseconds since 1970.
        known: names that were found good before; new ones are added.

    Raises:
        InvalidTrackingValueError: a name that MLflow does not take, a value that is no number, or a step
            that is no whole number.
    """
    try:
        whole = int(step)
        if whole != step:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InvalidTrackingValueError(f"step {step!r} is no whole number.") from None
    if not known.issuperset(metrics):
        for name in metrics:
            _check_name("metric", name)
            known.add(name)
    return [MetricPoint(name, _number(name, value), timestamp, whole) for name, value in metrics.items()]


def flat_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as strings by name; a dictionary in a dictionary becomes ``outer.inner``.

    Raises:
        InvalidTrackingValueError: a name that MLflow does not take, or two values of one name.
    """
    flat: dict[str, str] = {}
    for name, value in _leaves(params, ""):
        _check_name("parameter", name)
        if name in flat:
            raise InvalidTrackingValueError(f'parameter "{name}" is given twice, as such and by nesting.')
        flat[name] = _text(value)
    return flat


def _leaves(params: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _check_name(kind: str, name: Any) -> None:
    if not isinstance(name, str):
        raise InvalidTrackingValueError(f"{kind} {name!r}: a name is a string.")
    normal = posixpath.normpath(name)
    is_path = normal != name or normal == "." or normal.startswith(("..", "/"))
    if len(name) > MAX_NAME_LENGTH or not NAME_PATTERN.fullmatch(name) or is_path:
        raise InvalidTrackingValueError(f'{kind} "{name}": MLflow takes {NAME_RULE}.')


def _number(name: str, value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, str | bytes):
        raise InvalidTrackingValueError(f'metric "{name}" is {value!r}, no number. Log it as a tag.')
    if hasattr(value, "detach"):
        value = value.detach()
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        kind = type(value).__name__
        raise InvalidTrackingValueError(
            f'metric "{name}" is of type {kind}, and no single number. Log one number for each name.'
        ) from None


def _text(value: Any) -> str:
    # 0-dimensional arrays and tensors tell of their type and device otherwise.
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return str(value)
