"""What a reader who follows a group has not seen yet, though files are merged meanwhile."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from mlinfra.features.commits import Commit, DataFile, with_order


def added_files(
    files: Sequence[DataFile], later: Iterable[Commit], is_there: Callable[[DataFile], bool]
) -> tuple[DataFile, ...]:
    """Files with each row that commits added and that still counts, once, and with no others.

    Where a file was merged with one of before and is deleted by now, the merged one stands for it: it has
    rows of before, too.

    Args:
        files: all files of the group.
        later: the commits that the reader has not seen.
        is_there: whether a file that was merged into another can still be read.
    """
    added: dict[str, DataFile] = {}
    merged: dict[str, tuple[str, ...]] = {}
    for commit in later:
        merged |= commit.merged or {}
        added |= {file.path: file for file in with_order(commit)}
    found: list[DataFile] = []
    for file in files:
        sources = _sources(file.path, merged)
        new = [added[path] for path in sources if path in added]
        if len(new) == len(sources):
            found.append(file)
        elif new:
            found += new if all(is_there(each) for each in new) else [file]
    return tuple(sorted(found, key=lambda file: (file.order or 0, file.path)))


def _sources(path: str, merged: Mapping[str, Sequence[str]]) -> list[str]:
    """The files that one is merged from, those that were merged themselves taken apart; itself if of none."""
    found, open_ = [], [path]
    while open_:
        one = open_.pop()
        if one in merged:
            open_ += merged[one]
        else:
            found.append(one)
    return found
