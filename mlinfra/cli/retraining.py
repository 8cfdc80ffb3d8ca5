"""``mlinfra retraining``: try policies on the past before they are trusted with the future."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlinfra.cli.options import Store
from mlinfra.cli.output import Format, Output, print_json, print_table
from mlinfra.cli.running import expected_errors
from mlinfra.errors import InvalidInputError

if TYPE_CHECKING:
    from mlinfra.features import FeatureStore
    from mlinfra.retraining.backtest.comparison import Outcome
    from mlinfra.retraining.backtest.learner import Learner
    from mlinfra.retraining.backtest.policies import Policy
    from mlinfra.retraining.backtest.replay import Replay
    from mlinfra.retraining.backtest.trials import Trial
    from mlinfra.training.config import TrainingConfig

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
FIRST_YEAR, LAST_YEAR, MOST_DAYS = 1900, 2200, 36_500
"""So that any time of a replay, in nanoseconds since 1970, fits into 64 bits."""
MOST_ROWS = 100_000_000
"""As of the window of a RetrainingPolicy."""
PLOTS = (".svg", ".png", ".pdf")
EXAMPLES = (
    "mlinfra retraining backtest --group nasdaq_daily --label turbulent --policy never --policy both "
    "--train-until 2003-12-31 --label-delay 7d"
)

app = typer.Typer(help="Try retraining policies on the past.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Try retraining policies on the past."""


@app.command(epilog=EXAMPLES)
def backtest(
    policy: Annotated[
        list[str],
        typer.Option(
            help="RetrainingPolicy or its spec in YAML, or never, scheduled, drift, performance, both."
        ),
    ],
    train_until: Annotated[
        str, typer.Option(help="Date that the first model learns up to; later is traffic.")
    ],
    group: Annotated[
        str | None, typer.Option(help="Feature group to replay; the training's by default.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column to predict; the training's by default.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Date that the traffic ends; the group's by default.")
    ] = None,
    label_delay: Annotated[str, typer.Option(help="How long after its row a label is known.")] = "0d",
    config: Annotated[
        Path | None,
        typer.Option(
            help="TrainingJob or its spec that trains for all, in place of templates.",
            dir_okay=False,
        ),
    ] = None,
    window_rows: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_ROWS, help="Rows in a window of the built-in policies; 1,000 by default."
        ),
    ] = None,
    training_days: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_DAYS, help="Days of rows that a training sees; lastDays of its data by default."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a plot: .svg, .png or .pdf.", dir_okay=False)
    ] = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Replay a feature group as traffic: when would each policy have trained, and how good would answers be?

    The decision, the monitors and the trainer are those that run in production. Nothing is known before its
    time, labels included. The same call gives the same result.
    """
    with expected_errors():
        from mlinfra.resources.monitoring import MonitoringWindow
        from mlinfra.retraining.backtest.policies import load_policy
        from mlinfra.retraining.backtest.replay import ReplaySettings, replay

        if plot is not None:
            _check_plot(plot)
        window = MonitoringWindow(rows=window_rows) if window_rows else None
        policies = [load_policy(each, window=window) for each in policy]
        settings = ReplaySettings(
            train_until=_date("--train-until", train_until),
            until=_date("--until", until) + timedelta(days=1) if until else None,
            label_delay=_duration("--label-delay", label_delay),
        )
        trials = _trials(policies, config, group, label)
        learners = _learners(trials, store, training_days)
        replays = [
            replay(trial.policy, learner, replace(settings, promotion=trial.promotion, gates=trial.gates))
            for trial, learner in zip(trials, learners, strict=True)
        ]
        if plot is not None:
            _write_plot(plot, replays, learners)
        _show(replays, learners, output)


def _show(replays: "list[Replay]", learners: "list[Learner]", output: Format) -> None:
    from mlinfra.retraining.backtest.comparison import decisions_to_wire, most_frequent, outcome_of

    outcomes = [outcome_of(each, learner) for each, learner in zip(replays, learners, strict=True)]
    majority = most_frequent(replays[0], learners[0])
    if output == Format.JSON:
        print_json(
            {
                "mostFrequentClass": majority,
                "policies": [
                    outcome.to_wire() | {"decisions": decisions_to_wire(replay)}
                    for outcome, replay in zip(outcomes, replays, strict=True)
                ],
            }
        )
        return
    for replay in replays:
        rows = [
            (
                f"{each.time:%Y-%m-%d}",
                each.request.trigger.value,
                _number(each.champion_score),
                _number(each.score),
                "yes" if each.promoted else "no",
                each.request.message,
            )
            for each in replay.decisions
        ]
        typer.echo(f"\n{replay.policy}")
        print_table(("date", "trigger", "old", "new", "promoted", "why"), rows, empty="  trained nothing")
    typer.echo("")
    print_table(_columns(outcomes), [_row(each) for each in outcomes])
    if majority is not None:
        typer.echo(f"\nAlways the most frequent class: accuracy {majority:.3f}")


def _columns(outcomes: "list[Outcome]") -> list[str]:
    shown = [name.replace("_", " ") for name in outcomes[0].measures]
    return ["policy", "trainings", "promoted", "rolled back", "false alarms", *shown, "worst year"]


def _row(outcome: "Outcome") -> list[str]:
    worst = f"{outcome.worst[1]:.3f} ({outcome.worst[0]})" if outcome.worst else ""
    counts = (outcome.trainings, outcome.promoted, outcome.rollbacks, outcome.false_alarms)
    return [outcome.policy, *map(str, counts), *(_number(each) for each in outcome.measures.values()), worst]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _trials(
    policies: "list[Policy]", file: Path | None, group: str | None, label: str | None
) -> "list[Trial]":
    """With what each policy trains: the file, else its template, else the defaults; options lie over all."""
    from mlinfra.cli.train_spec import Wishes, training_spec
    from mlinfra.retraining.backtest.trials import trials_of
    from mlinfra.training.config_file import Change, read_config_file

    asked = (("featureGroup", group, "--group"), ("label", label, "--label"))
    changes = tuple(
        Change(("data", name), value, origin) for name, value, origin in asked if value is not None
    )
    if file is None and any(each.spec.training_job_template for each in policies):
        return trials_of(policies, changes=changes)
    content = read_config_file(file) if file is not None else None
    spec = training_spec(Wishes(file=content, changes=changes))
    return trials_of(
        policies, given=spec, promotes=content is not None and content.spec.get("promotion") is not None
    )


def _learners(trials: "list[Trial]", store: str | None, training_days: int | None) -> "list[Learner]":
    """Who trains for each; one for all that train alike, so that they share their models."""
    from mlinfra.features import get_feature_store
    from mlinfra.training.example import write_example_if_absent

    feature_store = get_feature_store(store)
    write_example_if_absent(feature_store, trials[0].config.data.feature_group)
    alike: dict[str, Learner] = {}
    learners = []
    for trial in trials:
        key = json.dumps(trial.config.to_wire(), sort_keys=True)
        if key not in alike:
            alike[key] = _learner(trial.config, feature_store, training_days)
        learners.append(alike[key])
    return learners


def _learner(config: "TrainingConfig", store: "FeatureStore", training_days: int | None) -> "Learner":
    from mlinfra.retraining.backtest.learner import Learner
    from mlinfra.training.data import read_rows

    # What the rows end with moves with the replay.
    moving: dict[str, Any] = {"end_date": None, "last_days": None, "snapshot": None}
    data = config.data.model_copy(update=moving)
    rows = read_rows(store, data)
    days = training_days if training_days is not None else config.data.last_days
    return Learner(replace(config, data=data), rows.frame, rows.keys, training_days=days)


def _check_plot(path: Path) -> None:
    """Before hours of training, not after."""
    if path.suffix not in PLOTS:
        raise InvalidInputError(f"--plot {path}: write a name that ends with {', '.join(PLOTS)}")
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(f"--plot {path}: there is no folder {path.absolute().parent}")


def _write_plot(path: Path, replays: "list[Replay]", learners: "list[Learner]") -> None:
    from mlinfra.retraining.backtest.comparison import comparison_figure

    content = BytesIO()
    comparison_figure(replays, learners).savefig(content, format=path.suffix.removeprefix("."))
    try:
        path.write_bytes(content.getvalue())
    except OSError as error:
        raise InvalidInputError(f"--plot {path} cannot be written: {error.strerror}") from error


def _date(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(f"{option} {text!r} is no date such as 2003-12-31") from error
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise InvalidInputError(f"{option} {text!r} is not between the years {FIRST_YEAR} and {LAST_YEAR}")
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _duration(option: str, text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise InvalidInputError(f"{option} {text!r} is no duration such as 7d, 12h or 30m")
    found = timedelta(seconds=int(match[1]) * UNITS[match[2]])
    if found.days > MOST_DAYS:
        raise InvalidInputError(f"{option} {text!r} is more than {MOST_DAYS:,} days")
    return found
