"""What ``train`` is asked for, as the spec of the TrainingJob that trains the same. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlinfra.features.file_names import group_name
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.training.config import (
    DEFAULT_ARCHITECTURE,
    InvalidConfigError,
    NothingToTrainError,
    TrainerConfig,
)
from mlinfra.training.config_file import Change, ConfigFile, effective_spec, manifest, merged, nested
from mlinfra.training.example import example_data

if TYPE_CHECKING:
    from mlinfra.training.local import Registration

MIN_ACCURACY = 0.80
GATE_METRIC = "test_accuracy"
USED_HERE = frozenset(
    {"model_name", "model", "data", "training", "validation", "promotion", "export", "checkpoint"}
)
"""Fields of the spec that a training without Kubernetes acts on."""
RETRIES = "backoff_limit"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What file and flags ask for; None is not asked for.

    Attributes:
        changes: what flags change in the spec field by field.
        data: a file of one's own, which a feature group is named after.
    """

    file: ConfigFile | None = None
    changes: tuple[Change, ...] = ()
    data: Path | None = None
    feature_group: str | None = None
    parameters: tuple[str, ...] = ()
    patience: int | None = None
    promote: bool | None = None
    min_accuracy: float | None = None


def training_spec(wishes: Wishes) -> TrainingJobSpec:
    """The spec that the defaults, the file and the flags amount to, each over the one before.

    With a file the defaults are a TrainingJob's, so that it trains the same here and on Kubernetes.

    Raises:
        InvalidConfigError: an unknown key, a value out of bounds, or no label.
    """
    changes = [*wishes.changes, *_changes(wishes)]
    asked = dict(wishes.file.spec) if wishes.file else {}
    for change in changes:
        asked = merged(asked, nested(change.path, change.value))
    defaults = _defaults(asked, data_file=wishes.data, with_file=wishes.file is not None)
    data = merged(defaults, asked)["data"]
    if isinstance(data, Mapping) and data.get("label") is None and data.get("featureGroup") is not None:
        raise InvalidConfigError(f"--label: name the column of {data['featureGroup']} to predict.")
    return effective_spec(wishes.file, changes, defaults)


def registration(spec: TrainingJobSpec, *, register: bool) -> "Registration":
    """What shall become of the model. Who wants to approve it does so later: it is registered only.

    Raises:
        InvalidConfigError: the challenger is to be better in another measure than the one that decides here.
    """
    from mlinfra.training.local import Registration
    from mlinfra.training.promotion import challenger_margin

    promotion = spec.promotion
    margin = challenger_margin(promotion.challenger, spec.data.task if spec.data else "Classification")
    accuracy = [gate for gate in promotion.gates if gate.metric == GATE_METRIC and gate.max is None]
    return Registration(
        model_name=spec.model_name,
        register=register,
        auto_promote=promotion.auto and promotion.approval == "Automatic",
        min_accuracy=max((gate.min for gate in accuracy if gate.min is not None), default=0.0),
        min_improvement=margin or 0.0,
        gates=tuple(gate for gate in promotion.gates if gate not in accuracy),
        stage=promotion.stage,
    )


def not_used_here(spec: TrainingJobSpec) -> list[str]:
    """Fields of the spec, as YAML names them, that mean nothing without Kubernetes."""
    return [
        TrainingJobSpec.model_fields[name].alias or name
        for name in type(spec).model_fields
        if name in spec.model_fields_set and name not in USED_HERE and name != RETRIES
    ]


def headline(spec: TrainingJobSpec) -> str:
    """What is about to be trained, in a line.

    Raises:
        NothingToTrainError: the spec runs its own code.
    """
    if spec.model is None or spec.data is None or spec.command is not None:
        raise NothingToTrainError(
            "The TrainingJob runs its own code: kubectl apply it. On this machine spec.model and spec.data "
            "are trained, without spec.command."
        )
    return f"{spec.model.architecture} learns {spec.data.label} of {spec.data.feature_group}"


def manifest_text(spec: TrainingJobSpec, file: ConfigFile | None) -> str:
    """The TrainingJob in YAML."""
    content = manifest(spec, file.metadata if file else None)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100).rstrip()


def _changes(wishes: Wishes) -> Iterator[Change]:
    if wishes.feature_group is not None:
        yield Change(("data", "featureGroup"), wishes.feature_group, "--feature-group")
    if wishes.parameters:
        yield Change(("model", "parameters"), _parameters(wishes.parameters), "--parameter")
    metric = ("training", "earlyStopping", "metric")
    if wishes.patience == 0 and any(change.path == metric for change in wishes.changes):
        raise InvalidConfigError("--stopping-metric: give --patience above 0, which it belongs to.")
    if wishes.patience == 0:
        yield Change(("training", "earlyStopping"), None, "--patience")
    elif wishes.patience is not None:
        yield Change(("training", "earlyStopping", "patience"), wishes.patience, "--patience")
    if wishes.promote is not None:
        yield Change(("promotion", "auto"), wishes.promote, "--promote")
    if wishes.min_accuracy is not None:
        gates = [gate for gate in _gates(wishes.file) if gate.get("metric") != GATE_METRIC]
        gate = {"metric": GATE_METRIC, "min": wishes.min_accuracy}
        yield Change(("promotion", "gates"), [*gates, gate], "--min-accuracy")


def _gates(file: ConfigFile | None) -> list[dict[str, Any]]:
    promotion = file.spec.get("promotion") if file else None
    gates = promotion.get("gates") if isinstance(promotion, Mapping) else None
    return [gate for gate in gates if isinstance(gate, dict)] if isinstance(gates, list) else []


def _defaults(asked: Mapping[str, Any], *, data_file: Path | None, with_file: bool) -> dict[str, Any]:
    """What nobody has to say."""
    example, validation = example_data()
    data = asked.get("data")
    group = data.get("featureGroup") if isinstance(data, Mapping) else None
    if data_file is not None:
        group = group or group_name(data_file)
    architecture = merged({"model": {"architecture": DEFAULT_ARCHITECTURE}}, asked)["model"]
    defaults: dict[str, Any] = {"model": {"architecture": DEFAULT_ARCHITECTURE}}
    if not with_file:
        stopping = TrainerConfig().early_stopping
        defaults["training"] = {"earlyStopping": stopping.to_wire() if stopping else None}
        if not isinstance(data, Mapping) or data.get("task") != "Regression":
            defaults["promotion"] = {"gates": [{"metric": GATE_METRIC, "min": MIN_ACCURACY}]}
    own = data_file is not None or group not in (None, example.feature_group)
    if own:
        defaults["data"] = {"featureGroup": group}
    elif group is None or not with_file:
        defaults["data"] = {"featureGroup": example.feature_group, "label": example.label}
        defaults["validation"] = {"embargo": validation.embargo}
    named = architecture.get("architecture") if isinstance(architecture, Mapping) else None
    defaults["modelName"] = group if own else named or DEFAULT_ARCHITECTURE
    return {"data": {}, **defaults}


def _parameters(assignments: tuple[str, ...]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name:
            raise InvalidConfigError(f"--parameter: write NAME=VALUE, not {assignment!r}.")
        try:
            parameters[name] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name] = value
    return parameters
