"""Control groups as directories: who is in one and below it, and how all of it ends, in a hierarchy of either version.

:see: cgroups(7)
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time

__all__ = ["end", "end_all", "processes", "read_file", "remove", "tree"]

LEAF = 2  # links of a directory without directories: the kernel counts them in a group as on a disk
PATIENCE, PAUSE = 10.0, 0.001  # seconds
STOP = (("cgroup.freeze", "1", "0"), ("freezer.state", "FROZEN", "THAWED"))  # version 2, version 1
GONE = (errno.ENOENT, errno.ENODEV)


def tree(path: str) -> list[str]:
    """Return the directories of a group and of all below it, the deepest first."""
    try:
        if os.stat(path).st_nlink == LEAF:
            return [path]
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [*(directory for child in below for directory in tree(child)), path]


def processes(path: str, name: str = "cgroup.procs", *, recursive: bool = True) -> list[int]:
    """Return the ids that a file lists; of groups gone meanwhile, none.  0 stands for one that our pid namespace cannot see."""
    found: list[int] = []
    for directory in tree(path) if recursive else [path]:
        try:
            found += map(int, read_file(f"{directory}/{name}").split())
        except OSError as error:
            if error.errno not in GONE:
                raise
    return found


def end_all(path: str) -> bool:
    """Send SIGKILL to each process of the tree.  Return False when one cannot be reached: it is not ours to signal, or we cannot see it."""
    missed = [pid for pid in processes(path) if not _ended(pid)]
    return not missed


def _ended(pid: int) -> bool:
    """Kill one process; return False where we cannot.  A process outside of our pid namespace is listed as 0: kill(0) would be us."""
    try:
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return pid > 0


def end(path: str) -> None:
    """Kill the processes of a group that gets no new ones, and remove it and the groups below it.

    :raises OSError: something of it stays
    """
    deadline = time.monotonic() + PATIENCE
    while processes(path) and time.monotonic() < deadline:
        if not _put(path, "cgroup.kill", "1"):  # Linux 5.14
            _kill_each(path)
        time.sleep(PAUSE)
    remove(path, 2.0)


def _kill_each(path: str) -> None:
    """Stop all processes, so that none can fork, and kill each.  Children of one that did not stop in time die in the next round."""
    for name, stopped, going in STOP:
        if _put(path, name, stopped):
            time.sleep(PAUSE)
            end_all(path)
            _put(path, name, going)
            return
    end_all(path)


def remove(path: str, patience: float) -> None:
    """Remove a group and those below it.  One that has just become empty may still be busy for a moment.

    :param patience: seconds for each directory
    :raises OSError: it is in use
    """
    for directory in tree(path):
        deadline = time.monotonic() + patience
        while True:
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)


def _put(path: str, name: str, text: str) -> bool:
    """Write one file of a group.  Return False where this hierarchy has none of that name."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
            return True
        finally:
            os.close(fd)
    return False


def read_file(path: str) -> str:
    """Read a small file of the kernel's whole, in as few calls as possible."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while piece := os.read(fd, 1 << 16):
            data += piece
        return data.decode(errors="surrogateescape")
    finally:
        os.close(fd)
