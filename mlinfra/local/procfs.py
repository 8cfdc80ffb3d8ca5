"""What Linux tells about processes: enough to know one again by more than its number."""

from pathlib import Path

PROC = Path("/proc")
ZOMBIE_STATES = frozenset("ZX")


def boot_id() -> str:
    """An identifier that changes with each boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None if it does not run (any more)."""
    fields = _stat(pid)
    return None if fields is None or _has_ended(fields) else int(fields[19])


def start_time_of_child(pid: int) -> int:
    """When a child that was not waited for was started, even if it has ended already."""
    fields = _stat(pid)
    if fields is None:
        raise ProcessLookupError(f"no process {pid}")
    return int(fields[19])


def session_members(session: int) -> list[int]:
    """The running processes of a session, named by its leader's pid."""
    members = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        fields = _stat(int(entry.name))
        if fields and int(fields[3]) == session and not _has_ended(fields):
            members.append(int(entry.name))
    return members


def _has_ended(fields: list[str]) -> bool:
    """Whether no thread is left: the first one may end before others, which still hold files and ports."""
    return fields[0] in ZOMBIE_STATES and int(fields[17]) <= 1


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` from the state on."""
    try:
        content = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in parentheses and may itself hold blanks and parentheses.
    return content.rpartition(")")[2].split()
