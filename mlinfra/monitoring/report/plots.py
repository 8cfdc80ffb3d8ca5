"""Plots of a drift report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlinfra.monitoring.report.document import ColumnReport, DriftDocument
from mlinfra.pages.figures import BLUE, GREY, ORANGE, figure_of, figures, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mlinfra.monitoring.drift import WindowDrift

MAX_RANKED = 30
"""Features in the plot of the ranking."""
LONGEST_NAME = 32
TICKS = 12


def ranking_figure(document: DriftDocument) -> "Figure":
    """The score of each feature over its threshold, the highest on top."""
    shown = document.features[:MAX_RANKED][::-1]
    figure, axes = figure_of(9.0, 1.3 + 0.27 * len(shown))
    ratios = [each.drift.score / (each.drift.threshold or 1.0) for each in shown]
    colors = [ORANGE if each.drift.drifted else BLUE for each in shown]
    places = np.arange(len(shown))
    axes.barh(places, ratios, color=colors)
    axes.axvline(1.0, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks(places, [short(each.drift.name) for each in shown], fontsize=8)
    axes.set(
        title=f"{document.policy.method} over threshold", xlabel="score / threshold (dashed: drifts above 1)"
    )
    axes.margins(y=0.02)
    return figure


def column_figure(
    column: ColumnReport, windows: Sequence["WindowDrift"], *, method: str, title: str
) -> "Figure":
    """Left: the shares of a column's cells, reference against now. Right: its score over time.

    Args:
        column: what is drawn.
        windows: those of its scores.
        method: name of the score.
        title: stands above the plot.
    """
    figure, (left, right) = figures(9.6, 3.3, columns=2)
    _distribution(left, column)
    left.set(title=plain(short(title)))
    _over_time(right, column, windows)
    right.set(title=f"{method} by window")
    return figure


def short(name: str) -> str:
    """A name that fits beside a plot, as it is."""
    kept = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    # What cannot be printed has no glyph.
    return plain("".join(letter if letter.isprintable() else "�" for letter in kept))


def _distribution(axes: "Axes", column: ColumnReport) -> None:
    reference, now = column.shares()
    places = np.arange(len(column.cells))
    axes.bar(places, reference, width=0.9, color=GREY, alpha=0.45, label="reference")
    axes.bar(places, now, width=0.5, color=ORANGE if column.drift.drifted else BLUE, label="now")
    step = max(1, -(-len(places) // TICKS))
    axes.set_xticks(
        places[::step], [short(cell) for cell in column.cells[::step]], rotation=40, ha="right", fontsize=7
    )
    axes.set(ylabel="share of the rows")
    axes.margins(y=0.25)
    axes.legend(fontsize=8)


def _over_time(axes: "Axes", column: ColumnReport, windows: Sequence["WindowDrift"]) -> None:
    known = [
        (window.last.replace(tzinfo=None), each)
        for window, each in zip(windows, column.over_time, strict=True)
        if each is not None
    ]
    times = np.array([time for time, _ in known], "datetime64[us]")
    scores = np.array([each.score for _, each in known])
    axes.plot(times, scores, "o-", color=BLUE, markersize=3, linewidth=1, label="score")
    if any(each.threshold is not None for _, each in known):
        bounds = np.array([np.nan if each.threshold is None else each.threshold for _, each in known])
        axes.plot(times, bounds, color=GREY, linestyle="--", linewidth=1, label="threshold")
    drifted = np.array([each.drifted for _, each in known], np.bool_)
    if drifted.any():
        axes.plot(times[drifted], scores[drifted], "o", color=ORANGE, markersize=5, label="drifted")
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", labelrotation=40, labelsize=7)
    axes.legend(fontsize=8)
