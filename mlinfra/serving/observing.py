"""What observes a server's predictions, as its settings say: the prediction log, and labels."""

from collections.abc import Sequence

from mlinfra.serving.label_book import LabelBook, Labelled
from mlinfra.serving.metrics import ServingMetrics
from mlinfra.serving.observations import Observer, Sink
from mlinfra.serving.prediction_log import PredictionLog
from mlinfra.serving.settings import ServingSettings


def observer_of(settings: ServingSettings, model_name: str, metrics: ServingMetrics) -> Observer:
    """The observer of a server.

    Args:
        settings: whether, where and how much is logged.
        model_name: whose predictions.
        metrics: told what became of predictions.

    Raises:
        FeatureStoreUnavailable: the URI of the prediction log is of a kind that is not supported.
    """
    sinks: list[Sink] = []
    book: LabelBook | None = None
    if settings.prediction_log_uri is not None:
        from mlinfra.features import get_feature_store

        store = get_feature_store(settings.prediction_log_uri)
        log = PredictionLog(
            store,
            model_name,
            share=settings.log_share,
            seconds=settings.log_seconds,
            max_rows=settings.log_buffer_rows,
            count=lambda outcome, rows: metrics.log_rows.labels(outcome).inc(rows),
        )
        book = LabelBook(
            store,
            model_name,
            log=log.group,
            max_predictions=settings.remembered_predictions,
            on_labels=_no_labels,
        )
        sinks += [book, log]
    return Observer(
        sinks,
        book.keep if book is not None else None,
        max_rows=settings.log_buffer_rows,
        on_drop=metrics.log_rows.labels("dropped").inc,
    )


def _no_labels(labels: Sequence[Labelled]) -> None:
    """Nobody is told of labels."""
