"""The report shows what came out, escapes every text, and needs nothing that lies elsewhere."""

import dataclasses
import re

import numpy as np
import pytest
import yaml

from mlinfra.resources.built_in_training import TrainingData, Validation
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.training.champion import ChampionScore
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Epoch, Fit
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.objective import Classification, Regression
from mlinfra.training.report import Reported, rendered, report_html, report_of, verdict_on
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import make_samples

HOSTILE = "</pre><script>alert(1)</script>\"'&<img src=http://x.example/y>"
PERIOD = "2020-01-01/2020-02-01"


def reported(name: str = "up") -> Reported:
    rows = LabelledRows(
        features=np.arange(100, dtype=np.float32)[:, None],
        label=np.arange(100) % 2,
        time=np.datetime64("2020-01-01", "ns") + np.arange(100) * np.timedelta64(1, "D"),
        entity=np.zeros(100, dtype=np.int64),
        feature_names=(name,),
        classes=(name, "other"),
    )
    epoch = Epoch(1, 0.5, 0.6, {"val_accuracy": 0.75}, 0.1)
    measures = {"log_loss": 0.4, "accuracy": 0.75}
    data = TrainingData(feature_group="group", label=name, start_date="2020-01-01")
    return Reported(
        config=TrainingConfig(data=data),
        samples=make_samples(rows, Validation(), window=4),
        fitted=Fit((epoch,), epoch, stopped_early=False),
        evaluation=Evaluation(Classification.primary, measures, {"baseline": {"accuracy": 0.5}}),
        champion=ChampionScore("7", {"accuracy": 0.8}),
        metrics=measures,
        metadata={"mlinfra.git_sha": name},
        figures={},
        model_name=name,
        run_id="run",
        snapshot="group-abc",
    )


def test_page_tells_measures_beside_baseline_and_champion() -> None:
    report = report_of(reported())
    assert report.columns == ["measure", "this model", "baseline", "version 7 (Production)"]
    assert report.measures == [["accuracy", "75.0%", "50.0%", "80.0%"], ["log loss", "0.4", "", ""]]
    assert not report.good
    page = rendered(report)
    assert "which it beats; version 7 in Production has 80.0%, which it does not reach." in page
    assert "2020-01-04" in page


def test_configuration_trains_the_same_on_the_very_rows() -> None:
    spec = TrainingJobSpec.model_validate(yaml.safe_load(report_of(reported()).configuration))
    assert (spec.model_name, spec.data.snapshot, spec.data.start_date) == ("up", "group-abc", None)
    assert spec.training.to_wire() == reported().config.training.to_wire()


def test_every_text_is_escaped_and_nothing_is_loaded_from_elsewhere() -> None:
    page = report_html(reported(HOSTILE))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    tags = re.findall(r"<(?:img|link|script|iframe|object|a)\b[^>]*>", page)
    assert tags == []
    assert "default-src 'none'" in page


def test_a_champion_that_could_not_be_scored_is_told() -> None:
    report = report_of(dataclasses.replace(reported(), champion=ChampionScore("3", problem="no graph")))
    assert report.good
    assert report.notes[-1] == "Version 3 in Production could not be scored: no graph"


@pytest.mark.parametrize(
    ("own", "champion", "good"), [(1.0, None, True), (1.0, 0.5, False), (1.0, 1.0, True), (3.0, None, False)]
)
def test_verdict_on_values_prefers_the_smaller_error(own: float, champion: float | None, good: bool) -> None:
    evaluation = Evaluation(Regression.primary, {"mae": own}, {"baseline": {"mae": 2.0}})
    score = None if champion is None else ChampionScore("1", {"mae": champion})
    assert verdict_on(evaluation, score, PERIOD)[0] is good
