"""What is behind the queue of a model server, without the server: its log, labels and monitors."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from servers.model_server import learnt_metadata, linear_model

from mlinfra.features import FeatureStore
from mlinfra.monitoring.counts import Counts
from mlinfra.monitoring.profile import PROFILE_FILE, HeldOut, build_profile
from mlinfra.serving.kept_rows import KeptRows
from mlinfra.serving.known_ids import KnownIds, checksum_of
from mlinfra.serving.label_book import LabelBook, Labelled
from mlinfra.serving.model_monitors import ModelMonitors
from mlinfra.serving.model_source import ModelSource
from mlinfra.serving.observations import FeedbackResult, Label, Observed, prediction_ids
from mlinfra.serving.prediction_log import PredictionLog
from mlinfra.serving.served_model import ServedModel

LOG, LABELS = "predictions_m", "labels_m"
START = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 10**9
HOUR = 3600 * 10**9


class KilledError(Exception):
    """The server is no more."""


class Server:
    """What is behind the queue of one server, called in turn; nothing but its files outlives `restart`."""

    def __init__(self, folder: Path, model: ServedModel, *, share: float = 1.0, replica: str = "one") -> None:
        self.folder, self.model, self.share, self.replica = folder, model, share, replica
        self.store = FeatureStore(folder / "log")
        self.sequence = 0
        self.outcomes: dict[str, int] = {}
        self.restart()

    def restart(self) -> None:
        self.log = PredictionLog(
            self.store,
            LOG,
            replica=self.replica,
            share=self.share,
            seconds=1,
            max_rows=100,
            count=self.count,
        )
        self.monitors = ModelMonitors(
            self.folder / "monitoring",
            replica=self.replica,
            kept=KeptRows(self.store, predictions=LOG, labels=LABELS),
            before_keep=self.log.flush,
            clock_ns=lambda: self.sequence,
        )
        self.ids = KnownIds(1000)
        self.book = LabelBook(
            self.store,
            LABELS,
            log=LOG,
            replica=self.replica,
            ids=self.ids,
            max_predictions=1000,
            on_labels=self.on_labels,
            before_keep=self.log.flush_if_waiting,
        )
        self.book.open()
        self.dies_with_labels = False

    def count(self, outcome: str, rows: int) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + rows

    def on_labels(self, labels: Sequence[Labelled]) -> set[str]:
        if self.dies_with_labels:
            raise KilledError
        return self.monitors.label(labels)

    def predict(self, number: int, seed: int = 0) -> str:
        """Answer request ``r<number>``, which is of one row, or of two, and tell its ID."""
        rows = rows_of(number)
        values = np.random.default_rng([number, seed]).normal(size=(rows, 1, 2)).astype(np.float32)
        self.sequence += 1
        checksum = checksum_of({"features": values})
        id, repeated = self.ids.take(f"r{number}", rows, checksum)
        observed = Observed(
            self.model,
            id,
            START + number * HOUR,
            {"features": values},
            [values.sum(axis=(1, 2), keepdims=True)[:, 0]],
            rows,
            sequence=self.sequence,
            repeated=repeated,
            checksum=checksum,
        )
        self.sequence += rows
        for sink in (self.book, self.monitors, self.log):
            sink.observe([observed])
        return id

    def tell(self, number: int, id: str | None = None) -> FeedbackResult:
        ids = prediction_ids(id or f"r{number}", rows_of(number))
        return self.book.keep([[Label(one, 1.0) for one in ids]])[0]

    @property
    def counts(self) -> Counts:
        monitor = self.monitors.monitor(self.model)
        assert monitor is not None
        return reduce(add, (each.counts for each in monitor.chunks), monitor.profile.nothing())


def rows_of(number: int) -> int:
    return 1 + number % 2


def monitored_model(folder: Path) -> ServedModel:
    """A model that adds two features, with a reference profile."""
    path = linear_model(folder / "m.onnx", features=2, window=1, metadata=learnt_metadata(["open", "close"]))
    generator = np.random.default_rng(1)
    columns = {name: generator.normal(size=200) for name in ("open", "close")}
    answers = columns["open"] + columns["close"]
    profile = build_profile(columns, HeldOut(columns, answers[:, np.newaxis], answers + 0.1))
    (folder / PROFILE_FILE).write_bytes(profile.to_json())
    return ServedModel(ModelSource(str(path)).fetch())
