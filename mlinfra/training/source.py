"""Which state of the user's own code a training ran with."""

import shutil
import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 10


def working_commit(folder: Path | None = None) -> str | None:
    """The commit that a folder, the working one where absent, has checked out.

    ``-dirty`` follows where tracked files differ from it. None where git is not installed, the folder is in
    no repository, has no commit, or git refuses it.
    """
    head = _git(folder, "rev-parse", "--verify", "HEAD")
    if not head:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if changed else head


def _git(folder: Path | None, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(
            # Without optional locks: looking must not disturb a git command of the user.
            [program, "--no-optional-locks", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
