"""Counts what the served model is asked and answers, for the checks of its monitors.

The counts of a version are kept at ``monitoring.uri`` every few seconds, with how far they go in the
prediction log and in the labels. What came after that is counted again from those where the server was
killed, so each row and each label counts once. Of rows that are logged without their features, what was
answered is then counted, and what was asked is not.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from pydantic import ValidationError

from mlinfra.errors import MlinfraError
from mlinfra.models.learnt import LearntModel
from mlinfra.monitoring.chunk_store import ChunkStore, CountsFoldedError
from mlinfra.monitoring.monitor import ModelMonitor, MonitoringReport
from mlinfra.monitoring.profile import ProfileError, ReferenceProfile
from mlinfra.resources.base import ResourceModel
from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.serving.errors import InvalidRequestError, InvalidSettingError, UnsupportedError
from mlinfra.serving.kept_rows import KeptRows
from mlinfra.serving.label_book import Labelled
from mlinfra.serving.log_rows import feature_matrix, output_matrix
from mlinfra.serving.model_source import ModelFile
from mlinfra.serving.observations import Observed
from mlinfra.serving.served_model import ServedModel

logger = logging.getLogger(__name__)

Part = TypeVar("Part", bound=ResourceModel)
ROWS, LABELS = "rows", "labels"
KEEP_SECONDS = 2.0
FOLD_SECONDS = 600.0
"""How often a server looks for replicas that are gone."""
VERSIONS_KEPT = 3


class ModelMonitors:
    """The monitors of the versions that a server served; of one thread.

    Args:
        folder: of the counters; they are in memory alone where None.
        replica: name of this server among those of the model.
        kept: predictions and labels of before; None where they are not logged.
        before_keep: logs what is counted: of a prediction that is counted and not logged, nobody would know
            after the server was killed that it counts already.
        keep_seconds: how often counts are kept.
        clock: seconds.
        clock_ns: numbers that are higher after a restart than before it, as predictions and labels are
            numbered by.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        replica: str,
        kept: KeptRows | None,
        before_keep: Callable[[], None] = lambda: None,
        keep_seconds: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        # All that is counted here comes after it.
        self._started = clock_ns() - 1
        self._replica = replica
        self._kept = kept
        self._clock = clock
        self._before_keep = before_keep
        self._keep_seconds = keep_seconds
        self._due = clock() + keep_seconds
        self._fold_due = clock() + FOLD_SECONDS
        self._monitors: dict[str, ModelMonitor] = {}
        self._positions: dict[str, dict[str, int]] = {}
        self._problems: dict[str, str] = {}
        self._profiles: dict[str, bytes | None] = {}

    def observe(self, batch: Sequence[Observed]) -> None:
        """Count predictions."""
        run: list[Observed] = []
        for each in (*batch, None):
            if run and (each is None or each.model is not run[0].model):
                self._observe(run)
                run = []
            if each is not None:
                run.append(each)

    def tick(self) -> None:
        """Keep the counts, where it is time."""
        if self._clock() >= self._due:
            self._due = self._clock() + self._keep_seconds
            self.keep()
        if self._clock() >= self._fold_due:
            self._fold_due = self._clock() + FOLD_SECONDS
            self.fold()

    def close(self) -> None:
        """Keep the counts."""
        self.keep()

    def label(self, labels: Sequence[Labelled]) -> set[str]:
        """Count labels that were never counted before.

        Returns:
            IDs of predictions that the counts no longer hold, or of a version that this server does not serve
            beside those it does: their labels count nowhere.
        """
        uncounted: set[str] = set()
        for version in dict.fromkeys(each.version for each in labels):
            own = [each for each in labels if each.version == version]
            monitor = self._monitors.get(version)
            if monitor is None:
                # Those of a version whose monitor begins later are counted then, from where they are kept.
                if self._monitors and version not in self._profiles:
                    uncounted |= {each.id for each in own}
                continue
            counted = monitor.label(
                np.stack([each.outputs for each in own]),
                [each.label for each in own],
                np.array([each.event_time for each in own], np.int64),
            )
            uncounted |= {each.id for each, known in zip(own, counted, strict=True) if not known}
            self._positions[version][LABELS] = max(each.sequence for each in own)
        return uncounted

    def check(
        self,
        model: ServedModel,
        drift: DriftPolicy | None,
        performance: PerformancePolicy | None,
        now: datetime | None,
    ) -> MonitoringReport:
        """What the monitors say of a model.

        Raises:
            UnsupportedError: it has no reference profile that can be used.
            MonitoringStoreError: the counts of other replicas cannot be read.
        """
        version = model.file.version
        try:
            return self._watching(model).check(drift, performance, now=now)
        except CountsFoldedError:
            self._go_on(version)
            return self._watching(model).check(drift, performance, now=now)

    def _watching(self, model: ServedModel) -> ModelMonitor:
        monitor = self.monitor(model)
        if monitor is None:
            raise UnsupportedError(self._problems[model.file.version])
        return monitor

    def monitor(self, model: ServedModel) -> ModelMonitor | None:
        """The monitor of a model; None where it has no reference profile that can be used."""
        version = model.file.version
        # Models that are files have one version, whatever their content.
        if self._profiles.setdefault(version, model.file.profile) != model.file.profile:
            self._replace_profile(model)
        if version not in self._monitors and version not in self._problems:
            try:
                self._monitors[version] = self._opened(model)
            except ProfileError as error:
                self._problems[version] = f"version {version} of {model.file.name} is not watched: {error}"
                logger.warning("%s", self._problems[version])
        return self._monitors.get(version)

    def _replace_profile(self, model: ServedModel) -> None:
        """Keep and forget the monitor beside the profile before; what it counted counts for no other."""
        version = model.file.version
        before = self._positions.get(version)
        self.keep()
        self._monitors.pop(version, None)
        if before is not None:
            self._positions[version] = before
        self._problems.pop(version, None)
        self._profiles[version] = model.file.profile

    def _opened(self, model: ServedModel) -> ModelMonitor:
        file = model.file
        profile, _ = profile_of(file)
        store = None
        if self._folder is not None:
            store = ChunkStore(
                self._folder,
                model=file.name,
                version=file.version,
                profile=profile.id,
                replica=self._replica,
                classes=bool(profile.classes),
            )
        self._forget()
        monitor = ModelMonitor(profile, model_name=file.name, model_version=file.version, store=store)
        before = self._positions.get(file.version, {})
        self._positions[file.version] = {
            name: max(before.get(name, 0), monitor.position.get(name, 0)) for name in (ROWS, LABELS)
        }
        if before:
            # What the log holds until here counts beside the profile before, after a restart as well.
            monitor.keep(self._positions[file.version])
        if store is not None and self._kept is not None:
            self._count_again(monitor, self._kept, model)
        return monitor

    def _count_again(self, monitor: ModelMonitor, kept: KeptRows, model: ServedModel) -> None:
        """Count what was logged after the counts were kept the last time.

        Where that is nothing, the place is kept all the same: the next start need not look there again.
        """
        # Of counts that were folded some may wait to be logged.
        self._before_keep()
        position = self._positions[model.file.version]
        version, features = model.file.version, model.learnt.features if model.learnt else ()
        rows = kept.rows(self._replica, version, features, after=position[ROWS])
        labels = kept.labels(self._replica, version, after=position[LABELS])
        if rows is not None:
            monitor.observe(rows.features, rows.outputs, rows.event_times, rows.known)
        if labels is not None:
            monitor.label(labels.outputs, labels.labels, labels.event_times)
        for name, found in ((ROWS, rows), (LABELS, labels)):
            newest = int(found.sequence[-1]) if found is not None else 0
            position[name] = max(position[name], self._started, newest)
        try:
            monitor.keep(position)
        except MlinfraError as error:
            _tell_not_kept(version, error)

    def _observe(self, run: Sequence[Observed]) -> None:
        model = run[0].model
        # What is counted again from the log at the start must not be counted here as well.
        monitor = self.monitor(model)
        if monitor is None or model.learnt is None:
            return
        position = self._positions[model.file.version]
        fresh = [each for each in run if not each.repeated and each.sequence > position.get(ROWS, 0)]
        if not fresh:
            return
        rows = [each.rows for each in fresh]
        times = np.repeat(np.array([each.event_time for each in fresh], np.int64), rows)
        monitor.observe(feature_matrix(model.learnt, fresh), output_matrix(model, fresh), times)
        # The log numbers each row of a request.
        position[ROWS] = fresh[-1].sequence + fresh[-1].rows - 1

    def keep(self) -> None:
        """Keep the counts, and before that log what is counted."""
        self._before_keep()
        for version, monitor in list(self._monitors.items()):
            try:
                monitor.keep(self._positions[version])
            except CountsFoldedError as error:
                logger.info("version %s is counted anew from the log: %s", version, error)
                self._go_on(version)
            except MlinfraError as error:
                _tell_not_kept(version, error)

    def fold(self) -> None:
        """Put together what replicas counted that are gone."""
        for version, monitor in self._monitors.items():
            try:
                if folded := monitor.fold():
                    logger.info("version %s: counts of %d replicas that are gone are folded", version, folded)
            except MlinfraError as error:
                logger.warning("the counts of version %s are not folded: %s", version, error)

    def _go_on(self, version: str) -> None:
        """Forget a monitor whose counts were folded: the next one begins where these end, as after a kill."""
        del self._monitors[version], self._positions[version]

    def _forget(self) -> None:
        """Keep and forget the oldest versions."""
        if len(self._monitors) >= VERSIONS_KEPT:
            self.keep()
        while len(self._monitors) >= VERSIONS_KEPT:
            oldest = next(iter(self._monitors))
            del self._monitors[oldest], self._positions[oldest], self._profiles[oldest]


def _tell_not_kept(version: str, error: MlinfraError) -> None:
    logger.warning("the counts of version %s are not kept: %s", version, error)


def profile_of(file: ModelFile) -> tuple[ReferenceProfile, LearntModel]:
    """A model's reference profile, and what it reads.

    Raises:
        ProfileError: it has none that can be used.
    """
    if file.profile is None or file.learnt is None:
        raise ProfileError("it has no reference profile; train it with mlinfra")
    profile = ReferenceProfile.of_json(file.profile)
    if tuple(profile.feature_names) != file.learnt.features:
        raise ProfileError("its reference profile is of other features than it reads")
    return profile, file.learnt


def monitoring_folder(uri: str | None) -> Path | None:
    """The folder that a URI names; None without one.

    Raises:
        InvalidSettingError: it is no folder of this machine.
    """
    if uri is None:
        return None
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(url2pathname(parts.path))
    raise InvalidSettingError(
        f"monitoring counts are kept in a folder, such as one of a volume that replicas share: give "
        f"file:///path, not {parts.scheme}://"
    )


def policies_of(body: Any) -> tuple[DriftPolicy | None, PerformancePolicy | None]:
    """The policies in the body of a check.

    Raises:
        InvalidRequestError: one cannot be read; the message names the field.
    """
    return (part_of(body, "drift", DriftPolicy), part_of(body, "performance", PerformancePolicy))


def part_of(body: Any, name: str, kind: type[Part]) -> Part | None:
    """A part of the body of a check, as of a RetrainingPolicy; None where it is not there.

    Raises:
        InvalidRequestError: it cannot be read; the message names the field.
    """
    given = body.get(name)
    if given is None:
        return None
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise InvalidRequestError(f"a policy cannot be read: {where}: {first['msg']}") from error
