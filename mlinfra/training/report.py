"""The report of a training: what was trained on which dates, how good it is beside what it must beat, and how
to do it again. One HTML file that needs nothing else.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlinfra import __version__
from mlinfra.pages.html import rendered_page, svg_base64
from mlinfra.training.champion import ChampionScore
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Fit
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.measure_format import measure_text, measure_title
from mlinfra.training.report_template import TEMPLATE
from mlinfra.training.samples import Samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS = {
    "confusion_matrix": "Right class by row, predicted class by column; the share is of the row.",
    "probability": "Predicted probability, and when the class was the right one.",
    "roc": "Left: how many are found at the price of how many false alarms. Right: precision at each recall.",
    "reliability": "On the dashed line a prediction is right as often as it says.",
    "values": "Predicted and true values in the order of time.",
    "residuals": "Left: on the dashed line a prediction is exact. Right: how the errors are spread.",
    "loss": "By epoch; the dotted line marks the epoch whose weights were kept.",
}
DATES = ("startDate", "endDate", "lastDays")
COLUMNS = {"baseline": "baseline", "last_value": "last value", "mean": "training mean"}
BASELINES = {
    "Classification": "Baseline: always answering the most frequent class of the test dates. "
    "Last value: the newest label that was known at the time.",
    "Regression": "Baseline: the newest value that was known at the time. "
    "Training mean: always answering the mean of the training dates.",
}


@dataclass(frozen=True, slots=True)
class PartOfDates:
    """First and last date of a part, and how many samples it has."""

    name: str
    first: str
    last: str
    samples: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot as SVG, in base64, and what it shows."""

    base64: str
    caption: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows, as text.

    Attributes:
        good: whether the model beats the baseline, and the champion where there is one.
        measures: rows below ``columns``; the first is the measure that decides.
        facts: name and value of what else there is to know.
        how: what to do with the configuration.
        configuration: a TrainingJob's spec as YAML.
    """

    title: str
    about: str
    good: bool
    verdict: str
    parts: Sequence[PartOfDates]
    columns: Sequence[str]
    measures: Sequence[Sequence[str]]
    notes: Sequence[str]
    figures: Sequence[Picture]
    facts: Sequence[tuple[str, str]]
    how: str
    configuration: str
    command: str


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report is made of.

    Attributes:
        config: what was asked for.
        samples: what was learnt and tested.
        fitted: the epochs.
        evaluation: the measures on the test part.
        champion: those of the model in Production; None where there is none.
        metrics: final values by metric key.
        metadata: what the graph says of itself.
        figures: plots by name.
        model_name: registered model; None where nobody said.
        run_id: MLflow run.
        snapshot: ID of the snapshot of the rows; None where there is none.
    """

    config: TrainingConfig
    samples: Samples
    fitted: Fit
    evaluation: Evaluation
    champion: ChampionScore | None
    metrics: Mapping[str, float]
    metadata: Mapping[str, str]
    figures: Mapping[str, "Figure"]
    model_name: str | None
    run_id: str
    snapshot: str | None


def report_html(reported: Reported) -> str:
    """The report as one HTML file; every text in it is escaped."""
    return rendered(report_of(reported))


def rendered(report: Report) -> str:
    """The page of a report."""
    return rendered_page(TEMPLATE, report)


def report_of(reported: Reported) -> Report:
    """Bring what came out into words and tables."""
    config, samples = reported.config, reported.samples
    parts = [
        PartOfDates(name, first, last, len(part.last_rows))
        for name, part in samples.parts().items()
        for first, last in [part.period.split("/")]
    ]
    good, verdict = verdict_on(reported.evaluation, reported.champion, samples.test.period)
    columns, measures = measure_table(reported.evaluation, reported.champion)
    return Report(
        title=f"{reported.model_name or config.model.architecture}: {config.data.label}",
        about=f"{config.model.architecture} learnt “{config.data.label}” of feature group "
        f"“{config.data.feature_group}” from {len(samples.rows.feature_names)} features over "
        f"{samples.window} rows each. MLflow run {reported.run_id}.",
        good=good,
        verdict=verdict,
        parts=parts,
        columns=columns,
        measures=measures,
        notes=_notes(config, reported.champion),
        figures=[
            Picture(svg_base64(figure), CAPTIONS.get(name, name)) for name, figure in reported.figures.items()
        ],
        facts=_facts(reported),
        how="Save this as training.yaml. It holds every setting, the seed included"
        + (", and names the snapshot of the very rows." if reported.snapshot else "."),
        configuration=configuration_yaml(config, reported.model_name, reported.snapshot),
        command="python train_model.py --config training.yaml",
    )


def verdict_on(evaluation: Evaluation, champion: ChampionScore | None, period: str) -> tuple[bool, str]:
    """Whether the model is better than what it must beat, and a sentence that says so."""
    name = evaluation.primary.name
    title, own = measure_title(name), measure_text(name, evaluation.score)
    sentence = f"On {period.replace('/', ' to ')} its {title} is {own}; the baseline's is "
    sentence += f"{measure_text(name, evaluation.baseline_score)}"
    good = evaluation.beats_baseline
    sentence += ", which it beats" if good else ", which it does not beat"
    if champion is not None and name in champion.measures:
        theirs = champion.measures[name]
        reached = not evaluation.primary.is_better(theirs, evaluation.score)
        good = good and reached
        sentence += f"; version {champion.version} in Production has {measure_text(name, theirs)}"
        sentence += ", which it reaches" if reached else ", which it does not reach"
    return good, f"{sentence}."


def measure_table(
    evaluation: Evaluation, champion: ChampionScore | None
) -> tuple[list[str], list[list[str]]]:
    """Column names, and a row for each measure with the primary one first; empty where a rival has none."""
    rivals = {COLUMNS.get(name, name): values for name, values in evaluation.baselines.items()}
    if champion is not None and champion.measures:
        rivals[f"version {champion.version} (Production)"] = champion.measures
    names = sorted(evaluation.measures, key=lambda name: name != evaluation.primary.name)
    rows = [
        [
            measure_title(name),
            measure_text(name, evaluation.measures[name]),
            *(measure_text(name, values[name]) if name in values else "" for values in rivals.values()),
        ]
        for name in names
    ]
    return ["measure", "this model", *rivals], rows


def configuration_yaml(config: TrainingConfig, model_name: str | None, snapshot: str | None) -> str:
    """The spec of a TrainingJob that trains the same, on the very rows where a snapshot holds them."""
    import yaml

    spec = {"modelName": model_name or config.model.architecture, **config.to_wire()}
    if snapshot is not None:
        data = {key: value for key, value in spec["data"].items() if key not in DATES}
        spec["data"] = data | {"snapshot": snapshot}
    return yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)


def _notes(config: TrainingConfig, champion: ChampionScore | None) -> list[str]:
    notes = [BASELINES[config.data.task]]
    if champion is not None and champion.problem:
        notes.append(f"Version {champion.version} in Production could not be scored: {champion.problem}")
    return notes


def _facts(reported: Reported) -> list[tuple[str, str]]:
    samples, fitted, metrics = reported.samples, reported.fitted, reported.metrics
    facts = [
        ("epochs", f"{len(fitted.epochs)}, the best {fitted.best.number}"),
        ("features", ", ".join(samples.rows.feature_names)),
    ]
    if walked := walk_forward(reported.evaluation, metrics):
        facts.append(("walk-forward validation", walked))
    if samples.rows.classes:
        facts.append(("classes", ", ".join(str(name) for name in samples.rows.classes)))
    if reported.snapshot:
        facts.append(("feature snapshot", reported.snapshot))
    if "onnx_max_abs_difference" in metrics:
        facts.append(
            (
                "ONNX",
                f"{metrics['onnx_bytes'] / 1024:,.0f} KiB, differs from the network by "
                f"{metrics['onnx_max_abs_difference']:.1e} at most",
            )
        )
    if "int8_bytes" in metrics:
        primary = reported.evaluation.primary.name
        facts.append(
            (
                "copy with 8-bit weights",
                f"{metrics['int8_bytes'] / 1024:,.0f} KiB, {measure_title(primary)} "
                f"{measure_text(primary, metrics[f'int8_test_{primary}'])}, not served",
            )
        )
    if commit := reported.metadata.get("mlinfra.git_sha"):
        facts.append(("commit of the working folder", commit))
    facts.append(("versions", versions()))
    return facts


def walk_forward(evaluation: Evaluation, metrics: Mapping[str, float]) -> str | None:
    """The primary measure over all folds; None of hold-out validation."""
    name = evaluation.primary.name
    key = f"walk_forward_test_{name}"
    if f"{key}_mean" not in metrics:
        return None
    mean, deviation = (measure_text(name, metrics[f"{key}_{part}"]) for part in ("mean", "std"))
    return f"{measure_title(name)} {mean} on average over the folds, standard deviation {deviation}"


def versions() -> str:
    """Of mlinfra and of what decides the numbers."""
    from importlib.metadata import version

    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "numpy", "pandas"))
    return f"mlinfra {__version__}, Python {platform.python_version()}, {packages}"
