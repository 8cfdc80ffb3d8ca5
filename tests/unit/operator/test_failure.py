"""Why a training failed, as a person reads it."""

import pytest
from unit.operator.objects import child

from mlinfra_operator.trainingjob.failure import Failure, failure_of
from mlinfra_operator.trainingjob.observed import ChildJob, PodFacts, Termination

BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")


def ended(reason: str = "Error", exit_code: int = 1, message: str = "", at: str = "1") -> PodFacts:
    return PodFacts(f"job-{at}", "Failed", at, termination=Termination(reason, exit_code, message, at))


@pytest.mark.parametrize(
    ("job", "pods", "failure"),
    [
        (child(failed=1, failure=BACKOFF), [], Failure(*BACKOFF)),
        (
            child(failed=1, failure=("BackoffLimitExceeded", "")),
            [],
            Failure("BackoffLimitExceeded", "the Job failed; its pods are gone"),
        ),
        (
            child(failed=1, failure=BACKOFF),
            [ended(message="ValueError: boom\n")],
            Failure("BackoffLimitExceeded", "the only attempt failed with exit code 1: ValueError: boom"),
        ),
        (
            child(failed=3, failure=BACKOFF),
            [ended(message="first", at="1"), ended(message="last", at="3"), ended(message="2nd", at="2")],
            Failure("BackoffLimitExceeded", "3 attempts failed; the last with exit code 1: last"),
        ),
        (
            child(failed=1, failure=BACKOFF),
            [ended("OOMKilled", 137)],
            Failure("OOMKilled", "exit code 137"),
        ),
        (
            child(failed=1, failure=BACKOFF),
            [ended("no camel case", 1)],
            Failure("BackoffLimitExceeded", "the only attempt failed with exit code 1"),
        ),
        (
            child(failed=1, failure=("PodFailurePolicy", "")),
            [ended(exit_code=78, message='{"reason": "EmptyDateRange", "message": "no rows in 2030"}')],
            Failure("EmptyDateRange", "no rows in 2030"),
        ),
        (
            child(failed=1, failure=("PodFailurePolicy", "")),
            [ended(exit_code=78, message="bad config")],
            Failure("InvalidInput", "the training refused its input with exit code 78: bad config"),
        ),
        (
            child(failed=0, failure=("DeadlineExceeded", "Job was active longer than specified deadline")),
            [ended(exit_code=143)],
            Failure(
                "DeadlineExceeded",
                "the training was stopped at its deadline (activeDeadlineSeconds); "
                "Job was active longer than specified deadline",
            ),
        ),
        (
            child(failed=1, failure=BACKOFF),
            [
                ended(
                    message="Traceback (most recent call last):\nmlflow.exceptions.MlflowException: Cannot "
                    "start run with ID 7f because active experiment ID does not match environment run ID."
                )
            ],
            Failure(
                "ForeignExperiment",
                "the script chose an MLflow experiment other than its TrainingJob's, which is in "
                "MLFLOW_EXPERIMENT_NAME: take mlflow.set_experiment out, or make it spec.modelName",
            ),
        ),
        # A pod that ended well, or still runs, has nothing to say about the failure.
        (
            child(failed=1, failure=BACKOFF),
            [ended("Completed", 0, at="9"), PodFacts("job-y", "Running", "9"), ended(message="boom")],
            Failure("BackoffLimitExceeded", "the only attempt failed with exit code 1: boom"),
        ),
    ],
)
def test_the_last_failed_pod_tells_why_else_the_job(
    job: ChildJob, pods: list[PodFacts], failure: Failure
) -> None:
    assert failure_of(job, pods) == failure


@pytest.mark.parametrize(
    "message",
    [
        "[]",
        '"text"',
        '{"reason": "Some reason", "message": "x"}',
        '{"reason": 1, "message": "x"}',
        '{"reason": "X"}',
        '{"reason": "' + "X" * 200 + '", "message": "x"}',
        '{"reason": "X", "message": ',
    ],
)
def test_a_message_that_breaks_the_contract_is_shown_as_text(message: str) -> None:
    failure = failure_of(child(failed=1, failure=BACKOFF), [ended(message=message)])
    assert failure.reason == "BackoffLimitExceeded"
    assert message.strip() in failure.message


def test_a_job_that_has_not_failed_has_no_failure() -> None:
    with pytest.raises(ValueError, match="has not failed"):
        failure_of(child(), [])
