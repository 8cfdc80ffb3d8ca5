"""Runs one container's command and writes down how it ended: started as a script, imports nothing heavy.

Usage: python -I -S shim.py LAUNCH_FILE
       python -I -S shim.py --enter PID FOLDER PROGRAM [ARGUMENT ...]

It outlives the agent, so that an exit while the agent is away is not lost. It is the session's leader and
the reaper of everything the command leaves behind: nothing of a container survives its main process.
SIGTERM is passed on to the command; SIGUSR1 kills all of it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Loaded by type checkers only: it would double the time to start.
    from typing import Any, NoReturn

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER = 0x00020000, 0x04000000, 0x10000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
ST_FLAGS = {2: MS_NOSUID, 4: MS_NODEV, 8: MS_NOEXEC}
"""Flags of a mount that a user namespace may not take away, as statvfs and mount name them."""
EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE = 127, 126

libc = ctypes.CDLL(None, use_errno=True)


def main(launch_file: str) -> None:
    with open(launch_file) as file:
        launch = json.load(file)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    record(launch["processFile"], {"pid": os.getpid(), "startTime": start_time(), "bootId": boot_id()})
    failure_read, failure_write = os.pipe2(os.O_CLOEXEC)
    started = time.time()
    child = os.fork()
    if child == 0:
        become(launch, failure_write)
    os.close(failure_write)
    signal.signal(signal.SIGTERM, lambda *_: send(child, signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda *_: kill_once())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    failure = os.read(failure_read, 4096).decode()
    if not failure:
        record(launch["startedFile"], {"startedAt": started, "pid": child})
    status = wait_for(child)
    kill_descendants()
    code = os.waitstatus_to_exitcode(status)
    ended = {
        "exitCode": code if code >= 0 else 128 - code,
        "signal": -code if code < 0 else 0,
        "startedAt": started,
        "finishedAt": time.time(),
        "failure": failure,
    }
    record(launch["exitFile"], ended)


def enter(pid: int, folder: str, argv: list[str]) -> NoReturn:
    """Turn into a command beside a running one, in its namespaces where it has some of its own."""
    try:
        for kind in ("user", "mnt", "uts"):
            theirs = f"/proc/{pid}/ns/{kind}"
            if os.readlink(theirs) == os.readlink(f"/proc/self/ns/{kind}"):
                continue
            descriptor = os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
            check(libc.setns(descriptor, 0), f"setns {kind}")
        os.chdir(folder)
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror or error}", file=sys.stderr)
        sys.exit(EXIT_NOT_FOUND if error.errno == errno.ENOENT else EXIT_NOT_EXECUTABLE)


def wait_for(child: int) -> int:
    """Reap everything until the command itself has ended."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def become(launch: dict[str, Any], failure_write: int) -> NoReturn:
    """Turn into the command; what prevents it goes through the pipe."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if launch["isolated"]:
            isolate(launch["mounts"], launch["stage"], launch["hostname"])
        os.chdir(launch["cwd"])
        os.execvpe(launch["argv"][0], launch["argv"], launch["env"])
    except OSError as error:
        os.write(failure_write, f"{launch['argv'][0]}: {error.strerror or error}".encode()[:4000])
        os._exit(EXIT_NOT_FOUND if error.errno == errno.ENOENT else EXIT_NOT_EXECUTABLE)


def isolate(mounts: list[dict[str, Any]], stage: str, hostname: str) -> None:
    """Namespaces of our own, with each mount's source at its target, and a host name."""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS), "unshare")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{uid} {uid} 1")
    write("/proc/self/gid_map", f"{gid} {gid} 1")
    check(libc.sethostname(hostname.encode(), len(hostname.encode())), "sethostname")
    mount(None, "/", MS_REC | MS_PRIVATE)
    for number, item in enumerate(mounts):
        make_target(item["target"], os.path.isdir(item["source"]), os.path.join(stage, str(number)))
        mount(item["source"], item["target"], MS_BIND | MS_REC)
        if item["readOnly"]:
            kept = os.statvfs(item["target"]).f_flag
            flags = sum(flag for bit, flag in ST_FLAGS.items() if kept & bit)
            mount(None, item["target"], MS_BIND | MS_REMOUNT | MS_RDONLY | flags)


def make_target(target: str, is_folder: bool, stage: str) -> None:
    """Have a path to mount on; where it is missing, its folder is covered by a copy made of mounts."""
    target = os.path.normpath(target)
    if os.path.exists(target):
        return
    ancestor = os.path.dirname(target)
    while not os.path.isdir(ancestor):
        ancestor = os.path.dirname(ancestor)
    os.makedirs(stage, exist_ok=True)
    if ancestor == "/":
        cover_root(stage)
    else:
        cover(os.path.realpath(ancestor), stage)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if is_folder:
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))


def cover_root(stage: str) -> None:
    """Go to a new root that holds the old one's entries and can hold more."""
    mount("tmpfs", stage, MS_NOSUID | MS_NODEV, "tmpfs")
    mirror("/", stage)
    check(libc.chroot(stage.encode()), "chroot")
    os.chdir("/")


def cover(folder: str, stage: str) -> None:
    """Replace a folder by one that holds the same entries and can hold more."""
    mount(folder, stage, MS_BIND | MS_REC)
    mount("tmpfs", folder, MS_NOSUID | MS_NODEV, "tmpfs")
    mirror(stage, folder)
    check(libc.umount2(stage.encode(), MNT_DETACH), "umount")


def mirror(source: str, target: str) -> None:
    for entry in os.scandir(source):
        place = os.path.join(target, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
            continue
        if entry.is_dir():
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(entry.path, place, MS_BIND | MS_REC)


def mount(source: str | None, target: str, flags: int, kind: str | None = None) -> None:
    encoded = [text.encode() if text else None for text in (source, target, kind)]
    check(libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), None), f"mount {target}")


def check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def kill_once() -> None:
    for pid in descendants(os.getpid()):
        send(pid, signal.SIGKILL)


def kill_descendants() -> None:
    """End and reap every process below this one; new ones may appear meanwhile, so look again."""
    while descendants(os.getpid()):
        kill_once()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = [int(child) for child in file.read().split()]
    except OSError:
        return found
    for child in children:
        found += [child, *descendants(child)]
    return found


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def record(path: str, value: dict[str, Any]) -> None:
    with open(f"{path}.tmp", "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.tmp", path)


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def start_time() -> int:
    with open("/proc/self/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


if __name__ == "__main__":
    if sys.argv[1] == "--probe":
        # Whether this machine lets an unprivileged process have namespaces of its own.
        isolate([], "", "probe")
    elif sys.argv[1] == "--enter":
        enter(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        main(sys.argv[1])
