"""The cache of our own objects: never older than what is known, and deletions are never missed."""

from typing import Any

import pytest

from mlinfra_operator.runtime.cache import LAST_APPLIED, ObjectCache, lean

Object = dict[str, Any]
KEY = ("team", "a")


def obj(version: int, *, name: str = "a", uid: str = "1") -> Object:
    return {
        "metadata": {"namespace": "team", "name": name, "uid": uid, "resourceVersion": str(version)},
    }


class Told:
    """A cache, and what it tells of."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.deleted: list[str] = []
        self.cache = ObjectCache(
            lambda found: self.changed.append(found["metadata"]["resourceVersion"]),
            lambda found: self.deleted.append(found["metadata"]["resourceVersion"]),
        )

    def version(self) -> str | None:
        found = self.cache.get(KEY)
        return found["metadata"]["resourceVersion"] if found else None


def test_an_older_version_never_replaces_a_newer_one() -> None:
    told = Told()
    for version in (9, 10, 10, 2):
        told.cache.observe(obj(version))
    assert told.version() == "10"
    assert told.changed == ["9", "10"]


def test_an_own_write_is_known_at_once_and_is_no_news() -> None:
    told = Told()
    told.cache.observe(obj(1))
    told.cache.wrote(obj(3))
    told.cache.observe(obj(2))
    told.cache.observe(obj(3))
    assert told.version() == "3"
    assert told.changed == ["1"]


def test_an_own_write_does_not_bring_back_what_is_deleted() -> None:
    told = Told()
    told.cache.observe(obj(1))
    told.cache.forget(obj(2))
    told.cache.wrote(obj(3))
    assert told.version() is None
    assert told.deleted == ["1"]


def test_an_own_write_to_an_object_that_was_replaced_is_dropped() -> None:
    told = Told()
    told.cache.observe(obj(5, uid="2"))
    told.cache.wrote(obj(6, uid="1"))
    assert told.version() == "5"


def test_a_new_object_of_the_same_name_tells_of_the_old_ones_end() -> None:
    told = Told()
    told.cache.observe(obj(1, uid="1"))
    told.cache.observe(obj(5, uid="2"))
    assert (told.deleted, told.version()) == (["1"], "5")
    # The late news of the old one's end does not end the new one.
    told.cache.forget(obj(4, uid="1"))
    assert told.version() == "5"


def test_what_a_list_does_not_have_is_gone() -> None:
    told = Told()
    told.cache.observe(obj(1))
    told.cache.observe(obj(2, name="b"))
    told.cache.replace([obj(3, name="b")], "4")
    assert told.version() is None
    assert told.deleted == ["1"]
    assert told.changed == ["1", "2", "3"]


def test_an_object_newer_than_a_list_stays() -> None:
    told = Told()
    told.cache.observe(obj(5))
    told.cache.replace([], "4")
    assert told.version() == "5"
    told.cache.replace([], "5")
    assert told.version() is None


def test_all_objects_can_be_looked_at_while_they_change() -> None:
    told = Told()
    told.cache.observe(obj(1))
    for found in told.cache:
        told.cache.observe(obj(2, name="b"))
        told.cache.forget(found)
    assert told.version() is None


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"annotations": {"mlinfra.io/retrain": "now"}},
        {"labels": {"a": "b"}},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_others_changed_before_our_write_is_told_by_its_answer(change: Object) -> None:
    told = Told()
    told.cache.observe(obj(1))
    answer = obj(3)
    answer["metadata"] |= change
    told.cache.wrote(answer)
    # The watch's news of that change comes after: it is old by now.
    stale = obj(2)
    stale["metadata"] |= change
    told.cache.observe(stale)
    assert told.changed == ["1", "3"]


def test_our_own_status_is_no_news() -> None:
    told = Told()
    told.cache.observe(obj(1))
    told.cache.wrote(obj(2) | {"status": {"phase": "Running"}})
    assert told.changed == ["1"]


def test_what_is_kept_has_nothing_of_how_it_was_applied() -> None:
    applied = obj(1)
    applied["metadata"] |= {
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {LAST_APPLIED: "{}", "mlinfra.io/note": "mine"},
    }
    kept = lean(applied)
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"mlinfra.io/note": "mine"}
    assert LAST_APPLIED in applied["metadata"]["annotations"]
