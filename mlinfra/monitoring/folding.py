"""Counts of replicas that are gone, put together as if one replica had counted them. Pure."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from mlinfra.monitoring.chunks import Chunk, Kept
from mlinfra.monitoring.coarsening import coarsened, following
from mlinfra.monitoring.counts import Counts

PLACES_KEPT = 2000
"""Replicas that are gone altogether, the newest: of pods of a Deployment none comes back."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far the counts of a replica are folded.

    Attributes:
        generation: of its newest file that is: a replica that comes back, or never was gone, begins another
            one, and what it wrote to this one and those before does not count any more.
        position: how far it had come then, as of `Kept`: it goes on from there.
    """

    generation: int
    position: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Folded:
    """What replicas counted that are gone.

    Attributes:
        kept: their counts together.
        places: of each of them, by its name; the one that was folded last is the last.
    """

    kept: Kept = field(default_factory=Kept)
    places: Mapping[str, Place] = field(default_factory=dict)

    def holds(self, replica: str, generation: int) -> bool:
        """Whether the counts of a file are here."""
        place = self.places.get(replica)
        return place is not None and generation <= place.generation

    def following(self, replica: str) -> int:
        """The generation of a replica that counts beside what is here."""
        place = self.places.get(replica)
        return 0 if place is None else place.generation + 1

    def with_files(
        self, files: Mapping[tuple[str, int], Kept], most: int, *, there: Set[str] = frozenset()
    ) -> "Folded":
        """What is here, and the counts of files.

        Args:
            files: by replica and generation, none of which is held.
            most: chunks that are kept.
            there: replicas that have a file, or are about to; their places stay.
        """
        places = dict(self.places)
        for (replica, generation), kept in files.items():
            places.pop(replica, None)
            places[replica] = Place(generation, kept.position)
        gone = [name for name in places if name not in there]
        for name in gone[: max(len(places) - PLACES_KEPT, 0)]:
            del places[name]
        return Folded(together([self.kept, *files.values()], most), places)


def together(parts: Sequence[Kept], most: int) -> Kept:
    """Counts of several replicas as those of one.

    Windows are what they were, but that chunks are merged where there are too many. Where a replica has
    forgotten rows no window before was whole, and what others have of that time is forgotten as well.

    Args:
        parts: what each counted.
        most: chunks that are kept, and chunks of labels alone.
    """
    counted = [each.chunks for each in parts if each.chunks]
    forgetful = [chunks[0] for chunks in counted if chunks[0].start > 0]
    since = max((each.first for each in forgetful), default=-math.inf)
    every = sorted((one for chunks in counted for one in chunks), key=lambda one: one.first)
    whole = [one for one in every if one.first >= since]
    forgotten = sum(each.start for each in forgetful) + _rows(every) - _rows(whole)
    labels: dict[tuple[int, int], Counts] = {}
    for one in (one for each in parts for one in each.late if one.first >= since):
        borders = (one.first, one.last)
        labels[borders] = labels[borders] + one.counts if borders in labels else one.counts
    for place, one in enumerate(whole):
        if (more := labels.pop((one.first, one.last), None)) is not None:
            whole[place] = replace(one, counts=one.counts + more)
    late = [Chunk(first, last, 0, counts) for (first, last), counts in sorted(labels.items(), key=_borders)]
    return Kept(coarsened(tuple(following(forgotten, whole)), most), coarsened(late, most))


def _rows(chunks: Sequence[Chunk]) -> int:
    return sum(each.counts.rows for each in chunks)


def _borders(item: tuple[tuple[int, int], Counts]) -> tuple[int, int]:
    return item[0]
