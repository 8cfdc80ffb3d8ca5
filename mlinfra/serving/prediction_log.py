"""Writes predictions to a feature group, ``predictions_<model>``: buffered, bounded, one commit at a time.

Each prediction has a row, by which its label finds it and a server that was killed knows that it counts.
Where a share alone is to be logged, it is the features that the other rows lack.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from itertools import groupby
from typing import Literal

import pyarrow as pa

from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.features import FeatureStore, PartitionBy, UnknownFeatureGroup
from mlinfra.serving.log_rows import ID_COLUMN, has_features, log_table
from mlinfra.serving.observations import Observed

logger = logging.getLogger(__name__)

GROUP_PREFIX = "predictions"
ROWS_AT_ONCE = 20_000
Outcome = Literal["written", "without_features", "dropped", "refused", "repeated"]
Count = Callable[[Outcome, int], None]


class PredictionLog:
    """The log of one model; of one thread.

    What waits when the process is killed is lost: at most the predictions of ``seconds``.

    Args:
        store: where the group is.
        group: its name.
        replica: which server makes them.
        share: part of the requests that is logged with its features, told by a hash of their ID.
        seconds: how often what waits is written.
        max_rows: predictions that may wait while the store does not answer; the oldest are dropped.
        count: told what became of predictions.
        clock: seconds.
    """

    def __init__(
        self,
        store: FeatureStore,
        group: str,
        *,
        replica: str,
        share: float,
        seconds: float,
        max_rows: int,
        count: Count,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self.group = group
        self._replica = replica
        self._share = share
        self._seconds = seconds
        self._max_rows = max_rows
        self._count = count
        self._clock = clock
        self._waiting: deque[Observed] = deque()
        self._rows = 0
        self._dropping = False
        self._due = clock() + seconds

    def observe(self, batch: Sequence[Observed]) -> None:
        """Take predictions."""
        for each in batch:
            if each.repeated:
                self._count("repeated", each.rows)
                continue
            self._waiting.append(each)
            self._rows += each.rows
        if self._rows > self._max_rows and not self._dropping:
            logger.warning(
                "predictions are dropped from the log to %s, the oldest first: more than %d wait; "
                "mlinfra_serving_prediction_log_rows_total counts them",
                self.group,
                self._max_rows,
            )
            self._dropping = True
        while self._rows > self._max_rows:
            self._count("dropped", self._forget().rows)

    def tick(self) -> None:
        """Write what waits, where it is time."""
        if self._clock() >= self._due or self._rows >= ROWS_AT_ONCE:
            self.flush()

    def close(self) -> None:
        """Write what waits; what cannot be written is lost, and told."""
        self.flush()
        if self._rows:
            self._count("dropped", self._rows)
            logger.error("%d predictions could not be logged", self._rows)

    def flush_if_waiting(self, ids: Set[str]) -> None:
        """Write what waits, where one of these predictions may be among it."""
        # Of several rows of a request, each ID is the request's and the row's number.
        requests = ids | {one.rpartition(":")[0] for one in ids}
        if any(each.id in requests for each in self._waiting):
            self.flush()

    def flush(self) -> None:
        """Write what waits; where the store does not answer it stays for the next time."""
        self._due = self._clock() + self._seconds
        while self._waiting:
            chosen: list[Observed] = []
            rows = 0
            for each in self._waiting:
                if chosen and rows + each.rows > ROWS_AT_ONCE:
                    break
                chosen.append(each)
                rows += each.rows
            if not self._written(chosen, rows):
                return
            for _ in chosen:
                self._forget()

    def _written(self, batch: Sequence[Observed], rows: int) -> bool:
        """Write; False where another try may help."""
        try:
            # Another version may have other columns: each its own rows, all in one commit where they agree.
            tables = [
                log_table(list(run), self._replica, share=self._share)
                for _, run in groupby(batch, key=lambda each: id(each.model))
            ]
            table, partition = _as_in_group(self._store, self.group, _joined(tables))
            self._store.write_offline_features(
                self.group,
                table,
                entity_column=ID_COLUMN,
                partition_by=partition,
                # A log tells what was, whatever is expected of the features.
                on_violation="warn",
                on_report=lambda _: None,
            )
        except InvalidInputError as error:
            self._count("refused", rows)
            logger.error("predictions cannot be logged to %s: %s", self.group, error)
            return True
        except MlinfraError as error:
            logger.warning("predictions wait to be logged to %s: %s", self.group, error)
            return False
        self._dropping = False
        known = sum(each.rows for each in batch if has_features(each.id, self._share))
        if known:
            self._count("written", known)
        if known < rows:
            self._count("without_features", rows - known)
        return True

    def _forget(self) -> Observed:
        oldest = self._waiting.popleft()
        self._rows -= oldest.rows
        return oldest


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")


def _as_in_group(store: FeatureStore, name: str, table: pa.Table) -> tuple[pa.Table, PartitionBy]:
    """The table with the columns of earlier versions that this one does not have, as nulls; and what one
    folder of the group holds: a day where the group is new, so that old days can go.
    """
    try:
        group = store.get_feature_group(name)
    except UnknownFeatureGroup:
        return table, "day"
    for field in group.schema:
        if field.name not in table.column_names and field.name != "created_timestamp":
            table = table.append_column(field.name, pa.nulls(len(table), field.type))
    return table, group.partition_by
