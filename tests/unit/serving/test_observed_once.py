"""What a server predicted and was told of counts once, wherever it is killed and whatever share it logs."""

import errno
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.serving.observed_server import LABELS, LOG, START, KilledError, Server, monitored_model, rows_of

from mlinfra.features import CorruptFeatures, FeatureStore
from mlinfra.monitoring import chunk_store
from mlinfra.serving.kept_rows import KeptRows, LoggedLabels, LoggedRows
from mlinfra.serving.label_book import LabelBook, Labelled
from mlinfra.serving.log_rows import has_features
from mlinfra.serving.model_monitors import ModelMonitors
from mlinfra.serving.served_model import ServedModel

REQUESTS = 6


class Asked(KeptRows):
    """Tells after which places rows and labels were asked for."""

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store, predictions=LOG, labels=LABELS)
        self.after: list[int] = []

    def rows(self, replica: str, version: str, features: Sequence[str], *, after: int) -> LoggedRows | None:
        self.after.append(after)
        return super().rows(replica, version, features, after=after)

    def labels(self, replica: str, version: str, *, after: int) -> LoggedLabels | None:
        self.after.append(after)
        return super().labels(replica, version, after=after)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return monitored_model(tmp_path_factory.mktemp("model"))


STEPS = st.one_of(
    st.tuples(st.sampled_from(["predict", "tell", "tell and die"]), st.integers(0, REQUESTS - 1)),
    st.tuples(st.sampled_from(["flush", "keep", "kill"]), st.just(0)),
)


@settings(max_examples=25)
@given(steps=st.lists(STEPS, max_size=14), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_each_prediction_and_each_label_counts_once(
    tmp_path_factory: pytest.TempPathFactory,
    model: ServedModel,
    steps: list[tuple[str, int]],
    share: float,
) -> None:
    server = Server(tmp_path_factory.mktemp("server"), model, share=share)
    accepted: set[int] = set()
    asked: set[int] = set()
    for what, number in steps:
        if what == "predict":
            server.predict(number)
            asked.add(number)
        elif what == "tell":
            if server.tell(number).accepted:
                accepted.add(number)
        elif what == "tell and die":
            server.dies_with_labels = True
            try:
                server.tell(number)
            except KilledError:
                accepted.add(number)
            server.restart()
        elif what == "flush":
            server.log.flush()
        elif what == "keep":
            server.monitors.keep()
        else:
            server.restart()
    server.restart()
    for number in asked:
        server.predict(number)
    counts = server.counts
    assert counts.rows == sum(map(rows_of, asked))
    assert counts.labelled == sum(map(rows_of, accepted))
    for number in asked:
        told = server.tell(number)
        assert (told.unknown, told.conflicting) == ((), ())
        assert bool(told.accepted) == (number not in accepted)
    server.monitors.keep()
    server.restart()
    counts = server.counts
    rows = sum(map(rows_of, asked))
    assert (counts.rows, counts.labelled) == (rows, rows)
    known = sum(rows_of(number) for number in asked if has_features(f"r{number}", share))
    assert known <= counts.with_features <= rows
    assert all(cells[-1] == 0 for cells in counts.features.values())
    if asked:
        logged = server.store.read_offline_features(LOG)
        assert len(logged) == rows
        assert logged["open"].notna().sum() == known


def test_other_rows_under_an_id_have_one_of_their_own_also_after_a_kill(
    tmp_path: Path, model: ServedModel
) -> None:
    server = Server(tmp_path, model, share=1.0)
    ids = [server.predict(1, seed) for seed in (0, 1, 2, 1, 0)]
    assert ids[0] == "r1"
    assert ids[3:] == ids[1::-1]
    assert len(set(ids)) == 3
    server.monitors.keep()
    server.restart()
    assert [server.predict(1, seed) for seed in (2, 1, 0)] == ids[2::-1]
    assert server.counts.rows == 3 * rows_of(1)
    assert [server.tell(1, id).accepted for id in ids[:3]] == [rows_of(1)] * 3
    assert len(server.store.read_offline_features(LOG)) == 3 * rows_of(1)


def test_the_log_is_written_for_labels_of_predictions_that_wait_alone(
    tmp_path: Path, model: ServedModel
) -> None:
    server = Server(tmp_path, model, share=1.0)

    def logged() -> int:
        files, _ = server.store.offline_files_since(LOG, None)
        return len(files.files)

    for number in (1, 2):
        server.predict(number)
        server.tell(number)
        assert logged() == number
    server.predict(3)
    assert [server.tell(number).accepted for number in (1, 2)] == [0, 0]
    assert logged() == 2
    assert server.tell(3).accepted == rows_of(3)
    assert logged() == 3


def test_a_request_that_is_asked_again_is_not_remembered_once_more(
    tmp_path: Path, model: ServedModel
) -> None:
    server = Server(tmp_path, model, share=1.0)
    server.book = LabelBook(
        server.store,
        LABELS,
        log=LOG,
        replica="one",
        ids=server.ids,
        max_predictions=2,
        on_labels=server.on_labels,
        before_keep=server.log.flush_if_waiting,
    )
    for number in (0, 2, 4):
        server.predict(number)
        assert server.tell(number).accepted == 1
    server.predict(0)
    assert server.outcomes["repeated"] == 1
    assert server.tell(0).accepted == 0
    assert server.counts.labelled == 3


def test_a_place_where_nothing_was_found_is_not_looked_at_again(tmp_path: Path, model: ServedModel) -> None:
    kept = Asked(FeatureStore(tmp_path / "log"))
    for start in (1000, 2000):
        monitors = ModelMonitors(
            tmp_path / "counts", replica="new", kept=kept, clock_ns=lambda start=start: start
        )
        assert monitors.monitor(model) is not None
    assert kept.after == [0, 0, 999, 999]


def test_a_model_is_watched_also_where_its_counts_cannot_be_kept(
    tmp_path: Path, model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(chunk_store, "replace_file", full)
    kept = KeptRows(FeatureStore(tmp_path / "log"), predictions=LOG, labels=LABELS)
    monitors = ModelMonitors(tmp_path / "counts", replica="new", kept=kept)
    assert monitors.monitor(model) is not None


def test_rows_whose_labels_cannot_be_read_yet_count_the_next_time(tmp_path: Path, model: ServedModel) -> None:
    server = Server(tmp_path, model, share=1.0)
    server.predict(0)
    server.tell(0)
    server.restart()
    (labels,) = (tmp_path / "log" / "offline" / LABELS).rglob("*.parquet")
    away = labels.rename(labels.with_suffix(".away"))
    with pytest.raises(CorruptFeatures):
        server.monitors.monitor(model)
    away.rename(labels)
    assert (server.counts.rows, server.counts.labelled) == (1, 1)


def test_labels_of_a_version_that_is_not_served_here_are_told(tmp_path: Path, model: ServedModel) -> None:
    server = Server(tmp_path, model)
    label = Labelled("p", "another", START, np.zeros(1, np.float32), 1.0, 1)
    # It may be the one that is about to be served.
    assert server.monitors.label([label]) == set()
    server.predict(0)
    assert server.monitors.label([label]) == {"p"}
    assert server.counts.labelled == 0
    assert server.tell(0).uncounted == ()


def test_numbers_of_labels_rise_where_the_clock_is_set_back(tmp_path: Path, model: ServedModel) -> None:
    server = Server(tmp_path, model)
    told: list[int] = []
    seconds = iter([1000, 10, 20])

    def on_labels(labels: Sequence[Labelled]) -> set[str]:
        told.extend(each.sequence for each in labels)
        return set()

    server.book = LabelBook(
        server.store,
        LABELS,
        log=LOG,
        replica="one",
        ids=server.ids,
        max_predictions=9,
        on_labels=on_labels,
        before_keep=server.log.flush_if_waiting,
        clock=lambda: next(seconds),
    )
    for number in (0, 2):
        server.predict(number)
        server.tell(number)
    assert 1000 < told[0] < told[1]
