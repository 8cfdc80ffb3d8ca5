"""How often the default policies raise false alarms, and how soon they see a change, on synthetic streams.

Usage: python -m benchmarks.drift_defaults [--small]

All rows are made up here: ten features, of which two decide how probable the label is; the model answers with
that very probability, so it loses performance by a change alone. Features are independent from row to row, or
follow the rows before (autoregressive), or a season. The checks are the ones that a server makes, with
`DriftPolicy()` and `PerformancePolicy()` as they are, on windows of the stream in turn, of several sizes.
Nothing is promised: the exit code is 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.signal import lfilter
from scipy.special import expit

from mlinfra.monitoring.answers import answer_window
from mlinfra.monitoring.chunks import CountedWindow
from mlinfra.monitoring.drift import check_drift
from mlinfra.monitoring.performance import judge_performance
from mlinfra.monitoring.profile import HeldOut, ReferenceProfile, build_profile
from mlinfra.monitoring.references import columns_of
from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.retraining.triggers import MonitorOutcome
from mlinfra.retraining.windows import windows_looked_at

FEATURES = 10
NAMES = tuple(f"f{number}" for number in range(FEATURES))
SIGNAL, RELIABILITY, IRRELEVANT = 0, 1, 2
"""Features: what the label follows, where it follows it less, and one that has no part in it."""
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = 365
BEFORE, AFTER = 3, 10
"""Windows before a change, and those in which it may be seen."""
SEED = 20_260_101
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows that follow one another.

    Attributes:
        name: for the tables.
        training: rows that the model learns from; a quarter more are held out.
        window: rows of one.
        follows: share of a feature's value that goes on to the next row.
        season: rows of one, whose swing is as large as a standard deviation; none where 0.
    """

    name: str
    training: int
    window: int
    follows: float = 0.0
    season: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a stream.

    Attributes:
        name: for the tables.
        feature: that moves.
        shift: by so many standard deviations.
        flipped: share of the labels that become the other one.
        windows: after so many it is whole; 0 at once.
    """

    name: str
    feature: int = IRRELEVANT
    shift: float = 0.0
    flipped: float = 0.0
    windows: int = 0


@dataclass(frozen=True, slots=True)
class Alarms:
    """What the checks said after each window of one stream, (windows,).

    Attributes:
        drift: whether drift is breached.
        labelled: whether performance is, by labels that come at once.
        estimated: whether it is, without labels.
        window: whether drift would be, by this window alone.
    """

    drift: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    estimated: NDArray[np.bool_]
    window: NDArray[np.bool_]

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Whether a policy with drift alone, and labels, asks for a training."""
        return self.drift & self.labelled


STREAMS = (
    Stream("independent", training=20_000, window=1000),
    Stream("independent", training=4000, window=1000),
    Stream("independent", training=4000, window=250),
    Stream("independent", training=1000, window=100),
    Stream("autoregressive 0.9", training=20_000, window=1000, follows=0.9),
    Stream("autoregressive 0.9", training=4000, window=250, follows=0.9),
    Stream("autoregressive 0.97", training=20_000, window=1000, follows=0.97),
    Stream("autoregressive 0.97", training=4000, window=250, follows=0.97),
    Stream("season of 4,000 rows", training=20_000, window=1000, season=4000),
    Stream("season of 500 rows", training=4000, window=250, season=500),
    Stream("season of 250 rows", training=4000, window=250, season=250),
)
CHANGED = (STREAMS[0], STREAMS[2], STREAMS[5], STREAMS[9], STREAMS[10])
CHANGES = (
    Change("inputs 0.25, no loss", IRRELEVANT, 0.25),
    Change("inputs 0.5, no loss", IRRELEVANT, 0.5),
    Change("inputs 1.0, with loss", RELIABILITY, 1.0),
    Change("inputs 2.0, with loss", RELIABILITY, 2.0),
    Change("the same over 5 windows", RELIABILITY, 2.0, windows=5),
    Change("labels alone, one in 5", flipped=0.2),
    Change("the same over 5 windows", flipped=0.2, windows=5),
)
NOTHING = Change("none")


def main(
    small: Annotated[bool, typer.Option(help="A few seconds of work, to see that it runs.")] = False,
) -> None:
    """Simulate, and print two tables."""
    console = Console(width=150)
    repeats, windows, changes = (1, 20, 2) if small else (12, YEAR, 24)
    console.print(false_alarms(STREAMS[3:4] if small else STREAMS, repeats, windows))
    console.print(detections(CHANGED[1:2] if small else CHANGED, changes))


def false_alarms(streams: Sequence[Stream], repeats: int, windows: int) -> Table:
    """Streams in which nothing changes."""
    table = _table(
        f"No change, {repeats} trainings and {windows} windows each: share of windows, new alarms in 365",
        *("stream", "training", "window", "drift, a window", "drift, 2 of 3", "drift alarms", "by labels"),
        *("estimated", "drift and labels"),
    )
    for stream in streams:
        found = [alarms_of(stream, NOTHING, windows, seed) for seed in range(repeats)]
        table.add_row(
            stream.name,
            f"{stream.training:,}",
            f"{stream.window:,}",
            _share([each.window for each in found]),
            _share([each.drift for each in found]),
            *(
                _a_year([getattr(each, name) for each in found])
                for name in ("drift", "labelled", "estimated", "asked")
            ),
        )
    return table


def detections(streams: Sequence[Stream], repeats: int) -> Table:
    """Streams that change after some windows."""
    table = _table(
        f"Seen within {AFTER} windows of a change, of {repeats} trainings, and windows until then (median)",
        *("stream", "window", "change", "drift", "by labels", "estimated", "drift and labels"),
    )
    for stream in streams:
        for change in CHANGES:
            found = [alarms_of(stream, change, BEFORE + AFTER, 10_000 + seed) for seed in range(repeats)]
            table.add_row(
                stream.name,
                f"{stream.window:,}",
                change.name,
                *(
                    _seen([getattr(each, name) for each in found])
                    for name in ("drift", "labelled", "estimated", "asked")
                ),
            )
    return table


def alarms_of(stream: Stream, change: Change, windows: int, seed: int) -> Alarms:
    """Train on a stream, go on with it, and check after each window; the change is after `BEFORE` of them."""
    generator = np.random.default_rng([SEED, seed, stream.training, stream.window])
    held_out = stream.training // 4
    learnt = stream.training + held_out
    features = rows_of(stream, learnt + windows * stream.window, generator)
    strength = _strength(stream, change, windows)
    features[learnt:, change.feature] += change.shift * strength
    probability = answers(features)
    right = probability.copy()
    flipped = change.flipped * strength
    right[learnt:] = right[learnt:] * (1 - flipped) + (1 - right[learnt:]) * flipped
    label = (generator.random(len(right)) < right).astype(np.int64)
    outputs = np.column_stack([1 - probability, probability])
    part = slice(stream.training, learnt)
    profile = profile_of(features[: stream.training], features[part], outputs[part], label[part])
    counted = list(windows_of(profile, features[learnt:], outputs[learnt:], label[learnt:], stream.window))
    return checked(profile, counted)


def rows_of(stream: Stream, rows: int, generator: np.random.Generator) -> Floats:
    """Features of variance about 1, (rows, features)."""
    noise = generator.normal(size=(rows, FEATURES))
    noise[1:] *= np.sqrt(1 - stream.follows**2)
    found: Floats = lfilter([1.0], [1.0, -stream.follows], noise, axis=0)
    if stream.season:
        found += np.sqrt(2) * np.sin(2 * np.pi * np.arange(rows) / stream.season)[:, np.newaxis]
        found /= np.sqrt(2)
    return found


def answers(features: Floats) -> Floats:
    """Probability of the higher class, which is the right one before any change, (rows,)."""
    reliable = np.where(features[:, RELIABILITY] < 1.0, 3.0, 0.5)
    return np.asarray(expit(reliable * features[:, SIGNAL]), np.float64)


def profile_of(
    training: Floats, held_out: Floats, outputs: Floats, label: NDArray[np.int64]
) -> ReferenceProfile:
    """As training makes it."""
    accuracy = float((outputs.argmax(axis=1) == label).mean())
    return build_profile(
        columns_of(NAMES, training),
        HeldOut(columns_of(NAMES, held_out), outputs, label),
        classes=(0, 1),
        performance={"accuracy": accuracy},
        baseline={"accuracy": float(max(label.mean(), 1 - label.mean()))},
    )


def windows_of(
    profile: ReferenceProfile, features: Floats, outputs: Floats, label: NDArray[np.int64], size: int
) -> Iterator[CountedWindow]:
    """One a day."""
    asked = profile.count_stretches(features, outputs, [size] * (len(features) // size))
    for number, counts in enumerate(asked):
        own = slice(number * size, (number + 1) * size)
        first = START + timedelta(days=number)
        told = profile.count_labels(outputs[own], label[own].tolist())
        yield CountedWindow(first, first + timedelta(hours=23), counts + told)


def checked(profile: ReferenceProfile, windows: Sequence[CountedWindow]) -> Alarms:
    """The checks after each window."""
    drift, performance = DriftPolicy(), PerformancePolicy()
    answered = [answer_window(profile, each) for each in windows]
    unlabelled = [replace(each, labelled=0, measured={}) for each in answered]
    found: dict[str, list[bool]] = {"drift": [], "labelled": [], "estimated": [], "window": []}
    for end in range(1, len(windows) + 1):
        now = windows[end - 1].last
        low = max(0, end - windows_looked_at(drift))
        told = check_drift(profile, windows[low:end], drift, now=now)
        found["drift"].append(told.result.breached)
        found["window"].append(told.windows[-1].outcome is MonitorOutcome.BREACHED)
        for name, judged in (("labelled", answered), ("estimated", unlabelled)):
            report = judge_performance(judged[low:end], profile.expected, performance, now=now)
            found[name].append(report.result.breached)
    return Alarms(**{name: np.array(each) for name, each in found.items()})


def _strength(stream: Stream, change: Change, windows: int) -> Floats:
    """How much of a change there is in each row after the training, 0 to 1, (rows,)."""
    since = np.arange(windows * stream.window) / stream.window - BEFORE
    return np.clip(since / change.windows, 0, 1) if change.windows else (since >= 0).astype(np.float64)


def _share(alarms: Sequence[NDArray[np.bool_]]) -> str:
    return f"{np.mean([each.mean() for each in alarms]):.1%}"


def _a_year(alarms: Sequence[NDArray[np.bool_]]) -> str:
    """New alarms in as many windows as a year has days, and the share of years without any."""
    new = [int(np.count_nonzero(each[1:] & ~each[:-1]) + each[0]) for each in alarms]
    windows = sum(map(len, alarms))
    return f"{sum(new) * YEAR / windows:.1f} ({new.count(0) / len(new):.0%} none)"


def _seen(alarms: Sequence[NDArray[np.bool_]]) -> str:
    delays = [int(each[BEFORE:].argmax()) + 1 for each in alarms if each[BEFORE:].any()]
    return f"{len(delays) / len(alarms):.0%} ({median(delays):g})" if delays else "0%"


def _table(title: str, *columns: Any) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


if __name__ == "__main__":
    typer.run(main)
