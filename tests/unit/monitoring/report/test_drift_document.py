"""The document of a drift report says what the counts say; its page shows it, every text escaped."""

import json
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.chunks import CountedWindow
from mlinfra.monitoring.profile import HeldOut, ReferenceProfile, build_profile
from mlinfra.monitoring.report.document import MAX_WINDOWS, DriftDocument, Subject, drift_document
from mlinfra.monitoring.report.page import document_html, page_of, verdict_on
from mlinfra.monitoring.report.plots import short
from mlinfra.monitoring.scores import drift_score
from mlinfra.resources.monitoring import DriftPolicy

START = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = "</td><script>alert(1)</script>\"'&<img src=http://x.example/y> $x_{ {{ 7*7 }} \x00"
ROWS = 400


def columns_at(generator: np.random.Generator, shift: float, rows: int, odd: str) -> dict[str, object]:
    return {
        "price": generator.normal(shift, size=rows),
        odd: generator.normal(size=rows),
        "kind": pa.array(np.array(["a", "b", odd])[generator.integers(0, 3, rows)]),
    }


def profile_of(odd: str = "other") -> ReferenceProfile:
    training = columns_at(np.random.default_rng(1), 0.0, 4000, odd)
    outputs = np.tile([0.3, 0.7], (4000, 1))
    # Categories have no place in the matrix of a regressor, so the model tells classes apart.
    return build_profile(training, HeldOut(training, outputs, np.arange(4000) % 2), classes=("down", odd))


def windows_of(
    profile: ReferenceProfile, shifts: list[float], *, odd: str = "other", answered: bool = True
) -> list[CountedWindow]:
    generator, windows = np.random.default_rng(2), []
    for number, shift in enumerate(shifts):
        columns = columns_at(generator, shift, ROWS, odd)
        counts = (
            profile.count(columns, np.tile([0.6, 0.4], (ROWS, 1)))
            if answered
            else profile.count_features(columns)
        )
        first = START + timedelta(days=number)
        windows.append(CountedWindow(first, first + timedelta(hours=23), counts))
    return windows


def document_of(shifts: list[float], *, odd: str = "other", answered: bool = True) -> DriftDocument:
    profile = profile_of(odd)
    return drift_document(
        Subject(f"model {odd}", "7", f"group {odd}", (f"note {odd}",)),
        profile,
        windows_of(profile, shifts, odd=odd, answered=answered),
        DriftPolicy(),
    )


def test_the_feature_that_moved_ranks_first_and_its_windows_tell_when() -> None:
    document = document_of([0, 0, 2, 2])
    assert [each.drift.name for each in document.drifted] == ["price"]
    assert document.features[0].drift.name == "price"
    assert [each.drifted for each in document.features[0].over_time if each] == [False, False, True, True]
    assert verdict_on(document) == ("1 of 3 features drifted over all rows: price; 2 of 4 windows drifted.")


def test_scores_and_shares_are_those_of_all_rows() -> None:
    profile = profile_of()
    windows = windows_of(profile, [0, 1])
    document = drift_document(Subject("", "", "rows"), profile, windows, DriftPolicy())
    price, cells = (
        profile.features[0],
        windows[0].counts.features["price"] + windows[1].counts.features["price"],
    )
    found = next(each for each in document.features if each.drift.name == "price")
    assert found.drift.score == pytest.approx(float(drift_score(price, price.distribution(cells), "PSI")))
    assert sum(found.now) == 2 * ROWS
    assert sum(found.shares()[0]) == pytest.approx(1)
    assert found.cells[0].startswith("-") or found.cells[0].startswith("below")


def test_predictions_have_the_names_of_classes() -> None:
    prediction = document_of([0]).prediction
    assert prediction is not None
    assert prediction.cells == ("down", "other")
    assert prediction.now == (ROWS, 0)
    assert prediction.reference == (0, 4000)


def test_without_answers_there_is_no_prediction() -> None:
    document = document_of([0, 0], answered=False)
    assert document.prediction is None
    assert document.to_wire()["prediction"] is None
    assert "<h2>Prediction</h2>" not in document_html(document)


def test_the_document_is_json() -> None:
    wire = document_of([0, 2]).to_wire()
    assert json.loads(json.dumps(wire, allow_nan=False)) == wire
    assert (wire["schemaVersion"], wire["rows"], wire["driftedFeatures"]) == (1, 2 * ROWS, ["price"])


def test_too_few_rows_tell_nothing() -> None:
    profile = profile_of()
    windows = windows_of(profile, [3])
    document = drift_document(Subject("", "", "rows"), profile, windows, DriftPolicy(min_samples=ROWS + 1))
    assert not document.drifted
    assert "too few to tell" in verdict_on(document)
    assert not page_of(document).good


def test_windows_and_features_of_the_policy_are_checked() -> None:
    profile = profile_of()
    one = windows_of(profile, [0])
    for windows in ([], one * (MAX_WINDOWS + 1)):
        with pytest.raises(InvalidInputError, match="1 to 100 windows"):
            drift_document(Subject("", "", ""), profile, windows, DriftPolicy())
    with pytest.raises(InvalidInputError, match='no feature "prise"; did you mean price'):
        drift_document(Subject("", "", ""), profile, one, DriftPolicy(features=["prise"]))


def test_the_page_needs_nothing_else_and_reads_without_pictures() -> None:
    page = document_html(document_of([0, 2]))
    assert "<script" not in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == len(re.findall("(?:src|href)=", page)) == 5
    assert all(each.startswith("data:image/svg+xml;base64,") for each in sources)
    assert "default-src 'none'" in page
    alternatives = re.findall(r'alt="([^"]*)"', page)
    assert len(alternatives) == page.count("<img ") == 5
    assert any("price" in each and "drifted" in each for each in alternatives)
    assert "<td>price</td>" in page


def test_hostile_names_stay_text() -> None:
    page = document_html(document_of([0, 0], odd=HOSTILE))
    assert "<script" not in page
    assert "x.example/y>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7*7 }}" in page


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_short_names_fit_and_can_be_drawn(name: str) -> None:
    shown = short(name)
    assert len(shown.replace(r"\$", "$")) <= 32
    assert shown.isprintable()
