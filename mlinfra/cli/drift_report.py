"""Runs the demonstration of drift on this machine, compares what came of it, and judges it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from mlinfra.cli.drift_demonstration import Played, live_settings, play, template_in, yearly
from mlinfra.cli.output import print_table
from mlinfra.cli.running import expected_errors, run
from mlinfra.cli.steps import Steps
from mlinfra.errors import InvalidInputError
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.platform import Platform
from mlinfra.local.state import ClusterState
from mlinfra.local.supervision import kept_running
from mlinfra.retraining.backtest.comparison import comparison_figure, most_frequent, outcome_of
from mlinfra.retraining.backtest.replay import Replay
from mlinfra.retraining.live.comparison import accuracy

LEAST_GAIN = 0.05
"""By how much more than the frozen model the loop must get right from its first promotion on."""
SHOWN_FAILURES = 5
PLOT = "demo_drift.svg"


def demonstrate_drift(
    file: Path,
    state: ClusterState,
    *,
    train_until: datetime,
    until: datetime,
    window_rows: int,
    with_yearly: bool,
    plot: Path | None,
) -> bool:
    """Start the platform where it does not run, replay, and tell; whether the loop recovered.

    Args:
        file: manifest of the TrainingJob whose spec trains each version.
        state: the cluster's state folder.
        train_until, until: last dates of what the first version may know, and of the traffic, in UTC.
        window_rows: rows in a window of the policy's checks.
        with_yearly: whether training each year is computed beside it.
        plot: where the plot goes; into the state folder where None.
    """
    console = Console()
    with expected_errors():
        template = template_in(file)
        start, end = train_until.replace(tzinfo=UTC), until.replace(tzinfo=UTC) + timedelta(days=1)
        settings = live_settings(start, end, window_rows=window_rows)
        platform = Platform(LocalCluster(state))

        async def demonstration() -> Played:
            with platform.cluster.session("mlinfra demo-drift") as session:
                await platform.up(session, Steps(console))
                async with kept_running(platform, lambda text: _say(console, text)):
                    return await play(platform, settings, template, console)

        played = run(demonstration())
        replays = [played.frozen, played.served]
        if with_yearly:
            replays.append(yearly(played))
        _tell(console, played, replays)
        _draw(console, plot or state.directory / PLOT, played, replays)
        problem = problem_of(played, replays)
        _say(console, f"\nMLflow: {platform.mlflow_url}")
        _say(console, f"export KUBECONFIG={platform.cluster.kubeconfig}")
        _say(console, f"kubectl describe retrainingpolicy {settings.model}")
        if problem is not None:
            _say(console, f"\nIt did not recover: {problem}")
        return problem is None


def problem_of(played: Played, replays: list[Replay]) -> str | None:
    """Why the loop did not mend the model; None where it did."""
    if played.failures:
        return f"{len(played.failures)} requests failed, the first: {played.failures[0]}"
    missing = len(played.served.rows) - played.labels
    if missing:
        return f"{missing} labels were lost"
    promoted = [each for each in played.replayed.retrainings if each.promoted]
    if not promoted:
        return "no version that was trained again took Production"
    since = promoted[0].time
    frozen, served, *others = (accuracy(each, played.learner, since=since) for each in replays)
    if served < frozen + LEAST_GAIN:
        return f"from {since:%Y-%m-%d} on {served:.1%} of the answers were right, frozen {frozen:.1%}"
    for other, score in zip(replays[2:], others, strict=True):
        if served < score:
            return (
                f"from {since:%Y-%m-%d} on {served:.1%} of the answers were right, {other.policy} {score:.1%}"
            )
    return None


def _tell(console: Console, played: Played, replays: list[Replay]) -> None:
    replayed, settings = played.replayed, played.settings
    days = (settings.until - settings.start).days
    going = replayed.seconds - replayed.held
    _say(
        console,
        f"\n{days:,} days in {replayed.seconds:.0f} s, {replayed.held:.0f} s of them while models were "
        f"trained: {60 * days / going:,.0f} days a minute. {len(played.served.rows):,} rows, "
        f"{played.labels:,} labels, {len(played.failures)} failed requests.\n",
    )
    for failure in played.failures[:SHOWN_FAILURES]:
        _say(console, f"  failed: {failure}")
    outcomes = [outcome_of(each, played.learner) for each in replays]
    years = sorted({year for outcome in outcomes for year in outcome.years})
    rows = [
        (
            outcome.policy,
            outcome.trainings,
            outcome.promoted,
            f"{outcome.measures[outcome.metric]:.3f}",
            *(f"{outcome.years[year]:.2f}" if year in outcome.years else "" for year in years),
        )
        for outcome in outcomes
    ]
    print_table(("model", "trainings", "promoted", outcomes[0].metric, *map(str, years)), rows)
    majority = most_frequent(played.served, played.learner)
    if majority is not None:
        _say(console, f"Always the most frequent class: {majority:.3f}")


def _draw(console: Console, path: Path, played: Played, replays: list[Replay]) -> None:
    try:
        comparison_figure(replays, [played.learner] * len(replays)).savefig(path)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"the plot {path} cannot be written: {error}") from error
    _say(console, f"\nPlot: {path}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
