"""The driver of v2: one hierarchy, one set of files, and the words of `GroupLimits` unchanged.

:see: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import CgroupError, Unavailable
from ..linux.cgroupfs import read_file
from . import devices_bpf
from .driver import Deadline, Write, await_ends, end_all, processes, put, put_all
from .hierarchy import Hierarchy
from .limits import WORDS

#: Controllers that every v2 group has, without an entry in cgroup.controllers.
BUILT_IN = frozenset({"devices", "freezer", "cpuacct"})
PATIENCE, LONG, SOON = 10.0, 1.0, 0.05  # seconds for a kill: for all of it, for the freeze, and for the killed to go
ROOM = "move them first: ck.Cgroup.make_room() puts them into a leaf"


class V2:
    """Controls the groups of the unified hierarchy."""

    tasks = "cgroup.threads"

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self._filters: dict[str, int] = {}

    # --- limits --------------------------------------------------------------------------------------------------

    def writes(self, limits: Mapping[str, Any]) -> list[Write]:
        """Return one write for each line: the kernel takes no more at once in the files with keys."""
        return [write for name, value in limits.items() if name != "devices" for write in _lines(name, value)]

    def apply(self, path: str, limits: Mapping[str, Any], writes: list[Write]) -> None:
        put_all(path, writes)
        if "devices" in limits:
            self._filters[path] = devices_bpf.attach(path, limits["devices"], self._filters.get(path))

    def prepare(self, parent: str, controllers: Iterable[str]) -> None:
        """Enable controllers for the children of `parent`, in each group above it where that is missing.

        :raises CgroupError: the parent holds processes itself
        :raises Unavailable: no group above passes the controller on
        """
        wanted = set(controllers) - BUILT_IN
        if not wanted:
            return
        missing = wanted - set(read_file(f"{parent}/cgroup.subtree_control").split())
        if missing:
            self._reach(parent, missing)
            self._enable(parent, missing)

    def _reach(self, parent: str, wanted: set[str]) -> None:
        lacking = wanted - set(read_file(f"{parent}/cgroup.controllers").split())
        if not lacking:
            return
        above = os.path.dirname(parent)
        if parent == self.hierarchy.mount or not os.access(f"{above}/cgroup.subtree_control", os.W_OK):
            remedy = f"enable it above (systemd: Delegate={' '.join(sorted(lacking))}), or in {above}/cgroup.subtree_control"
            raise Unavailable(f"the cgroup controller {min(lacking)} below {parent}", probed=f"{parent}/cgroup.controllers", remedy=remedy)
        self.prepare(above, lacking)

    def _enable(self, parent: str, missing: set[str]) -> None:
        """Enable controllers, unless the parent holds processes: the kernel would take some then, and let no process into the children."""
        names, inside = ", ".join(sorted(missing)), processes(parent, recursive=False)
        if inside and os.path.exists(f"{parent}/cgroup.type"):  # the root cgroup has no cgroup.type, and is exempt
            rule = f"it holds {len(inside)} processes itself (no-internal-process rule)"
            raise CgroupError(errno.EBUSY, f"cannot pass {names} on to children: {rule}; {ROOM}", parent)
        put(parent, "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))

    def made(self, path: str) -> None:
        pass

    def forget(self, path: str) -> None:
        for gone in [group for group in list(self._filters) if group == path or group.startswith(f"{path}/")]:
            if (fd := self._filters.pop(gone, None)) is not None:  # list() and pop() are atomic: other threads add filters too
                os.close(fd)

    def read(self, path: str, name: str) -> str:
        return read_file(f"{path}/{name}")

    # --- life and death ------------------------------------------------------------------------------------------

    def freeze(self, path: str, frozen: bool, timeout: float | None) -> None:
        put(path, "cgroup.freeze", str(int(frozen)))
        if not await_value(path, "frozen", int(frozen), timeout):
            raise TimeoutError(f"{path} is not {'frozen' if frozen else 'thawed'} after {timeout} s")

    def kill(self, path: str, *, last: bool = False) -> None:
        """Kill by signals, one process after the other.  Write to cgroup.kill only for the last kill, or where a signal does not arrive.

        Linux 6.18 kills a child that is cloned into a group whose cgroup.kill was ever written: clone3 compares the count of such kills
        in the caller's own group with that of the new one.
        """
        at_once, deadline = last, Deadline(PATIENCE)
        while (found := processes(path)) and not deadline.over:
            if at_once and _killed_at_once(path):
                return
            at_once = not self._kill_each(path)
            await_ends(found, Deadline(SOON))

    def _kill_each(self, path: str) -> bool:
        """Freeze the tree, so that no process can fork away, and signal each process.

        A process that does not freeze may fork; the next round kills its children.

        :return: whether every process could be sent the signal
        """
        put(path, "cgroup.freeze", "1")
        try:
            with contextlib.suppress(FileNotFoundError):
                await_value(path, "frozen", 1, LONG)
            return end_all(path)
        finally:
            with contextlib.suppress(CgroupError):  # the group was removed meanwhile
                put(path, "cgroup.freeze", "0")

    def wait_empty(self, path: str, timeout: float | None) -> bool:
        try:
            return await_value(path, "populated", 0, timeout)
        except FileNotFoundError:
            return True


def _killed_at_once(path: str) -> bool:
    """Write to cgroup.kill.  Return False if the kernel, before Linux 5.14, has no such file."""
    try:
        put(path, "cgroup.kill", "1")
    except Unavailable:
        return False
    return True


def await_value(path: str, key: str, value: int, timeout: float | None) -> bool:
    """Wait until cgroup.events has the value; the kernel wakes us.  Return False when the time is up."""
    deadline, line = Deadline(timeout), f"{key} {value}\n".encode()
    fd = os.open(f"{path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        while line not in os.pread(fd, 4096, 0):
            if deadline.over:
                return False
            poller.poll(deadline.milliseconds)
        return True
    except OSError as error:
        if error.errno == errno.ENODEV:  # the group was removed meanwhile
            return key == "populated"
        raise
    finally:
        os.close(fd)


def _lines(name: str, value: Any) -> list[Write]:
    file = WORDS[name].file
    match name:
        case "cpu_max":
            return [(file, f"{value[0]} {value[1]}")]
        case "hugetlb":
            return [(file.format(page), str(size)) for page, size in value.items()]
        case "io_max" | "rdma":
            return [(file, f"{key} " + " ".join(f"{k}={v}" for k, v in item.items())) for key, item in value.items()]
        case "io_latency":
            return [(file, f"{key} target={item}") for key, item in value.items()]
        case "io_weight" | "misc":
            return [(file, f"{key} {item}") for key, item in value.items()]
    return [(file, str(value))]
