"""File and flags of ``train`` as the spec of the TrainingJob that trains the same."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.cli.train_flags import PANELS, SPEC_FLAGS
from mlinfra.cli.train_spec import Wishes, headline, manifest_text, not_used_here, registration, training_spec
from mlinfra.resources.training_job import TrainingJob, TrainingJobSpec
from mlinfra.training.config import InvalidConfigError, NothingToTrainError
from mlinfra.training.config_file import Change, ConfigFile, fields_at

OWN = {
    "modelName": "m",
    "model": {"architecture": "hybrid_cnn_lstm", "parameters": {"hiddenSize": 8}},
    "data": {"featureGroup": "g", "label": "y"},
}


def file(**spec: Any) -> ConfigFile:
    return ConfigFile(Path("train.yaml"), spec, {})


def change(path: str, value: Any) -> Change:
    return Change(tuple(path.split(".")), value, f"--{path}")


def printed(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["train", "--print-config", *arguments])
    assert result.exit_code == 0, result.output
    content = yaml.safe_load(result.stdout)
    assert isinstance(content, dict)
    return content


def test_flags_alone() -> None:
    spec = TrainingJob.model_validate(
        printed(
            *("--epochs", "7", "--lr", "0.0001", "--patience", "3", "--parameter", "hiddenSize=8"),
            *("--feature-group", "g", "--label", "y", "--feature", "a", "--feature", "b", "--window", "30"),
            *("--start-date", "2020-01-01", "--embargo", "2", "--min-accuracy", "0.7", "--no-promote"),
        )
    ).spec
    assert spec == TrainingJobSpec.model_validate(
        {
            "modelName": "g",
            "model": {"architecture": "hybrid_cnn_lstm", "parameters": {"hiddenSize": 8}},
            "data": {
                "featureGroup": "g",
                "label": "y",
                "features": ["a", "b"],
                "startDate": "2020-01-01",
                "windowLength": 30,
            },
            "training": {"epochs": 7, "learningRate": 0.0001, "earlyStopping": {"patience": 3}},
            "validation": {"embargo": 2},
            "promotion": {"auto": False, "gates": [{"metric": "test_accuracy", "min": 0.7}]},
        }
    )


def test_example_data_brings_its_label_and_embargo() -> None:
    spec = training_spec(Wishes())
    assert spec.model_name == "hybrid_cnn_lstm"
    assert spec.data is not None
    assert (spec.data.label, spec.validation.embargo) == ("turbulent", 5)
    assert spec.training.early_stopping is not None
    named = training_spec(Wishes(feature_group=spec.data.feature_group))
    assert named == spec


def test_values_of_a_flag_are_those_of_its_field() -> None:
    for flag in SPEC_FLAGS:
        if get_origin(flag.kind) is Literal:
            annotation = fields_at(TrainingJobSpec, flag.place[:-1])[flag.place[-1]].annotation
            allowed = [each for each in (annotation, *get_args(annotation)) if get_origin(each) is Literal]
            assert [get_args(flag.kind)] == [get_args(each) for each in allowed]


def test_values_have_no_accuracy_to_reach() -> None:
    wishes = Wishes(feature_group="g", changes=(change("data.label", "y"), change("data.task", "Regression")))
    assert training_spec(wishes).promotion.gates == []


def test_a_group_of_ones_own_needs_a_label() -> None:
    with pytest.raises(InvalidConfigError, match="--label: name the column of mine to predict"):
        training_spec(Wishes(feature_group="mine"))


def test_a_file_of_ones_own_names_group_and_model() -> None:
    data = Path("folder/My prices.csv.gz")
    spec = training_spec(Wishes(data=data, changes=(change("data.label", "up"),)))
    assert spec.data is not None
    assert (spec.data.feature_group, spec.model_name) == ("My_prices", "My_prices")
    assert spec.validation.embargo == 0
    named = training_spec(Wishes(data=data, feature_group="g", changes=(change("data.label", "up"),)))
    assert named.data is not None
    assert named.data.feature_group == "g"
    with pytest.raises(InvalidConfigError, match="--label: name the column of My_prices to predict"):
        training_spec(Wishes(data=data))


def test_a_file_has_the_defaults_of_a_training_job() -> None:
    assert training_spec(Wishes(file=file(**OWN))) == TrainingJobSpec.model_validate(OWN)


def test_a_file_may_leave_out_what_the_example_data_says() -> None:
    spec = training_spec(Wishes(file=file(training={"epochs": 3})))
    assert spec.data is not None
    assert (spec.data.label, spec.validation.embargo, spec.training.epochs) == ("turbulent", 5, 3)
    assert spec.training.early_stopping is None
    assert spec.promotion.gates == []


def test_flags_win_over_the_file_one_field_at_a_time() -> None:
    spec = training_spec(
        Wishes(
            file=file(**OWN, training={"epochs": 3, "seed": 7}),
            changes=(change("training.epochs", 4),),
            parameters=("dropout=0",),
            patience=2,
        )
    )
    assert (spec.training.epochs, spec.training.seed) == (4, 7)
    assert spec.model is not None
    assert spec.model.parameters == {"hiddenSize": 8, "dropout": 0}
    assert training_spec(Wishes(file=file(**OWN), patience=0)).training.early_stopping is None


def test_min_accuracy_takes_the_place_of_the_files_gate_on_it() -> None:
    gates = [{"metric": "test_f1", "min": 0.5}, {"metric": "test_accuracy", "min": 0.9}]
    spec = training_spec(Wishes(file=file(**OWN, promotion={"gates": gates}), min_accuracy=0.6))
    assert [(gate.metric, gate.min) for gate in spec.promotion.gates] == [
        ("test_f1", 0.5),
        ("test_accuracy", 0.6),
    ]


def test_registration_follows_the_promotion() -> None:
    spec = training_spec(Wishes(min_accuracy=0.6, promote=False))
    wanted = registration(spec, register=True)
    assert (wanted.model_name, wanted.auto_promote, wanted.min_accuracy) == ("hybrid_cnn_lstm", False, 0.6)
    assert registration(training_spec(Wishes(file=file(**OWN))), register=True).min_accuracy == 0.0


def test_all_of_a_promotion_is_acted_on() -> None:
    promotion = {
        "stage": "Staging",
        "gates": [{"metric": "test_f1", "min": 0.5}, {"metric": "test_accuracy", "min": 0.7}],
        "challenger": {"metric": "test_accuracy", "minImprovement": 0.01},
    }
    wanted = registration(training_spec(Wishes(file=file(**OWN, promotion=promotion))), register=True)
    assert (wanted.stage, wanted.min_accuracy, wanted.min_improvement) == ("Staging", 0.7, 0.01)
    assert [gate.metric for gate in wanted.gates] == ["test_f1"]
    manual = training_spec(Wishes(file=file(**OWN, promotion={"approval": "Manual"})))
    assert not registration(manual, register=True).auto_promote
    other = training_spec(Wishes(file=file(**OWN, promotion={"challenger": {"metric": "test_f1"}})))
    with pytest.raises(InvalidConfigError, match="on this machine test_accuracy decides, with goal Maximize"):
        registration(other, register=True)


def test_own_code_is_left_to_kubernetes() -> None:
    assert headline(training_spec(Wishes())) == "hybrid_cnn_lstm learns turbulent of sp500_daily"
    with pytest.raises(NothingToTrainError, match="kubectl apply it"):
        headline(training_spec(Wishes(file=file(**OWN, command=["python", "mine.py"]))))


def test_what_only_kubernetes_uses_is_told() -> None:
    spec = training_spec(Wishes(file=file(**OWN, nodeSelector={"gpu": "yes"}, backoffLimit=1)))
    assert not_used_here(spec) == ["nodeSelector"]
    assert not_used_here(training_spec(Wishes())) == []


def test_wrong_values_name_the_flag() -> None:
    result = CliRunner().invoke(app, ["train", "--print-config", "--epochs", "0"])
    assert result.exit_code == 2
    assert "Error: --epochs: training.epochs: Input should be greater than or equal to 1" in result.stderr
    result = CliRunner().invoke(app, ["train", "--print-config", "--parameter", "hiddenSize"])
    assert (result.exit_code, "write NAME=VALUE" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--folds", "3"),
            "--folds: validation: folds, window and windowSize belong to",
        ),
        (("--warmup-epochs", "3"), "--warmup-epochs: training.scheduler.name is missing"),
        (
            ("--patience", "0", "--stopping-metric", "val_accuracy"),
            "--stopping-metric: give --patience",
        ),
    ],
)
def test_flags_that_need_another_flag_say_so(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["train", "--print-config", *arguments])
    assert (result.exit_code, message in result.stderr) == (2, True), result.output


def test_the_manifest_keeps_the_files_metadata() -> None:
    said = ConfigFile(Path("t.yaml"), OWN, {}, {"name": "mine", "labels": {"team": "a"}})
    content = yaml.safe_load(manifest_text(training_spec(Wishes(file=said)), said))
    assert content["metadata"] == {"name": "mine", "labels": {"team": "a"}}


def test_every_flag_has_a_field_and_shows_its_default() -> None:
    spec = training_spec(Wishes(feature_group="g", changes=(change("data.label", "y"),))).to_wire()
    for flag in SPEC_FLAGS:
        assert flag.place[-1] in fields_at(TrainingJobSpec, flag.place[:-1])
        assert flag.panel in PANELS
        value = spec
        for key in flag.place:
            value = value.get(key, {})
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert flag.default is not None
            assert flag.default.split(";")[0] == str(value)


def test_help_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "python train_model.py --epochs 100 --lr 0.0001" in result.stdout
    assert "default: 0.001" in result.stdout
