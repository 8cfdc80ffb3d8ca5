"""What observes a server's predictions, as its settings say: the prediction log, labels, and the monitors."""

import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from mlinfra.features import FeatureStore, get_feature_store
from mlinfra.models.learnt import LearntModel
from mlinfra.monitoring.monitor import MonitoringReport
from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.serving.errors import InvalidSettingError
from mlinfra.serving.kept_rows import KeptRows
from mlinfra.serving.known_ids import KnownIds
from mlinfra.serving.label_book import LABELS_PREFIX, LabelBook
from mlinfra.serving.label_rows import LabelRows
from mlinfra.serving.log_rows import LABEL_COLUMN, log_group
from mlinfra.serving.log_upkeep import LogUpkeep
from mlinfra.serving.metrics import ServingMetrics
from mlinfra.serving.model_monitors import KEEP_SECONDS, ModelMonitors, monitoring_folder
from mlinfra.serving.observations import Observer, Sink
from mlinfra.serving.prediction_log import GROUP_PREFIX, PredictionLog
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Observing:
    """The queue, the monitors behind it, which its thread alone calls, and the IDs that are taken."""

    observer: Observer
    monitors: ModelMonitors
    ids: KnownIds

    def check(
        self,
        model: ServedModel,
        drift: DriftPolicy | None,
        performance: PerformancePolicy | None,
        now: datetime | None,
    ) -> "Future[MonitoringReport]":
        """What the monitors say of all that came before; it is logged and kept first.

        Whoever acts on a check acts on what a killed server still knows when it is back.
        """

        def kept_and_checked() -> MonitoringReport:
            self.monitors.keep()
            return self.monitors.check(model, drift, performance, now)

        return self.observer.call(kept_and_checked)


def observing_of(
    settings: ServingSettings,
    model_name: str,
    metrics: ServingMetrics,
    learnt: Callable[[], LearntModel | None],
) -> Observing:
    """What observes a server.

    Args:
        settings: whether, where and how much is logged.
        model_name: whose predictions.
        metrics: told what became of predictions and labels.
        learnt: what the model learnt that is served now.

    Raises:
        FeatureStoreUnavailable: the URI of the prediction log is of a kind that is not supported.
        InvalidSettingError: that of monitoring is, or labels are to be read without a prediction log.
    """
    replica = settings.replica or replica_name(os.environ, settings.port)
    folder = monitoring_folder(settings.monitoring_uri)
    ids = KnownIds(settings.remembered_predictions)
    dropped = metrics.log_rows.labels("dropped").inc
    if settings.prediction_log_uri is None:
        if settings.label_group is not None:
            raise InvalidSettingError(
                "labels of a feature group are kept beside the prediction log: set "
                "MLINFRA_PREDICTION_LOG_URI as well as MLINFRA_SERVING_LABEL_GROUP"
            )
        monitors = ModelMonitors(folder, replica=replica, kept=None)
        observer = Observer([monitors], None, max_rows=settings.log_buffer_rows, on_drop=dropped)
        return Observing(observer, monitors, ids)
    store = get_feature_store(settings.prediction_log_uri)
    predictions, labels = log_group(GROUP_PREFIX, model_name), log_group(LABELS_PREFIX, model_name)
    log = PredictionLog(
        store,
        predictions,
        replica=replica,
        share=settings.log_share,
        seconds=settings.log_seconds,
        max_rows=settings.log_buffer_rows,
        count=lambda outcome, rows: metrics.log_rows.labels(outcome).inc(rows),
    )
    monitors = ModelMonitors(
        folder,
        replica=replica,
        kept=KeptRows(store, predictions=predictions, labels=labels),
        before_keep=log.flush,
        keep_seconds=max(KEEP_SECONDS, settings.log_seconds),
    )
    book = LabelBook(
        store,
        labels,
        log=predictions,
        replica=replica,
        ids=ids,
        max_predictions=settings.remembered_predictions,
        on_labels=monitors.label,
        before_keep=log.flush_if_waiting,
        sources=_label_sources(settings, store, labels),
        seconds=settings.log_seconds,
        learnt=learnt,
        count=lambda outcome, number: metrics.labels.labels(outcome).inc(number),
    )
    # A request is answered once what was asked before is known.
    book.open()
    # The book first tells what is new; the monitors count again what the log held before it gets more.
    upkeep = LogUpkeep(store, [predictions, labels], days=settings.log_days)
    sinks: list[Sink] = [book, monitors, log, upkeep]
    observer = Observer(sinks, book.keep, max_rows=settings.log_buffer_rows, on_drop=dropped)
    return Observing(observer, monitors, ids)


def _label_sources(settings: ServingSettings, log_store: FeatureStore, labels: str) -> list[LabelRows]:
    """Where others write labels: to the group that the server keeps them in, and to one of their own."""
    sources = [LabelRows(log_store, labels, LABEL_COLUMN)]
    if settings.label_group is not None:
        uri = settings.feature_store_uri
        store = log_store if uri is None else get_feature_store(uri)
        sources.append(LabelRows(store, settings.label_group, settings.label_column))
    return sources


def replica_name(environ: Mapping[str, str], port: int) -> str:
    """The pod's name, else that of the machine and the port."""
    return environ.get("POD_NAME") or f"{socket.gethostname()}-{port}"
