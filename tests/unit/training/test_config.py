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
from mlinfra.training.local import check_model_name


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
