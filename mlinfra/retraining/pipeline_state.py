"""What a pipeline without Kubernetes remembers beside its log: what it trained, and the version on trial."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mlinfra.errors import MlinfraError
from mlinfra.features.files import make_folder, replace_file
from mlinfra.retraining.decision import Training
from mlinfra.retraining.observation import Breaker, Trial, Watch
from mlinfra.retraining.triggers import InvalidMonitorResultError, MonitorResult

TRAININGS_REMEMBERED = 100


class PipelineStateError(MlinfraError):
    """What the pipeline kept of its trainings cannot be read or written."""


@dataclass(slots=True)
class PipelineState:
    """What is remembered.

    Attributes:
        since: when the pipeline was first started.
        trainings: those it started, the newest last.
        watch: the version on trial, and the circuit breaker.
        restore: number of the version that is to have Production again; None once it has.
        failure: why the newest training that came to its end failed; None where it did not.
    """

    since: datetime | None = None
    trainings: list[Training] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)
    restore: str | None = None
    failure: str | None = None

    def to_wire(self, config: str) -> dict[str, Any]:
        """As JSON; ``config`` tells one configuration from another."""
        return {
            "since": _iso(self.since),
            "config": config,
            "trainings": [_training(each) for each in self.trainings[-TRAININGS_REMEMBERED:]],
            "trial": _trial(self.watch.trial),
            "circuitBreaker": _breaker(self.watch.breaker),
            "restore": self.restore,
            "failure": self.failure,
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any], config: str) -> "PipelineState":
        """What `to_wire` gave, an earlier release's too; raises KeyError, TypeError or ValueError."""
        # What was fruitless under another configuration says nothing of this one.
        same = wire.get("config") == config
        trial, breaker = wire.get("trial"), wire.get("circuitBreaker")
        return cls(
            since=_moment(wire["since"]),
            trainings=[
                Training(
                    each["name"],
                    datetime.fromisoformat(each["started"]),
                    active=False,
                    events_until=_moment(each["eventsUntil"]),
                    fruitless=each.get("fruitless") if same else None,
                )
                for each in wire["trainings"]
            ],
            watch=Watch(
                trial=Trial(
                    trial["version"],
                    trial["previous"],
                    datetime.fromisoformat(trial["since"]),
                    datetime.fromisoformat(trial["until"]),
                    MonitorResult.of_wire(trial["baseline"]),
                )
                if trial is not None
                else None,
                breaker=Breaker(
                    datetime.fromisoformat(breaker["openedAt"]), breaker["version"], breaker["message"]
                )
                if breaker is not None
                else None,
            ),
            restore=wire.get("restore"),
            failure=wire.get("failure"),
        )


def load_state(path: Path, config: str) -> PipelineState | None:
    """What is kept in a file; None where there is none.

    Raises:
        PipelineStateError: it cannot be read.
    """
    try:
        return PipelineState.of_wire(json.loads(path.read_text()), config)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidMonitorResultError) as error:
        raise PipelineStateError(
            f"{path} cannot be read ({error}); without it a training could be made twice. "
            "Repair it, or remove it to begin anew."
        ) from error


def save_state(path: Path, state: PipelineState, config: str) -> None:
    """Keep it; raises `PipelineStateError` where it cannot be written."""
    try:
        make_folder(path.parent)
        replace_file(path, json.dumps(state.to_wire(config), indent=2).encode())
    except OSError as error:
        raise PipelineStateError(f"{path} cannot be written: {error}") from error


def _training(training: Training) -> dict[str, Any]:
    return {
        "name": training.name,
        "started": _iso(training.started),
        "eventsUntil": _iso(training.events_until),
        "fruitless": training.fruitless,
    }


def _trial(trial: Trial | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    return {
        "version": trial.version,
        "previous": trial.previous,
        "since": _iso(trial.since),
        "until": _iso(trial.until),
        "baseline": trial.baseline.to_wire(),
    }


def _breaker(breaker: Breaker | None) -> dict[str, Any] | None:
    if breaker is None:
        return None
    return {"openedAt": _iso(breaker.opened), "version": breaker.version, "message": breaker.message}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
