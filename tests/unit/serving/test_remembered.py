"""Predictions that a server remembers: the newest so many, each found by its ID, in bounded memory."""

import tracemalloc
from collections import OrderedDict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.serving.remembered import BLOCKS, Remembered, RememberedPredictions, entity_key

SECOND = 1_000_000_000


def prediction(number: int, *, entity: str | None = None) -> Remembered:
    outputs = np.array([number, -number][: 1 + number % 2], np.float32)
    return Remembered(number * SECOND, str(number % 3), outputs, entity)


@given(
    most=st.integers(1, 70),
    numbers=st.lists(st.integers(0, 60), max_size=150),
    labelled=st.lists(st.integers(0, 60), max_size=30),
)
def test_the_newest_so_many_are_remembered_as_they_were(
    most: int, numbers: list[int], labelled: list[int]
) -> None:
    remembered, model = RememberedPredictions(most), OrderedDict[str, int]()
    labels: dict[str, int] = {}
    for place, number in enumerate(numbers):
        one = f"p{number}"
        assert remembered.add(one, prediction(place, entity=f"e{number % 4}")) == (one not in model)
        if one not in model:
            model[one] = place
            labels.pop(one, None)
        if len(model) > most:
            model.popitem(last=False)
        if place < len(labelled):
            told = f"p{labelled[place]}"
            remembered.label(told, place)
            if told in model:
                labels[told] = place
        assert remembered.held <= most + max(most // BLOCKS, 1)
    assert len(remembered) == len(model)
    for number in range(61):
        one = f"p{number}"
        found = remembered.get(one)
        assert (found is not None) == (one in remembered) == (one in model)
        if found is not None:
            place = model[one]
            wanted = prediction(place)
            assert (found.event_time, found.version) == (wanted.event_time, wanted.version)
            assert found.outputs.tolist() == wanted.outputs.tolist()
            assert found.label == labels.get(one)
            key = entity_key(f"e{number % 4}", place * SECOND)
            assert list(remembered.of_entity(key)) == [one]


def test_predictions_of_one_entity_and_time_are_found_together_while_they_are_remembered() -> None:
    remembered = RememberedPredictions(2)
    for one in ("a", "b", "c"):
        remembered.add(one, Remembered(SECOND, "1", np.zeros(1, np.float32), "e"))
    assert list(remembered.of_entity(entity_key("e", SECOND + 999))) == ["b", "c"]
    assert list(remembered.of_entity(entity_key("e", SECOND + 1000))) == []
    # Remembered anew, with another time: what it was before is forgotten.
    remembered.add("a", Remembered(2 * SECOND, "1", np.zeros(1, np.float32), "e"))
    assert list(remembered.of_entity(entity_key("e", SECOND))) == ["c"]
    assert list(remembered.of_entity(entity_key("e", 2 * SECOND))) == ["a"]


def test_memory_stays_what_it_is_once_as_many_are_remembered() -> None:
    most, outputs = 4_000, np.zeros(2, np.float32)
    remembered, full = RememberedPredictions(most), 2 * most
    tracemalloc.start()
    try:
        peaks = []
        for numbers in (range(full), range(full, 10 * most)):
            tracemalloc.reset_peak()
            for number in numbers:
                remembered.add(f"{number:032x}", Remembered(number, "1", outputs))
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[1] <= 1.01 * peaks[0]
    # The ID takes half of it.
    assert peaks[1] < 200 * most
