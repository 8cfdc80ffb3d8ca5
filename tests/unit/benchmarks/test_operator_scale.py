"""The benchmark's arithmetic: whose writes are counted, and when a figure misses its limit."""

from collections import Counter

import pytest

from benchmarks.operator_scale.__main__ import Limit, compared, limits_of
from benchmarks.operator_scale.experiments import Trained
from benchmarks.operator_scale.load import plain_job, training_job
from benchmarks.operator_scale.usage import operator_writes, writes_in
from mlinfra.resources import TrainingJob

SAMPLES = [
    ("201", "batch", "jobs", "", "POST", 7),
    ("200", "batch", "jobs", "status", "PUT", 9),
    ("409", "batch", "jobs", "", "POST", 2),
    ("200", "mlinfra.io", "trainingjobs", "status", "PATCH", 21),
    ("200", "mlinfra.io", "trainingjobs", "", "GET", 5),
    ("201", "mlinfra.io", "trainingjobs", "", "POST", 7),
    ("200", "coordination.k8s.io", "leases", "", "PUT", 50),
]
EXPOSITION = "# TYPE apiserver_request_total counter\n" + "".join(
    f'apiserver_request_total{{code="{code}",group="{group}",resource="{resource}",'
    f'subresource="{subresource}",verb="{verb}"}} {count}\n'
    for code, group, resource, subresource, verb, count in SAMPLES
)


def test_successful_writes_are_read_from_the_api_servers_own_metrics() -> None:
    found = writes_in(EXPOSITION)
    assert found["POST", "batch", "jobs"] == 7
    assert found["PATCH", "mlinfra.io", "trainingjobs/status"] == 21
    assert not any(verb == "GET" for verb, _, _ in found)


def test_the_operators_writes_are_statuses_and_jobs_without_what_the_benchmark_created() -> None:
    assert operator_writes(Counter(), writes_in(EXPOSITION), created=7) == 21 + 7
    found = writes_in(EXPOSITION)
    assert operator_writes(found, found, created=0) == 0


@pytest.mark.parametrize(("value", "holds"), [(4.0, True), (4.1, False)])
def test_a_limit_holds_up_to_its_value(value: float, holds: bool) -> None:
    assert Limit("w", "f", value, "", 4.0).holds is holds
    assert Limit("w", "f", value, "").holds


def test_median_and_tail_are_compared_each() -> None:
    floor = (1.0,) * 98 + (2.0, 2.0)
    at_median, at_tail = compared("w", (1.1,) * 98 + (9.0, 9.0), "floor", floor)
    assert at_median.holds
    assert not at_tail.holds
    assert at_tail.ratio == 4.5


def test_the_cpu_of_mlflows_own_client_counts_into_the_floor() -> None:
    trained = Trained((1.0,), cpu_milliseconds=25.0, writes=4.0, peak_mib=1.0)
    assert not all(limit.holds for limit in limits_of("w", trained))
    assert all(limit.holds for limit in limits_of("w", trained, client_milliseconds=18.0))


def test_a_plain_job_is_the_training_jobs_own_and_nobodys() -> None:
    job, training = plain_job("a", "n"), training_job("a")
    assert job["metadata"] == {"name": training["metadata"]["name"]}
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == training["spec"]["image"]
    assert TrainingJob.model_validate(training).spec.backoff_limit == job["spec"]["backoffLimit"]
