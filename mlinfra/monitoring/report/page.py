"""The page of a drift report: one HTML file that needs nothing else, readable without its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlinfra import __version__
from mlinfra.monitoring.drift import WindowDrift
from mlinfra.monitoring.report.document import ColumnReport, DriftDocument
from mlinfra.monitoring.report.plots import column_figure, ranking_figure
from mlinfra.monitoring.report.template import TEMPLATE
from mlinfra.pages.html import rendered_page, svg_base64
from mlinfra.retraining.triggers import MonitorOutcome

MAX_PICTURES = 24
"""Features with a picture: those of the highest rank; the others have their numbers alone."""
NAMED = 5
CAPTION = (
    "Left: share of the rows in each bin of the training rows, or in each category. "
    "Right: the score of each window; what is above the dashed line drifted."
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot as SVG in base64, what it shows in words, and how to read it."""

    base64: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A column: its picture where it has one, and its numbers."""

    title: str
    sentence: str
    picture: Picture | None
    cells: Table
    over_time: Table


@dataclass(frozen=True, slots=True)
class Page:
    """All that the page shows, as text."""

    title: str
    about: str
    good: bool
    verdict: str
    notes: Sequence[str]
    ranking_picture: Picture
    ranking: Table
    windows: Table
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]]


def document_html(document: DriftDocument) -> str:
    """The report as one HTML file; every text in it is escaped."""
    return rendered_page(TEMPLATE, page_of(document))


def page_of(document: DriftDocument) -> Page:
    """Bring a document into words, tables and pictures."""
    subject, whole = document.subject, document.whole
    name = " ".join(part for part in (subject.model_name, subject.model_version) if part)
    outcomes = [
        (column, title)
        for column, title in ((document.prediction, "Prediction"), (document.label, "Label"))
        if column is not None
    ]
    sections = [_section(document, column, title, drawn=True) for column, title in outcomes]
    sections += [
        _section(document, each, each.drift.name, drawn=place < MAX_PICTURES)
        for place, each in enumerate(document.features)
    ]
    return Page(
        title=f"Drift of {name or 'rows'}",
        about=f"{whole.rows:,} rows of {subject.data}, {_moment(whole.first)} to {_moment(whole.last)}, "
        "beside the rows that the model learnt from.",
        good=whole.outcome is MonitorOutcome.OK,
        verdict=verdict_on(document),
        notes=subject.notes,
        ranking_picture=Picture(
            svg_base64(ranking_figure(document)),
            f"{document.policy.method} of each feature over its threshold; the table below has the numbers.",
            "The feature furthest beyond its threshold is on top.",
        ),
        ranking=_ranking(document),
        windows=_windows(document.windows),
        sections=sections,
        facts=_facts(document),
    )


def verdict_on(document: DriftDocument) -> str:
    """A sentence that says what drifted."""
    drifted, total = document.drifted, len(document.features)
    if document.whole.outcome is MonitorOutcome.INCONCLUSIVE:
        return (
            f"{document.whole.rows:,} rows are too few to tell: at least "
            f"{document.policy.min_samples:,} are needed."
        )
    windows = sum(each.outcome is MonitorOutcome.BREACHED for each in document.windows)
    over_time = f"{windows} of {len(document.windows)} windows drifted."
    if not drifted:
        return f"None of {total} features drifted over all rows; {over_time}"
    named = ", ".join(each.drift.name for each in drifted[:NAMED])
    more = f" and {len(drifted) - NAMED} more" if len(drifted) > NAMED else ""
    return f"{len(drifted)} of {total} features drifted over all rows: {named}{more}; {over_time}"


def ranking_rows(document: DriftDocument) -> list[list[str]]:
    """Rank, name, score, threshold and so on of each feature, below `RANKING`."""
    return [
        [
            str(rank),
            each.drift.name,
            f"{each.drift.score:.4g}",
            _number(each.drift.threshold),
            "yes" if each.drift.drifted else "no",
            _from_to(each.reference_missing, each.drift.missing),
            _from_to(each.reference_unusual, each.drift.unusual),
        ]
        for rank, each in enumerate(document.features, start=1)
    ]


RANKING = ("rank", "feature", "score", "threshold", "drifted", "no value", "unseen or out of range")


def _ranking(document: DriftDocument) -> Table:
    return Table(RANKING, ranking_rows(document))


def _windows(windows: Sequence[WindowDrift]) -> Table:
    rows = [
        [
            _moment(each.first),
            _moment(each.last),
            f"{each.rows:,}",
            each.outcome.value,
            ", ".join(feature.name for feature in each.drifted[:NAMED])
            + (f" and {len(each.drifted) - NAMED} more" if len(each.drifted) > NAMED else ""),
        ]
        for each in windows
    ]
    return Table(("first", "last", "rows", "outcome", "drifted features"), rows)


def _section(document: DriftDocument, column: ColumnReport, title: str, *, drawn: bool) -> Section:
    method = document.policy.method
    sentence = f"{method} {column.drift.score:.3g}"
    if column.drift.threshold is not None:
        sentence += f", threshold {column.drift.threshold:.3g}: "
        sentence += "drifted" if column.drift.drifted else "did not drift"
    picture = None
    if drawn:
        figure = column_figure(column, document.windows, method=method, title=title)
        alt = f"Distribution of {title}, reference against now, and its score over time. {sentence}."
        picture = Picture(svg_base64(figure), alt, f"{sentence}. {CAPTION}")
    reference, now = column.shares()
    shares = zip(column.cells, column.reference, reference, column.now, now, strict=True)
    cells = [
        [cell, f"{old:,}", f"{before:.2%}", f"{new:,}", f"{after:.2%}"]
        for cell, old, before, new, after in shares
    ]
    over_time = [
        [_moment(window.last), _number(each.score), _number(each.threshold), "yes" if each.drifted else "no"]
        for window, each in zip(document.windows, column.over_time, strict=True)
        if each is not None
    ]
    return Section(
        title=title,
        sentence=f"{sentence}.",
        picture=picture,
        cells=Table(("cell", "reference rows", "share", "rows now", "share now"), cells),
        over_time=Table(("window to", "score", "threshold", "drifted"), over_time),
    )


def _facts(document: DriftDocument) -> list[tuple[str, str]]:
    policy = document.policy
    limits = (
        f"above {policy.threshold:g}"
        if policy.threshold is not None
        else f"calibrated on the training rows, false alarm rate {policy.false_alarm_rate:g}"
    )
    periods = [
        (f"{name} rows of the training", period.replace("/", " to "))
        for name, period in document.periods.items()
    ]
    return [
        ("method", policy.method),
        ("thresholds", limits),
        ("fewest rows that tell something", f"{policy.min_samples:,}"),
        *periods,
        ("reference profile", document.profile),
        ("version", f"mlinfra {__version__}"),
    ]


def _moment(time: datetime) -> str:
    return (
        f"{time:%Y-%m-%d}" if (time.hour, time.minute, time.second) == (0, 0, 0) else f"{time:%Y-%m-%d %H:%M}"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _from_to(before: float, now: float) -> str:
    return f"{before:.1%} → {now:.1%}"
