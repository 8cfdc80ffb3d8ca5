"""The background writer loses nothing, batches, and tells when it cannot write."""

import threading

import pytest

from mlinfra.tracking.batches import MAX_METRICS_IN_BATCH, Batch, MetricPoint
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra.tracking.writer import BackgroundWriter, Pace

FAST = Pace(interval=0.0, first_delay=0.001, max_delay=0.002)
PATIENCE = 10.0


def points(count: int, start: int = 0) -> list[MetricPoint]:
    return [MetricPoint("loss", float(step), 1000 + step, step) for step in range(start, start + count)]


class Server:
    """Takes batches; fails the first ``failures`` requests, and answers only while its gate is open."""

    def __init__(self, *, failures: int = 0, error: Exception | None = None) -> None:
        self.batches: list[Batch] = []
        self.requests = 0
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._failures = failures
        self._error = error or TrackingUnavailableError("away")

    def __call__(self, batch: Batch) -> None:
        self.asked.set()
        assert self.gate.wait(PATIENCE)
        self.requests += 1
        if self.requests <= self._failures:
            raise self._error
        self.batches.append(batch)

    def steps(self) -> list[int]:
        return [point.step for batch in self.batches for point in batch.metrics]


def test_flush_returns_when_everything_is_written_in_order() -> None:
    server = Server()
    writer = BackgroundWriter(server, pace=FAST)
    for start in range(0, 50, 5):
        writer.put(points(5, start))
    writer.flush(PATIENCE)
    assert server.steps() == list(range(50))
    writer.close(PATIENCE)


def test_what_arrives_during_a_request_goes_with_the_next_in_one_batch() -> None:
    server = Server()
    server.gate.clear()
    writer = BackgroundWriter(server, pace=FAST)
    writer.put(points(1))
    assert server.asked.wait(PATIENCE)
    for step in range(1, 30):
        writer.put(points(1, step), {"progress": str(step)})
    server.gate.set()
    writer.close(PATIENCE)
    assert [len(batch.metrics) for batch in server.batches] == [1, 29]
    assert server.batches[1].tags == {"progress": "29"}


def test_batches_stay_within_the_servers_limit_and_tags_come_last() -> None:
    server = Server()
    writer = BackgroundWriter(server, pace=FAST)
    writer.put(points(2 * MAX_METRICS_IN_BATCH + 1), {"progress": "done"})
    writer.close(PATIENCE)
    assert all(len(batch.metrics) <= MAX_METRICS_IN_BATCH for batch in server.batches)
    assert server.steps() == list(range(2 * MAX_METRICS_IN_BATCH + 1))
    assert [bool(batch.tags) for batch in server.batches] == [False] * (len(server.batches) - 1) + [True]


def test_a_server_that_comes_back_gets_everything_once() -> None:
    server = Server(failures=5)
    writer = BackgroundWriter(server, pace=FAST)
    writer.put(points(3))
    writer.put(points(3, 3))
    writer.close(PATIENCE)
    assert server.steps() == list(range(6))


def test_put_does_not_wait_for_the_server() -> None:
    server = Server()
    server.gate.clear()
    writer = BackgroundWriter(server, pace=FAST)
    for step in range(100):
        writer.put(points(1, step))
    assert server.batches == []
    server.gate.set()
    writer.close(PATIENCE)


def test_a_server_that_stays_away_is_told_of_at_the_end() -> None:
    writer = BackgroundWriter(Server(failures=10**9), pace=FAST)
    writer.put(points(3))
    with pytest.raises(TrackingUnavailableError, match=r"could not be written within 0\.05 s: away"):
        writer.close(0.05)


def test_a_refusal_is_raised_by_the_next_calls() -> None:
    server = Server(failures=1, error=TrackingRefusedError("no such run"))
    writer = BackgroundWriter(server, pace=FAST)
    writer.put(points(1))
    with pytest.raises(TrackingRefusedError, match="no such run"):
        writer.flush(PATIENCE)
    with pytest.raises(TrackingRefusedError, match="no such run"):
        writer.put(points(1))


def test_a_closed_writer_takes_no_more() -> None:
    writer = BackgroundWriter(Server(), pace=FAST)
    writer.close(PATIENCE)
    writer.close(PATIENCE)
    with pytest.raises(RuntimeError, match="closed"):
        writer.put(points(1))
