"""What a training may be told, and where its model may go."""

import pytest

from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.training.config import (
    InvalidConfigError,
    NothingToTrainError,
    TrainerConfig,
    TrainingConfig,
    changed,
)
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.local import Registration, check_model_name, stage_for
from mlinfra.training.objective import Classification, Regression


def test_spec_without_model_and_data_is_refused() -> None:
    spec = TrainingJobSpec.model_validate({"modelName": "m", "image": "mine"})
    with pytest.raises(NothingToTrainError, match=r"spec\.command with your own code"):
        TrainingConfig.from_spec(spec)


def test_a_change_out_of_bounds_names_field_and_value() -> None:
    with pytest.raises(
        InvalidConfigError, match="epochs: Input should be greater than or equal to 1, got -1"
    ):
        changed(TrainerConfig(), {"epochs": -1})


@pytest.mark.parametrize("name", ["", "a/b", "a:b", " a", "x" * 201])
def test_model_name_that_mlflow_refuses_is_refused_before_the_training(name: str) -> None:
    with pytest.raises(InvalidConfigError, match="Model name"):
        check_model_name(name)


@pytest.mark.parametrize(
    ("registration", "accuracy", "stage"),
    [
        (Registration("m", min_accuracy=0.8), 0.8, "Production"),
        (Registration("m", min_accuracy=0.8), 0.79, "None"),
        (Registration("m", min_accuracy=0.8), float("nan"), "None"),
        (Registration("m", auto_promote=False), 0.99, "None"),
        (Registration("m", register=False), 0.99, "None"),
    ],
)
def test_production_needs_the_accuracy(registration: Registration, accuracy: float, stage: str) -> None:
    evaluation = Evaluation(
        Classification.primary, {"accuracy": accuracy}, {"baseline": {"accuracy": accuracy}}
    )
    assert stage_for(registration, evaluation) == stage


@pytest.mark.parametrize(("error", "stage"), [(1.9, "Production"), (2.0, "None"), (2.1, "None")])
def test_a_model_of_values_needs_to_beat_the_baseline(error: float, stage: str) -> None:
    evaluation = Evaluation(Regression.primary, {"mae": error}, {"baseline": {"mae": 2.0}})
    assert stage_for(Registration("m"), evaluation) == stage
