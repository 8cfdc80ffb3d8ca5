"""Which IDs are taken: the same request has the same ID again, and no two requests share one."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.serving.known_ids import KnownIds, checksum_of
from mlinfra.serving.observations import prediction_ids

REQUESTS = st.tuples(st.sampled_from(["a", "a:0", "a:1", "b"]), st.integers(1, 3), st.integers(0, 2))
"""ID, rows and what is asked; another number of rows is another thing asked."""


def checksum(rows: int, asked: int) -> int:
    return 10 * rows + asked


@given(st.lists(REQUESTS, max_size=20))
def test_the_same_request_has_the_same_id_and_no_other_one_has_it(
    requests: list[tuple[str, int, int]],
) -> None:
    known = KnownIds(1000)
    owner: dict[str, tuple[str, int, int]] = {}
    named: dict[tuple[str, int, int], str] = {}
    for request in requests:
        id, rows, asked = request
        name, repeated = known.take(id, rows, checksum(rows, asked))
        if not repeated:
            assert all(one not in owner for one in prediction_ids(name, rows))
            owner.update(dict.fromkeys(prediction_ids(name, rows), request))
        if request in named:
            assert (name, repeated) == (named[request], True)
        named[request] = name
        assert name == id or name.startswith(f"{id}~")


@given(st.lists(REQUESTS, max_size=20), st.randoms(use_true_random=False))
def test_who_reads_what_was_taken_names_the_same(
    requests: list[tuple[str, int, int]], random: object
) -> None:
    known, after = KnownIds(1000), KnownIds(1000)
    named = {}
    for id, rows, asked in requests:
        name, _ = known.take(id, rows, checksum(rows, asked))
        named[id, rows, asked] = name
        after.know((one, checksum(rows, asked)) for one in prediction_ids(name, rows))
    again = list(named)
    random.shuffle(again)  # type: ignore[attr-defined]
    for id, rows, asked in again:
        assert after.take(id, rows, checksum(rows, asked)) == (named[id, rows, asked], True)


def test_the_newest_are_remembered() -> None:
    known = KnownIds(3)
    for number in range(5):
        known.take(f"r{number}", 1, 7)
    assert [known.take(f"r{number}", 1, 7)[1] for number in (4, 3, 2)] == [True] * 3
    assert known.take("r1", 1, 8) == ("r1", False)


def test_ids_are_taken_while_many_are_read() -> None:
    known = KnownIds(10_000)
    taken: list[bool] = []

    def read() -> Iterator[tuple[str, int]]:
        for number in range(2500):
            yield f"r{number}", 7
            if number == 2000:
                taken.extend(known.take(f"r{each}", 1, 7)[1] for each in (1999, 2000))

    known.know(read())
    assert taken == [True, False]
    assert known.take("r2499", 1, 7) == ("r2499", True)


def test_what_is_given_back_is_free() -> None:
    known = KnownIds(10)
    known.take("a", 2, 1)
    known.give_back("a", 2)
    assert known.take("a", 2, 2) == ("a", False)


def test_of_a_log_that_tells_no_checksum_the_id_alone_counts() -> None:
    known = KnownIds(10)
    known.know([("a", None)])
    assert known.take("a", 1, 5) == ("a", True)


@pytest.mark.parametrize(
    "other",
    [
        checksum_of({"x": np.zeros((1, 2), np.float32), "y": np.array(["b"], object)}, None),
        checksum_of({"x": np.zeros((2, 1), np.float32), "y": np.array(["a"], object)}, None),
        checksum_of({"x": np.zeros((1, 2), np.float64), "y": np.array(["a"], object)}, None),
        checksum_of({"x": np.ones((1, 2), np.float32), "y": np.array(["a"], object)}, None),
        checksum_of(
            {"x": np.zeros((1, 2), np.float32), "y": np.array(["a"], object)},
            datetime(2026, 1, 5, tzinfo=UTC),
        ),
    ],
)
def test_whatever_differs_has_another_checksum(other: int) -> None:
    tensors = {"y": np.array(["a"], object), "x": np.zeros((4, 2), np.float32)[::4]}
    assert checksum_of(tensors, None) == checksum_of(dict(reversed(tensors.items())), None)
    assert checksum_of(tensors, None) != other
