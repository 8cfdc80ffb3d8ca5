"""Example data: the only place in the code that names any.

The daily history of two stock indices, 1999 to 2018, as the `arch` package ships it, made into
features known at each day's close and the label ``turbulent``: whether the next five days will be.
"""

from mlinfra.datasets.catalog import DATASETS, Dataset, WrittenDataset, find_dataset, write_dataset
from mlinfra.datasets.indices import nasdaq_daily, sp500_daily

__all__ = [
    "DATASETS",
    "Dataset",
    "WrittenDataset",
    "find_dataset",
    "nasdaq_daily",
    "sp500_daily",
    "write_dataset",
]
