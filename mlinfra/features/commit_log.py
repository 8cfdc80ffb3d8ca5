"""The commit log of a feature group: ``_commits/<number>.json``, in the order of their numbers.

On a folder, writers take turns to commit, and numbers have no gaps. On an object store appends take no turns:
a commit's name ends in a part of its own (``<number>-<32 hexadecimal digits>.json``), and two that were made
at once may share their number. Only what alters the group's definition, its first write and new columns,
takes a turn there.

The commits whose number `CHECKPOINT_INTERVAL` divides are checkpoints: they also list all files, so that a
reader opens few more commits than that, however old the group is.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import ValidationError

from mlinfra.features.commits import (
    FORMAT,
    Change,
    Commit,
    CommitMark,
    CommitOutline,
    DataFile,
    GroupState,
    Head,
    Replacement,
    commit_of,
    folded,
)
from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.storage import Entry, StillHeld, Storage
from mlinfra.features.validation import mistakes

CHECKPOINT_INTERVAL = 64
COMMIT_NAME = re.compile(r"^([0-9]{20})(-[0-9a-f]{32})?\.json$")
READERS = 8
ATTEMPTS = 3

Kind = TypeVar("Kind", Commit, CommitOutline)
Result = TypeVar("Result")


class CommitLog:
    """The commits of one group.

    Args:
        offline: the folder of all groups.
        name: the group's name.
        known: commits that were read before, by name; kept up to date. Only for an object store, where names
            are never used twice.
    """

    def __init__(self, offline: Storage, name: str, known: dict[str, Commit] | None = None) -> None:
        self._offline = offline
        self._storage = offline.at(f"{name}/_commits")
        self._name = name
        self._known = known if known is not None and not offline.locks_exclude else {}

    def exists(self) -> bool:
        """Whether anything was ever committed."""
        return bool(self.names())

    def names(self) -> list[str]:
        """Names of all commits, sorted by their numbers."""
        return sorted(name for name in self._storage.names() if COMMIT_NAME.match(name))

    def load(self) -> GroupState | None:
        """The group as of its newest commit, or None where there is none.

        Raises:
            CorruptFeatures: a commit is missing, cannot be read, or has a format of a later release.
        """
        return self._loaded()[0]

    def head(self) -> Head | None:
        """The group's definition as of its newest commit, at a cost that does not grow with the group."""
        if not self._storage.locks_exclude:
            state = self.load()
            return state.head if state else None
        names = self.names()
        if not names:
            return None
        try:
            newest = self._read(names[-1], Commit)
        except FileNotFoundError:
            # A vacuum may remove a commit between listing and reading: a newer checkpoint is there.
            state = self.load()
            return state.head if state else None
        return Head(newest.group(self._name), newest.commit, newest.committed_at)

    def append(self, change: Change, *, after: Head | None, now: datetime) -> bool:
        """Publish a commit.

        Args:
            change: what it does; its files are in place.
            after: the group's definition that the change was made for.
            now: when the change was made; no row of it was created later, unless that was given.

        Returns:
            False where the group's definition changed meanwhile: nothing was published.
        """
        alters = after is None or change.group != after.group
        with self._turn(alters) as still_held:
            current = self.head()
            if (current.group if current else None) != (after.group if after else None):
                return False
            self._publish(self._next(change, current, now), still_held)
        return True

    def replace(
        self, replacements: Sequence[Replacement], *, history_since: datetime | None, now: datetime
    ) -> list[Replacement]:
        """Publish a commit that replaces files by others with the same rows.

        Returns:
            The replacements that were published: those whose files nobody else replaced meanwhile.
        """
        self._read_ahead()
        with self.turn() as still_held:
            state = self.load()
            live = {file.path for file in state.files} if state else set()
            kept = [each for each in replacements if live.issuperset(each.remove)]
            if state is None or not kept:
                return []
            change = Change(
                operation="compact",
                group=state.group,
                add=tuple(each.add for each in kept),
                remove=tuple(path for each in kept for path in each.remove),
                merged={each.add.path: each.remove for each in kept},
                history_since=history_since,
            )
            self._publish(self._next(change, state.head, now), still_held)
        return kept

    def drop(self, choose: Callable[[GroupState], Sequence[DataFile]], *, now: datetime) -> list[DataFile]:
        """Publish a commit that removes files; what it removed."""
        self._read_ahead()
        with self.turn() as still_held:
            state = self.load()
            dropped = list(choose(state)) if state else []
            if state is None or not dropped:
                return []
            change = Change("drop", state.group, remove=tuple(file.path for file in dropped))
            self._publish(self._next(change, state.head, now), still_held)
        return dropped

    def commits_since(self, mark: CommitMark | None) -> list[Commit] | None:
        """The commits that a reader did not see who came to the mark.

        On an object store some that it saw may be among them. None where all count: there is no mark, its
        commit is no longer there, or it is of another group that had the same name.

        Raises:
            CorruptFeatures: a commit is missing, cannot be read, or has a format of a later release.
        """
        return self.listed_again(lambda: self._since(mark)) if mark is not None else None

    def _since(self, mark: CommitMark) -> list[Commit] | None:
        entries = [entry for entry in self._storage.entries() if COMMIT_NAME.match(entry.name)]
        candidates = [entry for entry in entries if number_of(entry.name) == mark.commit]
        commits = self._cached([entry.name for entry in candidates])
        marked = [each for each in candidates if commits[each.name].committed_at == mark.committed_at]
        if not marked:
            return None
        later = [entry.name for entry in entries if self._may_be_later(entry, marked[0])]
        return list(self._cached(later).values())

    def _may_be_later(self, entry: Entry, marked: Entry) -> bool:
        if number_of(entry.name) > number_of(marked.name):
            return True
        if self._storage.locks_exclude or entry.name == marked.name:
            return False
        # Of two commits that were made at once, the one with the lower number may be published last.
        return not (entry.modified and marked.modified and entry.modified < marked.modified)

    def names_any(self, paths: Sequence[str]) -> bool:
        """Whether a commit names one of these files."""
        state = self.load()
        return state is not None and any(file.path in paths for file in state.files)

    @contextmanager
    def turn(self) -> Iterator[StillHeld]:
        """Hold the lock that those take who commit."""
        with self._offline.exclusive(lock_name(self._name)) as still_held:
            yield still_held

    def read_all(self, names: Iterable[str]) -> dict[str, Commit]:
        """Commits by name.

        Raises:
            FileNotFoundError: one is not there.
            CorruptFeatures: one cannot be read.
        """
        return self._all(list(names), Commit)

    def outlines(self, names: Sequence[str]) -> Iterator[tuple[str, CommitOutline]]:
        """Commits by name, few in memory at a time: checkpoints list all files; raises as `read_all`."""
        for start in range(0, len(names), READERS):
            yield from self._all(names[start : start + READERS], CommitOutline).items()

    def listed_again(self, read: Callable[[], Result]) -> Result:
        """What is read of commits that it lists itself; from the listing on, again, where one is gone.

        A vacuum may remove a commit between listing and reading: a newer checkpoint is there.

        Raises:
            CorruptFeatures: one is missing each time.
        """
        for _ in range(ATTEMPTS - 1):
            with suppress(FileNotFoundError):
                return read()
        try:
            return read()
        except FileNotFoundError as error:
            raise CorruptFeatures(
                f"{error.filename or error} is missing; restore it from a backup of the store"
            ) from error

    def delete(self, names: Iterable[str]) -> None:
        """Remove commits that a checkpoint covers."""
        for name in names:
            self._storage.delete(name)

    @contextmanager
    def _turn(self, alters: bool) -> Iterator[StillHeld]:
        if alters or self._storage.locks_exclude:
            with self.turn() as still_held:
                yield still_held
        else:
            yield lambda: None

    def _read_ahead(self) -> None:
        """Read what a turn needs before it: others wait for as long as that takes after it only."""
        self.load()

    def _publish(self, commit: Commit, still_held: StillHeld) -> None:
        suffix = "" if self._storage.locks_exclude else f"-{uuid.uuid4().hex}"
        content = commit.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"
        still_held()
        self._storage.publish(f"{commit.commit:020d}{suffix}.json", content)

    def _next(self, change: Change, current: Head | None, now: datetime) -> Commit:
        number = current.commit + 1 if current else 1
        committed_at = later_than(current, now)
        if number % CHECKPOINT_INTERVAL:
            return commit_of(change, number=number, committed_at=committed_at)
        before, names = self._loaded()
        covers = () if self._storage.locks_exclude else names
        return commit_of(change, number=number, committed_at=committed_at, before=before, covers=covers)

    def _loaded(self) -> tuple[GroupState | None, list[str]]:
        """The group and the names of all its commits."""

        def read() -> tuple[GroupState | None, list[str]]:
            names = self.names()
            return (folded(self._name, self._effective(names)) if names else None), names

        return self.listed_again(read)

    def _effective(self, names: Sequence[str]) -> list[Commit]:
        """The newest checkpoint, and the commits that it does not cover."""
        last = newest_checkpoint(names)
        if last is None:
            self._check_gaps(names, first=1)
            self._forget_but(names)
            return list(self._cached(names).values())
        checkpoint = self._cached([last])[last]
        if checkpoint.covers is None:
            others = [name for name in names if number_of(name) > checkpoint.commit]
        else:
            others = [name for name in names if name != last and name not in set(checkpoint.covers)]
        self._check_gaps(names, first=checkpoint.commit)
        self._forget_but([last, *others])
        return [checkpoint, *self._cached(others).values()]

    def _forget_but(self, names: Iterable[str]) -> None:
        """Only what the group is made of stays in memory: each checkpoint lists all its files."""
        for gone in set(self._known).difference(names):
            # Two threads of a process may share it.
            self._known.pop(gone, None)

    def _check_gaps(self, names: Sequence[str], *, first: int) -> None:
        there = {number_of(name) for name in names}
        for number in range(first, number_of(names[-1]) + 1):
            if number not in there:
                raise FileNotFoundError(2, "missing", self._storage.where(f"{number:020d}.json"))

    def _cached(self, names: Sequence[str]) -> dict[str, Commit]:
        known = dict(self._known)
        new = self.read_all(name for name in names if name not in known)
        self._known.update(new)
        return {name: new[name] if name in new else known[name] for name in names}

    def _all(self, names: Sequence[str], kind: type[Kind]) -> dict[str, Kind]:
        if self._storage.locks_exclude:
            return {name: self._read(name, kind) for name in names}
        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(names, pool.map(lambda name: self._read(name, kind), names), strict=True))

    def _read(self, name: str, kind: type[Kind]) -> Kind:
        where = self._storage.where(name)
        try:
            commit = kind.model_validate_json(self._storage.read(name))
        except ValidationError as error:
            raise CorruptFeatures(f"{where} is not a commit of a feature group: {mistakes(error)}") from error
        if commit.format != FORMAT:
            raise CorruptFeatures(
                f"{where} has format {commit.format}, and this release reads format {FORMAT}; upgrade mlinfra"
            )
        return commit


def lock_name(group: str) -> str:
    """Name of a group's lock, in the folder of all groups."""
    return f"_locks/{group}"


def number_of(name: str) -> int:
    """The number in a commit's name."""
    return int(name[:20])


def newest_checkpoint(names: Sequence[str]) -> str | None:
    """The last of sorted names whose commit is a checkpoint."""
    return next((name for name in reversed(names) if number_of(name) % CHECKPOINT_INTERVAL == 0), None)


def later_than(head: Head | None, now: datetime) -> datetime:
    """Now, or just after the newest commit where a clock went back: the newest write must win."""
    return max(now, head.committed_at + timedelta(microseconds=1)) if head else now
