"""What a training pod is told, and what its end tells."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlinfra.resources.names import TERMINATION_LOG_ENV, TRAINING_JOB_ENV
from mlinfra.training.errors import UnknownFeatureError
from mlinfra.training.pod import (
    MAX_TERMINATION_BYTES,
    InvalidSpecError,
    Terminated,
    end_of,
    read_job,
    refusal,
    write_termination_message,
)

JOB: dict[str, Any] = {
    "metadata": {"name": "sp500", "namespace": "research", "uid": "u-1"},
    "spec": {
        "modelName": "sp500",
        "model": {"architecture": "hybrid_cnn_lstm"},
        "data": {"featureGroup": "sp500_daily", "label": "turbulent"},
    },
}


def test_job_is_read_from_the_environment() -> None:
    job = read_job({TRAINING_JOB_ENV: json.dumps(JOB)})
    assert (job.metadata.namespace, job.metadata.name) == ("research", "sp500")
    assert job.spec.data is not None
    assert job.spec.data.feature_group == "sp500_daily"


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({}, "MLINFRA_TRAINING_JOB is not set"),
        ({TRAINING_JOB_ENV: "{"}, "is not a TrainingJob that this trainer understands"),
        (
            {TRAINING_JOB_ENV: json.dumps(JOB | {"spec": JOB["spec"] | {"newField": 1}})},
            "spec.newField: Extra inputs are not permitted",
        ),
    ],
)
def test_unreadable_job_is_refused(environ: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidSpecError, match=text):
        read_job(environ)


def test_bad_input_ends_with_78_and_json() -> None:
    end = end_of(UnknownFeatureError('no feature "x"'))
    assert end.exit_code == 78
    assert json.loads(end.message) == {"reason": "UnknownFeature", "message": 'no feature "x"'}


def test_signal_ends_with_143() -> None:
    assert end_of(Terminated()).exit_code == 143


def test_other_errors_end_with_1_and_the_error() -> None:
    end = end_of(MemoryError("too large"))
    assert (end.exit_code, end.message) == (1, "MemoryError: too large")


@example("\x00" * 5000, 0)
@given(st.text(max_size=6000), st.integers(0, 6000))
def test_termination_message_is_json_that_the_kubelet_keeps_whole(text: str, padding: int) -> None:
    message = text + '"' * padding
    told = refusal("InvalidRows", message)
    assert len(told.encode()) <= MAX_TERMINATION_BYTES
    kept = json.loads(told)["message"]
    assert message.startswith(kept)
    assert kept == message or len(told.encode()) > MAX_TERMINATION_BYTES - 6


def test_termination_message_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    write_termination_message({TERMINATION_LOG_ENV: str(path)}, "what happened")
    assert path.read_text() == "what happened"


def test_unwritable_termination_log_does_not_hide_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_termination_message({TERMINATION_LOG_ENV: str(tmp_path / "no" / "folder")}, "x")
    assert "cannot write the termination message" in capsys.readouterr().err
