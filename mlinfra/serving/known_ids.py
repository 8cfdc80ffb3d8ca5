"""Which IDs clients gave to what: the same request again is no new one, and no other goes under its ID."""

import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from mlinfra.serving.observations import prediction_ids
from mlinfra.serving.tensors import Array, bytes_of_array

KNOWN_AT_ONCE = 1000


class KnownIds:
    """The IDs of the newest predictions, and a checksum of what each was asked with; of several threads.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._checksums: OrderedDict[str, int | None] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, id: str, rows: int, checksum: int) -> tuple[str, bool]:
        """The ID of a request's predictions, and whether they were made before.

        Where the ID is of other predictions, these get one of their own: the same whenever this is asked.

        Args:
            id: what the client calls the request.
            rows: how many predictions it has.
            checksum: of what is asked.
        """
        with self._lock:
            own = prediction_ids(id, rows)
            while any(self._checksums.get(one, checksum) not in (checksum, None) for one in own):
                id = f"{id}~{checksum:08x}"
                own = prediction_ids(id, rows)
            if any(one in self._checksums for one in own):
                return id, True
            self._add((one, checksum) for one in own)
            return id, False

    def give_back(self, id: str, rows: int) -> None:
        """Forget predictions that count nowhere."""
        with self._lock:
            for one in prediction_ids(id, rows):
                self._checksums.pop(one, None)

    def know(self, predictions: Iterable[tuple[str, int | None]]) -> None:
        """Remember predictions of before, each with its checksum where that is known."""
        left = iter(predictions)
        # Requests take their IDs meanwhile.
        while some := list(islice(left, KNOWN_AT_ONCE)):
            with self._lock:
                self._add((one, checksum) for one, checksum in some if one not in self._checksums)

    def _add(self, predictions: Iterable[tuple[str, int | None]]) -> None:
        self._checksums.update(predictions)
        while len(self._checksums) > self._most:
            self._checksums.popitem(last=False)


def checksum_of(tensors: Mapping[str, Array], *more: Any) -> int:
    """Checksum of what is asked: tensors by name, in any order, and values that tell themselves by `repr`."""
    ordered: Sequence[tuple[str, Array]] = sorted(tensors.items())
    described = [(name, array.dtype.str, array.shape) for name, array in ordered]
    found = zlib.crc32(repr((described, more)).encode())
    for _, array in ordered:
        content = bytes_of_array(array) if array.dtype.kind == "O" else np.ascontiguousarray(array).data
        found = zlib.crc32(content, found)
    return found
