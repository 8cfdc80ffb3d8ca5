"""What the values of one column were like in training: the cells that later values are counted in.

The cells are fixed by the training rows, so that counts of any rows can be compared, and added up, and one
value far off moves nothing but the cell at the end.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BINS = 20
"""Of a numeric column: each holds about one in twenty of the training rows."""
MAX_CATEGORIES = 64
"""Categories with a cell of their own; rarer ones share one."""
FEW_VALUES = 10
"""A numeric column of at most so many values is counted value by value."""
BEYOND_THE_ENDS = 0.001
"""Share of the training rows on each side that no distance is measured to."""

BLOCK_ROWS = 131_072
"""Values that are counted before the next ones are read: what is made of them stays in the cache, and threads
seldom wait for one another.
"""
MANY_ROWS = 100_000
"""From so many on columns are worth threads."""

Cells = NDArray[np.int64]
Column: TypeAlias = NDArray[Any] | pa.Array


@dataclass(frozen=True)
class NumericReference:
    """A numeric column. Its cells: below the range, the bins, above the range, and no value.

    Attributes:
        name: of the column.
        edges: inner edges of the bins, strictly rising, (bins - 1,).
        minimum, maximum: range of the training rows.
        mean: of the training rows' values.
        ends: where the outer bins end for scores that measure distances: as little of the training rows lies
            beyond them as one value far off may move.
        deviation: of the training rows' values within the ends, those beyond put on them (winsorised); that
            of a population.
        counts: training rows by cell, int64 (bins + 3,).
    """

    ordered: ClassVar[bool] = True

    name: str
    edges: NDArray[np.float64]
    minimum: float
    maximum: float
    mean: float
    deviation: float
    ends: tuple[float, float]
    counts: Cells

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.edges) + 4

    def count(self, values: Column) -> Cells:
        """Rows by cell. NaN is no value; infinities are beyond the range."""
        numbers = _numbers(values)
        reached = np.zeros(len(self.bounds), np.int64)
        missing = 0
        space = np.empty(min(BLOCK_ROWS, len(numbers)), np.bool_)
        # To compare a block with every bound takes a fifth of the time of a search for each value.
        for low in range(0, len(numbers), BLOCK_ROWS):
            block = numbers[low : low + BLOCK_ROWS]
            found = space[: len(block)]
            for place, bound in enumerate(self.bounds):
                reached[place] += np.count_nonzero(np.greater_equal(block, bound, out=found))
            missing += int(np.count_nonzero(np.isnan(block, out=found)))
        at_least = np.concatenate([[len(numbers) - missing], reached, [0]])
        return np.append(at_least[:-1] - at_least[1:], missing)

    def places(self, values: Column) -> NDArray[np.intp]:
        """Cell of each row, (rows,)."""
        numbers = _numbers(values)
        places = np.searchsorted(self.bounds, numbers, side="right")
        missing = np.isnan(numbers)
        if missing.any():
            places[missing] = self.cells - 1
        return places

    def distribution(self, counts: Cells) -> Cells:
        """Counts by bin, (..., cells - 2), with those beyond the range in the outer ones, and those without
        value last.
        """
        bins = counts[..., 1:-1].copy()
        bins[..., -1] = counts[..., -1]
        bins[..., 0] += counts[..., 0]
        bins[..., -2] += counts[..., -2]
        return bins

    def unusual(self, counts: Cells) -> int:
        """Rows beyond the range of the training rows."""
        return int(counts[0] + counts[-2])

    def labels(self) -> list[str]:
        """A text for each cell of `distribution`."""
        bounds = [f"{bound:.4g}" for bound in (self.minimum, *self.edges, self.maximum)]
        return [*(f"{low} to {high}" for low, high in pairwise(bounds)), "no value"]

    def cell_labels(self) -> list[str]:
        """A text for each cell."""
        bins = self.labels()
        return [f"below {self.minimum:.4g}", *bins[:-1], f"above {self.maximum:.4g}", bins[-1]]

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """What a value is compared with, never falling, (cells - 2,)."""
        return np.concatenate([[self.minimum], self.edges, [np.nextafter(self.maximum, np.inf)]])

    @property
    def cells_between_bounds(self) -> NDArray[np.intp]:
        """Cell of a value by how many bounds it is not below, (cells - 1,)."""
        return np.arange(self.cells - 1)

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": "numeric",
            "name": self.name,
            "edges": self.edges.tolist(),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean": self.mean,
            "deviation": self.deviation,
            "ends": list(self.ends),
            "counts": self.counts.tolist(),
        }


@dataclass(frozen=True)
class CategoricalReference:
    """A column of categories, booleans among them. Its cells: each category, any other one, and no value.

    Attributes:
        name: of the column.
        categories: all of one type: texts, booleans or numbers; ascending.
        counts: training rows by cell, int64 (categories + 2,).
    """

    ordered: ClassVar[bool] = False

    name: str
    categories: tuple[Any, ...]
    counts: Cells

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.categories) + 2

    def count(self, values: Column) -> Cells:
        """Rows by cell."""
        if self._compares(values):
            return np.bincount(self.places(values), minlength=self.cells)
        given, counts = _arrow(values), np.zeros(self.cells, np.int64)
        for low in range(0, len(given), BLOCK_ROWS):
            counts += np.bincount(self._known_places(given[low : low + BLOCK_ROWS]), minlength=self.cells)
        counts[-2:] += [-given.null_count, given.null_count]
        return counts

    def places(self, values: Column) -> NDArray[np.intp]:
        """Cell of each row, (rows,)."""
        if self._compares(values):
            return self._places_of_numbers(values)
        given = _arrow(values)
        places = self._known_places(given)
        if given.null_count:
            places = np.where(given.is_null().to_numpy(zero_copy_only=False), self.cells - 1, places)
        return places

    @cached_property
    def bounds(self) -> NDArray[np.float64] | None:
        """What a number is compared with, never falling: each category and what comes next; None of texts."""
        if self._numeric is None:
            return None if self.categories else np.empty(0)
        return np.column_stack([self._numeric, np.nextafter(self._numeric, np.inf)]).ravel()

    @property
    def cells_between_bounds(self) -> NDArray[np.intp]:
        """Cell of a number by how many bounds it is not below, (2 categories + 1,)."""
        cells = np.full(2 * len(self.categories) + 1, self.cells - 2)
        cells[1::2] = np.arange(len(self.categories))
        return cells

    def distribution(self, counts: Cells) -> Cells:
        """Counts by cell."""
        return counts

    def unusual(self, counts: Cells) -> int:
        """Rows of categories that have no cell of their own, beyond what training had of them."""
        return int(counts[-2])

    def labels(self) -> list[str]:
        """A text for each cell."""
        return [*map(str, self.categories), "other", "no value"]

    def cell_labels(self) -> list[str]:
        """A text for each cell."""
        return self.labels()

    def _compares(self, values: Column) -> bool:
        """Whether values are compared with the categories as numbers, and not looked up."""
        return self._numeric is not None and not isinstance(values, pa.Array) and values.dtype.kind in "fiub"

    def _known_places(self, given: pa.Array) -> NDArray[np.intp]:
        """Cell of each row; no value counts as another category."""
        found = pc.index_in(_as_type(given, self._known), value_set=self._known)
        places: NDArray[np.intp] = pc.fill_null(found, self.cells - 2).to_numpy(zero_copy_only=False)
        return places

    def _places_of_numbers(self, values: Column) -> NDArray[np.intp]:
        known = self._numeric
        assert known is not None
        numbers = values.astype(np.float64, copy=False)
        places = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        other = known[places] != numbers
        if other.any():
            places[other] = np.where(np.isnan(numbers[other]), self.cells - 1, self.cells - 2)
        return places

    @cached_property
    def _numeric(self) -> NDArray[np.float64] | None:
        if not self.categories or isinstance(self.categories[0], str):
            return None
        return np.asarray(self.categories, dtype=np.float64)

    @cached_property
    def _known(self) -> pa.Array:
        return pa.array(self.categories, pa.string() if self._numeric is None else pa.float64())

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": "categorical",
            "name": self.name,
            "categories": list(self.categories),
            "counts": self.counts.tolist(),
        }


Reference = NumericReference | CategoricalReference
Item = TypeVar("Item")
Result = TypeVar("Result")
AnyReference = TypeVar("AnyReference", NumericReference, CategoricalReference)


def reference_of(name: str, values: Column, *, bins: int = BINS) -> Reference:
    """The reference of a column: categories where it has texts, booleans or few numbers, else bins.

    Args:
        name: of the column.
        values: of the training rows, (rows,); NaN and null are no value.
        bins: of a numeric column, at most.
    """
    if isinstance(values, pa.Array) or values.dtype.kind not in "fiub":
        return _categories(name, values)
    if values.dtype.kind == "b":
        return _counted(CategoricalReference(name, (False, True), np.zeros(4, np.int64)), values)
    numbers = _numbers(values)
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    few = np.unique(finite[:1000])
    if len(few) <= FEW_VALUES and np.isin(finite, few).all():
        whole = bool((few == np.floor(few)).all())
        categories = tuple(int(each) if whole else float(each) for each in few)
        empty = np.zeros(len(categories) + 2, np.int64)
        return _counted(CategoricalReference(name, categories, empty), values)
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, bins + 1)[1:-1]))
    edges = edges[edges > finite.min()]
    low, high = np.quantile(finite, [BEYOND_THE_ENDS, 1 - BEYOND_THE_ENDS])
    reference = NumericReference(
        name=name,
        edges=edges,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        mean=float(finite.mean()),
        deviation=float(np.clip(finite, low, high).std()),
        ends=(float(low), float(high)),
        counts=np.zeros(len(edges) + 4, np.int64),
    )
    return _counted(reference, numbers)


def reference_of_wire(wire: Mapping[str, Any]) -> Reference:
    """What ``to_wire`` of a reference gave.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    counts = np.asarray(wire["counts"], dtype=np.int64)
    reference: Reference
    if wire["kind"] == "categorical":
        reference = CategoricalReference(str(wire["name"]), tuple(wire["categories"]), counts)
    elif wire["kind"] == "numeric":
        low, high = wire.get("ends", (wire["minimum"], wire["maximum"]))
        reference = NumericReference(
            name=str(wire["name"]),
            edges=np.asarray(wire["edges"], dtype=np.float64),
            minimum=float(wire["minimum"]),
            maximum=float(wire["maximum"]),
            mean=float(wire["mean"]),
            deviation=float(wire["deviation"]),
            # Profiles of older trainings have none.
            ends=(float(low), float(high)),
            counts=counts,
        )
        if not (np.diff(reference.edges) > 0).all():
            raise ValueError(f"the edges of {reference.name} do not rise")
    else:
        raise ValueError(f"{wire['kind']!r} is no kind of column")
    if counts.shape != (reference.cells,) or (counts < 0).any():
        raise ValueError(f"{reference.name} has {reference.cells} cells, and {counts.shape} counts")
    return reference


def _categories(name: str, values: Column) -> CategoricalReference:
    given = _arrow(values)
    texts = pc.cast(given, pa.string())
    found = pc.value_counts(texts.drop_null()).to_pylist()
    frequent = sorted(found, key=lambda each: (-each["counts"], each["values"]))[:MAX_CATEGORIES]
    categories = tuple(sorted(each["values"] for each in frequent))
    return _counted(CategoricalReference(name, categories, np.zeros(len(categories) + 2, np.int64)), texts)


def _counted(reference: AnyReference, values: Column) -> AnyReference:
    return replace(reference, counts=reference.count(values))


def _numbers(values: Column) -> NDArray[np.floating[Any]]:
    plain: NDArray[Any] = values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values
    return plain if plain.dtype == np.float32 else plain.astype(np.float64, copy=False)


def _arrow(values: Column) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)


def _as_type(given: pa.Array, known: pa.Array) -> pa.Array:
    return given if given.type == known.type else pc.cast(given, known.type, safe=False)


def of_columns(work: Callable[[Item], Result], items: Sequence[Item], rows: int) -> list[Result]:
    """What is made of each column; on all cores where there are many rows, as numpy and Arrow allow it."""
    if rows < MANY_ROWS:
        return [work(each) for each in items]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))


def columns_of(names: Sequence[str], matrix: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The columns of a matrix, (rows, columns), by name."""
    return dict(zip(names, matrix.T, strict=True))


def matrix_of(names: Sequence[str], columns: Mapping[str, Column]) -> NDArray[np.floating[Any]]:
    """Numeric columns side by side, (rows, names); NaN is no value."""
    return np.column_stack([_numbers(columns[name]) for name in names])
