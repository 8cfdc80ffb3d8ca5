"""IDs of predictions that the client gave none."""

import re

from mlinfra.serving.server import ID_BYTES, IDS_AT_ONCE, NewIds


def test_each_is_another() -> None:
    new_id = NewIds()
    found = [new_id() for _ in range(3 * IDS_AT_ONCE)]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(f"[0-9a-f]{{{2 * ID_BYTES}}}", one) for one in found)


def test_the_machine_is_asked_once_for_many() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    new_id = NewIds(random)
    for _ in range(IDS_AT_ONCE + 1):
        new_id()
    assert asked == [ID_BYTES * IDS_AT_ONCE] * 2
