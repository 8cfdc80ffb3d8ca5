"""Labels and annotations of a policy's TrainingJobs: what the API server refuses there is refused here."""

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integration.resources.conftest import ApiServer, Manifest
from pydantic import ValidationError

from mlinfra.resources import RetrainingPolicy

OWN_CODE = {"modelName": "m", "image": "i"}
NAMES = [
    "a", "A-1_b.c", "team.example.com/owner", "a" * 63, f"{'a' * 63}.{'b' * 63}/c", f"{'a.' * 126}a/b",
    "", "my team", "-a", "a-", "a" * 64, "/a", "a/b/c", "Team/owner", "team_a/owner", "team./owner", "é",
    "a\n", f"{'a.' * 127}a/b",
]  # fmt: skip
VALUES = ["", "a", "A-1_b.c", "a" * 63, "a" * 64, "a b", "-a", "a.", "a/b", "é", "a\n"]
CHARACTERS = st.sampled_from("aZ9-_./ é")
TEXTS = st.text(CHARACTERS, max_size=6)


def training_job(**metadata: Any) -> Manifest:
    kind = {"apiVersion": "mlinfra.io/v1alpha1", "kind": "TrainingJob"}
    return kind | {"metadata": {"name": "labelled"} | metadata, "spec": OWN_CODE}


def policy(**metadata: Any) -> Manifest:
    template = {"metadata": metadata, "spec": OWN_CODE}
    kind = {"apiVersion": "mlinfra.io/v1alpha1", "kind": "RetrainingPolicy"}
    return kind | {
        "metadata": {"name": "labels"},
        "spec": {"modelName": "m", "trainingJobTemplate": template},
    }


def all_agree(api: ApiServer, **metadata: Any) -> bool:
    """Whether the API server takes it of a TrainingJob; it says the same of the policy, as do the models."""
    taken = api.refusal(training_job(**metadata)) is None
    refusal = api.refusal(policy(**metadata))
    assert (refusal is None) == taken, refusal
    with nullcontext() if taken else pytest.raises(ValidationError):
        RetrainingPolicy.model_validate(policy(**metadata))
    return taken


@pytest.mark.parametrize("name", NAMES)
def test_names(api: ApiServer, name: str) -> None:
    expected = NAMES.index(name) < NAMES.index("")
    assert all_agree(api, labels={name: "v"}) == expected
    assert all_agree(api, annotations={name: "any thing"}) == (expected or name == "Team/owner")


def test_a_letter_that_only_unicode_lowers_to_ascii(api: ApiServer) -> None:
    """Of annotations the API server lowers the Kelvin sign to a k; CEL cannot, so policies refuse it."""
    kelvin = {"\u212aelvin": "v"}
    assert not all_agree(api, labels=kelvin)
    assert api.refusal(training_job(annotations=kelvin)) is None
    assert api.refusal(policy(annotations=kelvin)) is not None
    with pytest.raises(ValidationError):
        RetrainingPolicy.model_validate(policy(annotations=kelvin))


@pytest.mark.parametrize("value", VALUES)
def test_values(api: ApiServer, value: str) -> None:
    assert all_agree(api, labels={"a": value}) == (VALUES.index(value) < 4)


@settings(max_examples=100)
@given(TEXTS, TEXTS)
def test_any_label(api: ApiServer, name: str, value: str) -> None:
    all_agree(api, labels={name: value})


def test_the_refusal_says_what_is_wrong(api: ApiServer) -> None:
    refusal = api.refusal(policy(labels={"my team": "a"}))
    assert refusal is not None
    assert "trainingJobTemplate.metadata.labels" in refusal
    assert "team.example.com/owner" in refusal
