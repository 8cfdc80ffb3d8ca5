"""What is learnt where nobody says what: the first of the example data."""

from typing import TYPE_CHECKING

from mlinfra.resources.built_in_training import TrainingData, Validation

if TYPE_CHECKING:
    from mlinfra.features import FeatureStore


def example_data() -> tuple[TrainingData, Validation]:
    """What is learnt where nobody says what: the first example data set, with the embargo its label needs."""
    from mlinfra.datasets import DATASETS
    from mlinfra.datasets.daily_features import LABEL_DAYS

    return (
        TrainingData(feature_group=DATASETS[0].feature_group, label=DATASETS[0].label),
        Validation(embargo=LABEL_DAYS),
    )


def write_example_if_absent(store: "FeatureStore", feature_group: str) -> bool:
    """Write an example data set's group to the store where it is absent; True where that was done."""
    if feature_group in store.list_feature_groups():
        return False
    from mlinfra.datasets import DATASETS, write_dataset

    name = next((each.name for each in DATASETS if each.feature_group == feature_group), None)
    if name is None:
        return False
    write_dataset(store, name)
    return True
