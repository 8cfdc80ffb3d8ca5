"""``mlinfra retraining``: try policies on the past before they are trusted with the future."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlinfra.cli.options import Store
from mlinfra.cli.output import Format, Output, print_json, print_table
from mlinfra.cli.running import expected_errors
from mlinfra.errors import InvalidInputError

if TYPE_CHECKING:
    from mlinfra.retraining.backtest.comparison import Outcome
    from mlinfra.retraining.backtest.learner import Learner
    from mlinfra.retraining.backtest.policies import Policy
    from mlinfra.retraining.backtest.replay import Replay
    from mlinfra.training.config import TrainingConfig

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
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
    group: Annotated[str | None, typer.Option(help="Feature group to replay; that of --config.")] = None,
    label: Annotated[str | None, typer.Option(help="Column to predict; that of --config.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Date that the traffic ends; the group's by default.")
    ] = None,
    label_delay: Annotated[str, typer.Option(help="How long after its row a label is known.")] = "0d",
    config: Annotated[
        Path | None, typer.Option(help="TrainingJob or its spec that trains each model.", dir_okay=False)
    ] = None,
    window_rows: Annotated[
        int | None, typer.Option(min=1, help="Rows in a window of the built-in policies; 1,000 by default.")
    ] = None,
    training_days: Annotated[
        int | None,
        typer.Option(min=1, help="Days of rows that a training sees; lastDays of its data by default."),
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
        from mlinfra.retraining.backtest.replay import ReplaySettings, replay_all

        window = MonitoringWindow(rows=window_rows) if window_rows else None
        policies = [load_policy(each, window=window) for each in policy]
        settings = ReplaySettings(
            train_until=_date("--train-until", train_until),
            until=_date("--until", until) + timedelta(days=1) if until else None,
            label_delay=_duration("--label-delay", label_delay),
        )
        learner = _learner(_training(policies, config, group, label), store, training_days)
        replays = replay_all(policies, learner, settings)
        if plot is not None:
            _write_plot(plot, replays, learner)
        _show(replays, learner, output)


def _show(replays: "list[Replay]", learner: "Learner", output: Format) -> None:
    from mlinfra.retraining.backtest.comparison import decisions_to_wire, most_frequent, outcome_of

    outcomes = [outcome_of(each, learner) for each in replays]
    majority = most_frequent(replays[0], learner)
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


def _training(
    policies: "list[Policy]", file: Path | None, group: str | None, label: str | None
) -> "TrainingConfig":
    """What each model learns: of the file, else of the first template of a policy, else the defaults."""
    from mlinfra.cli.train_spec import Wishes, training_spec
    from mlinfra.training.config import TrainingConfig
    from mlinfra.training.config_file import Change, read_config_file

    template = next(
        (each.spec.training_job_template for each in policies if each.spec.training_job_template), None
    )
    if file is None and template is not None and group is None and label is None:
        return TrainingConfig.from_spec(template.spec)
    changes = (Change(("data", "label"), label, "--label"),) if label is not None else ()
    wishes = Wishes(
        file=read_config_file(file) if file is not None else None, changes=changes, feature_group=group
    )
    return TrainingConfig.from_spec(training_spec(wishes))


def _learner(config: "TrainingConfig", store: str | None, training_days: int | None) -> "Learner":
    from mlinfra.features import get_feature_store
    from mlinfra.retraining.backtest.learner import Learner
    from mlinfra.training.data import read_rows
    from mlinfra.training.example import write_example_if_absent

    anytime: dict[str, Any] = {"start_date": None, "end_date": None, "last_days": None, "snapshot": None}
    data = config.data.model_copy(update=anytime)
    feature_store = get_feature_store(store)
    write_example_if_absent(feature_store, data.feature_group)
    rows = read_rows(feature_store, data)
    days = training_days if training_days is not None else config.data.last_days
    return Learner(replace(config, data=data), rows.frame, rows.keys, training_days=days)


def _write_plot(path: Path, replays: "list[Replay]", learner: "Learner") -> None:
    from mlinfra.retraining.backtest.comparison import comparison_figure

    try:
        comparison_figure(replays, learner).savefig(path)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"--plot {path} cannot be written: {error}") from error


def _date(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(f"{option} {text!r} is no date such as 2003-12-31") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _duration(option: str, text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise InvalidInputError(f"{option} {text!r} is no duration such as 7d, 12h or 30m")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])
