"""Vacuum: what no reader can need any more is deleted.

- Data files that compactions replaced or that were dropped, some time after; readers that began before may
  still read them. Those that a snapshot names stay for as long as it does.
- Data files that no commit names: a writer died before its commit. A writer that lives looks just the same,
  so they stay for `GRACE_OF_UNFINISHED`.
- Commits that a checkpoint stands for.

What no longer counts never counts again, so it is looked for while others write. Deleting takes turns, since
a snapshot may come to name a file that no longer counts; they are short, for appends to a folder wait, and a
lock of an object store ends by itself.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mlinfra.features.commit_log import CommitLog, newest_checkpoint, number_of
from mlinfra.features.errors import InvalidDateRange
from mlinfra.features.storage import Entry, Storage

DEFAULT_GRACE = timedelta(days=7)
GRACE_OF_UNFINISHED = timedelta(days=1)
TURN_SECONDS = 0.5
PAUSE_SECONDS = 0.2
"""Between turns: longer than those who wait for one take to look again."""


@dataclass(frozen=True, slots=True)
class VacuumReport:
    """What a vacuum deleted, or would delete.

    Attributes:
        feature_group: name of the group.
        files: data files, by their place in the group's folder.
        bytes: their size.
        commits: commits that a checkpoint stands for.
        protected: data files that would have been deleted, were they not protected.
    """

    feature_group: str
    files: tuple[str, ...]
    bytes: int
    commits: int
    protected: int


@dataclass(slots=True)
class _Commits:
    """What a vacuum needs to know of all commits.

    Attributes:
        made: when each was made, by name.
        replaced: when files stopped to count, by path.
        covered: names of those that the newest checkpoint stands for.
    """

    made: dict[str, datetime] = field(default_factory=dict)
    replaced: dict[str, datetime] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)


def vacuum(
    storage: Storage,
    log: CommitLog,
    *,
    name: str,
    older_than: timedelta,
    protected: Callable[[], Collection[str]],
    dry_run: bool,
) -> VacuumReport:
    """Delete what is no longer needed; see `FeatureStore.vacuum_offline_features`.

    Args:
        storage: the group's folder.
        log: the group's commits.
        name: the group's name.
        older_than: how long ago something must have stopped to count.
        protected: gives files to leave alone; asked in each turn, while no snapshot can be made.
        dry_run: delete nothing.
    """
    if older_than < timedelta(0):
        raise InvalidDateRange(f"older_than is {older_than}; give a time that is not negative")
    now = datetime.now(UTC)
    state = log.load()
    live = {file.path for file in state.files} if state else set()
    commits = log.listed_again(lambda: _read(log))
    unneeded = [
        entry
        for entry in storage.entries(recursive=True)
        if _is_data(entry) and entry.name not in live and _is_old(entry, commits.replaced, now, older_than)
    ]
    covered = _covered(commits, now - _grace_of_commits(storage, older_than))
    if dry_run:
        keep = protected()
        files = [entry for entry in unneeded if entry.name not in keep]
    else:
        files = _deleted(storage, log, unneeded, protected)
        # Whoever reads commits lists again where one is gone.
        log.delete(covered)
    return VacuumReport(
        feature_group=name,
        files=tuple(entry.name for entry in files),
        bytes=sum(entry.size for entry in files),
        commits=len(covered),
        protected=len(unneeded) - len(files),
    )


def _deleted(
    storage: Storage, log: CommitLog, unneeded: Sequence[Entry], protected: Callable[[], Collection[str]]
) -> list[Entry]:
    """Delete files, but for those that are protected when their turn comes; gives those deleted."""
    deleted: list[Entry] = []
    left = deque(unneeded)
    while left:
        with log.turn() as still_held:
            keep = protected()
            until = time.monotonic() + TURN_SECONDS
            while left:
                entry = left.popleft()
                if entry.name not in keep:
                    still_held()
                    storage.delete(entry.name)
                    deleted.append(entry)
                if time.monotonic() >= until:
                    break
        if left:
            time.sleep(PAUSE_SECONDS)
    return deleted


def _is_data(entry: Entry) -> bool:
    return not entry.is_folder and entry.name.endswith(".parquet") and "/" in entry.name


def _is_old(entry: Entry, replaced: dict[str, datetime], now: datetime, older_than: timedelta) -> bool:
    if entry.name in replaced:
        return now - replaced[entry.name] >= older_than
    grace = max(older_than, GRACE_OF_UNFINISHED)
    return entry.modified is not None and now - entry.modified >= grace


def _grace_of_commits(storage: Storage, older_than: timedelta) -> timedelta:
    """Where a lock does not exclude, a writer may be about to publish a checkpoint that covers less."""
    return older_than if storage.locks_exclude else max(older_than, GRACE_OF_UNFINISHED)


def _read(log: CommitLog) -> _Commits:
    names = log.names()
    last = newest_checkpoint(names)
    found = _Commits()
    for name, commit in log.outlines(names):
        found.made[name] = commit.committed_at
        found.replaced.update(dict.fromkeys(commit.remove, commit.committed_at))
        if name == last:
            covers = set(commit.covers) if commit.covers is not None else None
            found.covered = [
                each
                for each in names
                if (each in covers if covers is not None else number_of(each) < commit.commit)
            ]
    return found


def _covered(commits: _Commits, made_before: datetime) -> list[str]:
    return [name for name in commits.covered if commits.made[name] <= made_before]
