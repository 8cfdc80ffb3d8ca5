"""What replicas counted is the same whoever folds it, whenever who does is killed, and whoever is back."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.serving.observed_server import KilledError, Server, monitored_model, rows_of

from mlinfra.monitoring import chunk_store
from mlinfra.monitoring.chunk_store import FOLDED_FILE
from mlinfra.monitoring.monitor import MonitoringReport
from mlinfra.serving.served_model import ServedModel

REPLICAS = ("a", "b", "c")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return monitored_model(tmp_path_factory.mktemp("model"))


class Replicas:
    """Servers of one model, with one log and one folder of counts."""

    def __init__(self, folder: Path, model: ServedModel) -> None:
        self.folder = folder / "monitoring"
        self.servers = [Server(folder, model, replica=name) for name in REPLICAS]
        self.asked: dict[int, Server] = {}
        self.told: set[int] = set()

    def predict(self, place: int) -> None:
        number = len(self.asked)
        self.servers[place].predict(number)
        self.asked[number] = self.servers[place]

    def tell(self, place: int) -> None:
        """Tell a replica the label of the oldest prediction that has none, whoever made it."""
        number = min(self.asked.keys() - self.told, default=None)
        if number is None:
            return
        # Labels of rows that no replica has kept yet count nowhere.
        self.settle(self.asked[number])
        result = self.servers[place].tell(number)
        assert (result.accepted, result.uncounted) == (rows_of(number), ())
        self.told.add(number)

    def fold(self, place: int, gone: int, at: str, meanwhile: str) -> None:
        """A replica takes one of the others for gone; it or the other one does something in the middle."""
        for file in self.folder.rglob(f"{REPLICAS[gone]}.*json"):
            os.utime(file, (0, 0))
        server = self.servers[place]
        _ = server.counts
        # What waits to be logged is lost with a server, and counts nowhere.
        server.log.flush()

        def middle() -> None:
            if meanwhile == "die":
                raise KilledError
            if meanwhile == "write" and gone != place:
                self.predict(gone)
                self.servers[gone].monitors.keep()

        try:
            with in_the_middle(at, middle):
                server.monitors.fold()
        except KilledError:
            server.restart()

    def settle(self, server: Server) -> None:
        """Have a replica keep all that it counted."""
        server.monitors.keep()
        _ = server.counts

    def report(self, server: Server) -> MonitoringReport:
        return server.monitors.check(server.model, None, None, None)

    @property
    def rows(self) -> int:
        return sum(map(rows_of, self.asked))

    @property
    def labelled(self) -> int:
        return sum(map(rows_of, self.told))


@contextmanager
def in_the_middle(at: str, middle: Callable[[], None]) -> Iterator[None]:
    """Do something once, before what is folded appears, or after that and before the folded file goes."""
    done = False
    replace_file, unlink = chunk_store.replace_file, Path.unlink

    def once() -> None:
        nonlocal done
        if not done:
            done = True
            middle()

    def replaced(path: Path, content: bytes) -> None:
        if at == "before" and path.name == FOLDED_FILE:
            once()
        replace_file(path, content)

    def unlinked(path: Path, *args: Any, **named: Any) -> None:
        if at == "after" and path.suffix == ".json":
            once()
        unlink(path, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_store, "replace_file", replaced)
        patch.setattr(Path, "unlink", unlinked)
        yield


PLACES = st.integers(0, len(REPLICAS) - 1)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["predict", "tell", "keep", "kill"]), PLACES),
    st.tuples(
        st.just("fold"),
        PLACES,
        PLACES,
        st.sampled_from(["before", "after"]),
        st.sampled_from(["nothing", "die", "write"]),
    ),
)


@settings(max_examples=40)
@given(steps=st.lists(STEPS, max_size=16))
def test_the_sum_is_what_was_counted(
    tmp_path_factory: pytest.TempPathFactory, model: ServedModel, steps: list[tuple[Any, ...]]
) -> None:
    replicas = Replicas(tmp_path_factory.mktemp("replicas"), model)
    for what, place, *more in steps:
        server = replicas.servers[place]
        if what == "predict":
            replicas.predict(place)
        elif what == "tell":
            replicas.tell(place)
        elif what == "keep":
            server.monitors.keep()
        elif what == "kill":
            server.log.flush()
            server.restart()
        else:
            replicas.fold(place, *more)
        if what == "fold":
            report = replicas.report(server)
            assert report.rows <= replicas.rows
            assert report.labelled <= replicas.labelled
    for _ in range(2):
        for server in replicas.servers:
            replicas.settle(server)
        for server in replicas.servers:
            report = replicas.report(server)
            assert (report.rows, report.labelled) == (replicas.rows, replicas.labelled)
            server.restart()
