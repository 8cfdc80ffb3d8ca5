"""Another time of day for a process than the machine's, by libfaketime: its clock goes on from there."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from .debian_packages import unpacked

LIBRARY = "libfaketimeMT.so.1"


def clock_from(moment: datetime) -> dict[str, str]:
    """The environment of a process whose clock shows this moment when it starts.

    Its monotonic clock is the machine's, so timeouts are what they are.
    """
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME": f"@{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }


def _library() -> Path:
    root = Path("/") if shutil.which("faketime") else unpacked(["libfaketime"])
    return next((root / "usr" / "lib").glob(f"*/faketime/{LIBRARY}"))
