"""Numeric libraries start as many threads as the container may use cores."""

import pytest

from mlinfra.training.threads import THREADS_ENV, limit_threads, thread_count


@pytest.mark.parametrize(
    ("cores", "cpu_max", "threads"),
    [
        (4, "", 4),
        (4, "max 100000\n", 4),
        (64, "200000 100000", 2),
        (64, "150000 100000", 2),
        (64, "10000 100000", 1),
        (2, "800000 100000", 2),
        (64, "max 100000", 16),
    ],
)
def test_threads_follow_cores_and_quota(cores: int, cpu_max: str, threads: int) -> None:
    assert thread_count(cores, cpu_max) == threads


def test_the_users_own_number_stays() -> None:
    environ = {THREADS_ENV: "3"}
    limit_threads(environ)
    assert environ == {THREADS_ENV: "3"}
