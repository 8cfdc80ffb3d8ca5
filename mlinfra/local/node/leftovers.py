"""Processes of pods that outlived their node."""

import os
import signal
from pathlib import Path

from mlinfra.local import procfs
from mlinfra.local.files import read_json

PROCESS_FILE = "process.json"
"""In each container's folder: ``{"pid", "startTime", "bootId"}`` of the process that leads its session."""


def stop_leftover_pods(node_folder: Path) -> None:
    """Kill every process of every container that a killed node left behind; others are not touched."""
    for path in sorted((node_folder / "pods").glob(f"**/{PROCESS_FILE}")):
        record = read_json(path)
        if record is None or record["bootId"] != procfs.boot_id():
            continue
        if procfs.start_time(record["pid"]) not in (None, record["startTime"]):
            continue
        for pid in procfs.session_members(record["pid"]):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                # It ended by itself in the meantime.
                continue
