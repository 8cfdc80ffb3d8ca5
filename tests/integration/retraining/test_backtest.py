"""Replays of a synthetic stream whose concept is turned over at a known row: real trainer, real monitors."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.features import get_feature_store
from mlinfra.features.own_data import import_file
from mlinfra.resources.monitoring import MonitoringWindow
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.retraining.backtest.comparison import Outcome, outcome_of
from mlinfra.retraining.backtest.learner import Learner
from mlinfra.retraining.backtest.policies import Policy, built_in, policy_of
from mlinfra.retraining.backtest.replay import NothingToReplayError, Replay, ReplaySettings, replay
from mlinfra.retraining.triggers import RetrainingTrigger
from mlinfra.training.config import TrainingConfig
from mlinfra.training.promotion import PromotionRule
from mlinfra.training.rows import RowKeys

START = np.datetime64("2020-01-01", "us")
ROWS, TURNED = 1600, 900
TRAIN_UNTIL = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=600)
SPEC = {
    "modelName": "turned",
    "model": {"architecture": "mlp", "parameters": {"hiddenSizes": [8], "dropout": 0.0}},
    "data": {"featureGroup": "turned", "label": "up", "windowLength": 1},
    "training": {"epochs": 15, "batchSize": 64, "learningRate": 0.02, "seed": 3},
    "validation": {"validationFraction": 0.1, "testFraction": 0.1},
}
SETTINGS = ReplaySettings(train_until=TRAIN_UNTIL, label_delay=timedelta(days=7))
WINDOW = MonitoringWindow(rows=60)


def stream(*, rows: int = ROWS, turned: int = TURNED, period: int | None = None) -> pd.DataFrame:
    """A row a day: the label is the sign of a feature, and from row ``turned`` on the opposite.

    Args:
        period: rows after which it is turned over again, and again.
    """
    generator = np.random.default_rng(11)
    features = generator.normal(size=(rows, 3))
    number = np.arange(rows)
    opposite = number >= turned
    if period is not None:
        opposite &= (number - turned) // period % 2 == 0
    return pd.DataFrame(
        {
            "time": START + number.astype("timedelta64[D]"),
            "first": features[:, 0],
            "second": features[:, 1] + 3.0 * opposite,
            "third": features[:, 2],
            "up": np.where((features[:, 0] > 0) ^ opposite, "yes", "no"),
        }
    )


def learner(frame: pd.DataFrame, training_days: int | None = 365) -> Learner:
    return Learner(
        TrainingConfig.from_spec(TrainingJobSpec.model_validate(SPEC)),
        frame,
        RowKeys(time="time"),
        training_days=training_days,
    )


def told(result: Replay) -> list[Any]:
    return [(each.time, each.request, each.score, each.promoted, each.reason) for each in result.decisions]


@pytest.fixture(scope="module")
def whole() -> Learner:
    return learner(stream())


@pytest.fixture(scope="module")
def both(whole: Learner) -> Replay:
    return replay(built_in("both", window=WINDOW), whole, SETTINGS)


def measured(result: Replay, whole: Learner) -> Outcome:
    return outcome_of(result, whole)


def test_a_policy_notices_what_a_frozen_model_does_not(whole: Learner, both: Replay) -> None:
    frozen = replay(built_in("never"), whole, SETTINGS)
    assert frozen.decisions == ()
    assert measured(frozen, whole).measures["accuracy"] < 0.6
    assert measured(both, whole).measures["accuracy"] > 0.7
    assert any(each.promoted for each in both.decisions)
    first = both.decisions[0]
    turned = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=TURNED)
    assert turned < first.time < turned + timedelta(days=3 * 60 + 7)
    assert {each.trigger for each in first.request.evidence} <= {
        RetrainingTrigger.DRIFT,
        RetrainingTrigger.PERFORMANCE,
    }
    assert "accuracy" in first.request.message


def test_where_nothing_changes_nobody_trains() -> None:
    calm = learner(stream(turned=ROWS))
    result = replay(built_in("both", window=WINDOW), calm, SETTINGS)
    assert result.decisions == ()


def test_the_same_replay_twice_gives_the_same_decisions(both: Replay) -> None:
    again = replay(built_in("both", window=WINDOW), learner(stream()), SETTINGS)
    assert told(again) == told(both)
    assert np.array_equal(again.answers, both.answers)


def test_the_same_replay_of_several_entities_gives_the_same_decisions_over_and_over_again() -> None:
    """Whatever order the rows come in, and although trainings that did not help are tried again."""

    def entities() -> pd.DataFrame:
        both = [stream(turned=650, period=70).assign(entity=name) for name in ("a", "b")]
        both[1]["up"] = np.where(both[1]["second"] > 1.0, "yes", both[1]["up"])
        return pd.concat(both, ignore_index=True)

    check = {"window": WINDOW.to_wire(), "minSamples": 30, "breachedWindows": 1, "ofWindows": 1}
    policy = policy_of("eager", {"performance": check | {"maxLoss": 0.01}, "maxBackoffFactor": 2})
    keys = RowKeys(time="time", entity="entity")
    replays = []
    for frame in (entities(), entities().sample(frac=1, random_state=3)):
        config = TrainingConfig.from_spec(TrainingJobSpec.model_validate(SPEC))
        replays.append(replay(policy, Learner(config, frame, keys, training_days=120), SETTINGS))
    one, again = replays
    assert len(one.decisions) > 4
    assert {each.promoted for each in one.decisions} == {True, False}
    assert told(again) == told(one)
    assert np.array_equal(again.answers, one.answers)
    assert np.array_equal(again.by, one.by)


def test_a_version_that_does_worse_gives_way_and_monitors_rest_until_the_schedule_trains() -> None:
    # The concept turns over on the day that a version is promoted whatever it is worth.
    day = 731
    any_version = replace(SETTINGS, promotion=PromotionRule(0.0, -1.0))
    check = {"window": WINDOW.to_wire(), "minSamples": 30, "breachedWindows": 1, "ofWindows": 1}
    spec = {"schedule": "@yearly", "performance": check, "rollback": {"observationSeconds": 90 * 86_400}}
    turned = learner(stream(turned=day), training_days=365)
    result = replay(policy_of("watched", spec), turned, any_version)
    promoted = datetime(2022, 1, 1, tzinfo=UTC)
    (returned,) = result.rollbacks
    assert promoted < returned.time < promoted + timedelta(days=90)
    assert "version 2 has accuracy" in returned.message
    assert "version 1 had" in returned.message
    times = START + result.rows.astype("timedelta64[D]")
    at = int(np.searchsorted(times, np.datetime64(returned.time.replace(tzinfo=None)), side="right"))
    assert (result.by[at - 1], result.by[at]) == (2, 1)
    scheduled = [each.time.date().isoformat() for each in result.decisions[:2]]
    assert scheduled == ["2022-01-01", "2023-01-01"]
    assert [each.request.trigger.value for each in result.decisions[:2]] == ["scheduled"] * 2
    without = replay(policy_of("unwatched", {**spec, "rollback": None}), turned, any_version)
    assert without.rollbacks == ()
    assert without.decisions[1].request.trigger is RetrainingTrigger.PERFORMANCE


@pytest.mark.parametrize("delayed", [False, True])
def test_nothing_is_seen_before_its_time(delayed: bool, both: Replay) -> None:
    """What comes after a day, or labels that are not known on it, change nothing that was done by then."""
    day = both.decisions[-1].time
    poisoned = stream()
    later = poisoned["time"] > np.datetime64(day.replace(tzinfo=None))
    if delayed:
        unknown = poisoned["time"] > np.datetime64((day - SETTINGS.label_delay).replace(tzinfo=None))
        poisoned.loc[unknown, "up"] = "no"
    else:
        poisoned.loc[later, ["first", "second", "third"]] *= -50.0
        poisoned.loc[later, "up"] = "no"
    result = replay(built_in("both", window=WINDOW), learner(poisoned), SETTINGS)
    assert [each for each in told(result) if each[0] <= day] == told(both)
    before = int((~later & (poisoned["time"] > np.datetime64(TRAIN_UNTIL.replace(tzinfo=None)))).sum())
    assert np.array_equal(result.answers[:before], both.answers[:before])


@pytest.mark.parametrize(
    ("limits", "most"),
    [({"cooldownSeconds": 300 * 86_400}, 4), ({"suspend": True}, 0)],
)
def test_flapping_traffic_gives_no_more_trainings_than_the_policy_allows(
    limits: dict[str, Any], most: int
) -> None:
    check = {"window": WINDOW.to_wire(), "minSamples": 30, "breachedWindows": 1, "ofWindows": 1}
    spec = {"performance": check | {"maxLoss": 0.01}, "drift": check | {"onBreach": "Retrain"}}
    flapping = learner(stream(turned=650, period=70), training_days=120)
    free = replay(policy_of("free", spec), flapping, SETTINGS)
    assert len(free.decisions) > 4
    limited = replay(policy_of("limited", spec | limits), flapping, SETTINGS)
    assert len(limited.decisions) <= most
    times = [each.time for each in limited.decisions]
    cooldown = timedelta(seconds=limits.get("cooldownSeconds", 0))
    assert all(later - earlier >= cooldown for earlier, later in pairwise(times))


def test_a_schedule_trains_when_it_is_due(whole: Learner) -> None:
    policy: Policy = policy_of("yearly", {"schedule": "@yearly"})
    result = replay(policy, whole, SETTINGS)
    assert [each.time.date().isoformat() for each in result.decisions] == [
        "2022-01-01",
        "2023-01-01",
        "2024-01-01",
    ]


def test_no_row_to_replay_is_told(whole: Learner) -> None:
    late = replace(SETTINGS, train_until=TRAIN_UNTIL + timedelta(days=3000))
    with pytest.raises(NothingToReplayError, match="the group's rows end 2024-05-18"):
        replay(built_in("never"), whole, late)


def test_the_command_prints_the_comparison_and_writes_the_plot(tmp_path: Path) -> None:
    rows, config, plot = tmp_path / "turned.csv", tmp_path / "training.json", tmp_path / "backtest.svg"
    stream().to_csv(rows, index=False)
    config.write_text(json.dumps(SPEC))
    store = tmp_path / "store"
    import_file(get_feature_store(str(store)), rows, label="up", timestamp="time", feature_group="turned")
    command = ["retraining", "backtest", "--config", str(config), "--store", str(store), "--policy", "never"]
    command += ["--policy", "both", "--train-until", TRAIN_UNTIL.date().isoformat(), "--label-delay", "7d"]
    command += ["--window-rows", "60", "--training-days", "365", "--plot", str(plot)]
    shown = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "FALSE ALARMS" in shown.output
    assert "Always the most frequent class" in shown.output
    assert plot.read_text().startswith("<?xml")
    wire = json.loads(CliRunner().invoke(app, [*command, "-o", "json"]).stdout)
    never, both = wire["policies"]
    assert (never["trainings"], never["decisions"]) == (0, [])
    assert both["decisions"][0]["trigger"] == "performance"
    assert both["measures"]["accuracy"] > never["measures"]["accuracy"] + 0.1


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("turned")
    stream().assign(share=lambda frame: frame["first"] / 7).to_csv(folder / "turned.csv", index=False)
    import_file(
        get_feature_store(str(folder / "store")),
        folder / "turned.csv",
        label="up",
        timestamp="time",
        feature_group="turned",
    )
    return folder / "store"


def policy_file(folder: Path, name: str, **changes: Any) -> str:
    """A yearly policy whose template is ``SPEC`` with some of its fields changed."""
    spec = {"modelName": "turned", "schedule": "@yearly", "trainingJobTemplate": {"spec": SPEC | changes}}
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(spec))
    return str(path)


def test_policies_that_differ_only_in_the_template_train_differently(tmp_path: Path, store: Path) -> None:
    features = dict(SPEC["data"], features=["third"])  # type: ignore[call-overload]
    recent = dict(SPEC["data"], lastDays=120)  # type: ignore[call-overload]
    gate = {"gates": [{"metric": "test_accuracy", "min": 1.01}]}
    files = [
        policy_file(tmp_path, "plain"),
        policy_file(tmp_path, "epochs", training={"epochs": 1, "seed": 5}),
        policy_file(tmp_path, "network", model={"architecture": "mlp", "parameters": {"hiddenSizes": [2]}}),
        policy_file(tmp_path, "features", data=features),
        policy_file(tmp_path, "recent", data=recent),
        policy_file(tmp_path, "split", validation={"validationFraction": 0.1, "testFraction": 0.3}),
        policy_file(tmp_path, "gated", promotion=gate),
    ]
    command = ["retraining", "backtest", "--group", "turned", "--label", "up", "--store", str(store)]
    command += ["--train-until", TRAIN_UNTIL.date().isoformat(), "--label-delay", "7d", "-o", "json"]
    for file in files:
        command += ["--policy", file]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    plain, *others, gated = json.loads(told.stdout)["policies"]
    scores = [each["score"] for each in plain["decisions"]]
    assert len(scores) == 3
    for other in others:
        assert [each["score"] for each in other["decisions"]] != scores, other["policy"]
        assert other["measures"] != plain["measures"]
    # Without a challenger any version takes over, as in a cluster; a gate that none passes keeps all out.
    assert (plain["promoted"], gated["promoted"]) == (3, 0)
    assert "test_accuracy" in gated["decisions"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "always"], "never, scheduled, drift, performance, both"),
        (["--policy", "."], ". cannot be read: Is a directory"),
        (["--policy", "x" * 400], "cannot be read: File name too long"),
        (["--label-delay", "7 days"], "no duration such as 7d"),
        (["--label-delay", "999999w"], "more than 36,500 days"),
        (["--until", "soon"], "no date such as 2003-12-31"),
        (["--until", "9999-12-31"], "not between the years 1900 and 2200"),
        (["--until", "2001-01-01"], "the traffic ends before it begins"),
        (["--train-until", "0001-01-01T00:00:00+14:00"], "not between the years 1900 and 2200"),
        (["--train-until", "2019-12-01"], "the rows to learn from begin 2020-01-01"),
        (["--train-until", "2030-01-01"], "the group's rows end 2024-05-18"),
        (["--group", "nix"], "no feature group 'nix'"),
        (["--label", "nix"], 'has no column "nix" to learn'),
        (["--label", "share"], "holds fractions such as"),
        (["--config", "absent.yaml"], "absent.yaml cannot be read"),
        (["--plot", "plot.txt"], "write a name that ends with .svg"),
        (["--plot", "absent/plot.svg"], "there is no folder"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, store: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    command = ["retraining", "backtest", "--store", str(store), "--policy", "never", "--group", "turned"]
    command += ["--label", "up", "--train-until", "2021-08-23", "--plot", str(plot), *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.exception
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
    assert not plot.exists()
