"""The v2 world: one hierarchy, one set of files, and the words as they are.

:see: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import CgroupError, Unavailable
from . import devices_bpf
from .driver import Deadline, Write, await_ends, end_all, processes, put, put_all
from .hierarchy import Hierarchy, read_file
from .limits import WORDS

#: Controllers that are no entry of cgroup.controllers: every v2 group has them.
BUILT_IN = frozenset({"devices", "freezer", "cpuacct"})
PATIENCE, LONG, SOON = 10.0, 1.0, 0.05  # seconds for a kill: in all, to stop everybody, and to see the killed go
ROOM = "move them first: ck.Cgroup.make_room() puts them into a leaf of their own"


class V2:
    """The unified hierarchy."""

    tasks = "cgroup.threads"

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self._filters: dict[str, int] = {}

    # --- limits --------------------------------------------------------------------------------------------------

    def writes(self, limits: Mapping[str, Any]) -> list[Write]:
        """One line a write: the kernel takes no more of the keyed files."""
        return [write for name, value in limits.items() if name != "devices" for write in _lines(name, value)]

    def apply(self, path: str, limits: Mapping[str, Any], writes: list[Write]) -> None:
        put_all(path, writes)
        if "devices" in limits:
            self._filters[path] = devices_bpf.attach(path, limits["devices"], self._filters.get(path))

    def prepare(self, parent: str, controllers: Iterable[str]) -> None:
        """:raises CgroupError: the parent holds processes itself  :raises Unavailable: the controller does not reach so far down"""
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
        """The kernel takes some controllers in a group that holds processes, and then no process in its children: refused here."""
        names, inside = ", ".join(sorted(missing)), processes(parent, recursive=False)
        if inside and os.path.exists(f"{parent}/cgroup.type"):  # the real root has none, and is exempt
            rule = f"it holds {len(inside)} processes itself (no-internal-process rule)"
            raise CgroupError(16, f"cannot pass {names} on to children: {rule}; {ROOM}", parent)
        put(parent, "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))

    def made(self, path: str) -> None:
        pass

    def forget(self, path: str) -> None:
        for gone in [group for group in list(self._filters) if group == path or group.startswith(f"{path}/")]:
            if (fd := self._filters.pop(gone, None)) is not None:  # list() and pop() are atomic: other threads have groups here too
                os.close(fd)

    def read(self, path: str, name: str) -> str:
        return read_file(f"{path}/{name}")

    # --- life and death ------------------------------------------------------------------------------------------

    def freeze(self, path: str, frozen: bool, timeout: float | None) -> None:
        put(path, "cgroup.freeze", str(int(frozen)))
        if not await_value(path, "frozen", int(frozen), timeout):
            raise TimeoutError(f"{path} is not {'frozen' if frozen else 'thawed'} after {timeout} s")

    def kill(self, path: str, *, last: bool = False) -> None:
        """With cgroup.kill the last time, and where a signal does not reach somebody; else one by one.

        Linux 6.18 kills whoever is cloned into a group that cgroup.kill was ever written to: clone3 compares the count of such
        kills in the caller's own group with that of the new one.
        """
        at_once, deadline = last, Deadline(PATIENCE)
        while (found := processes(path)) and not deadline.over:
            if at_once and _killed_at_once(path):
                return
            at_once = not self._kill_each(path)
            await_ends(found, Deadline(SOON))

    def _kill_each(self, path: str) -> bool:
        """Stopped, nobody can fork away.  One that does not stop is killed too, and what it forks in the next round.

        :return: whether all could be sent the signal
        """
        put(path, "cgroup.freeze", "1")
        try:
            with contextlib.suppress(FileNotFoundError):
                await_value(path, "frozen", 1, LONG)
            return end_all(path)
        finally:
            with contextlib.suppress(CgroupError):  # removed meanwhile
                put(path, "cgroup.freeze", "0")

    def wait_empty(self, path: str, timeout: float | None) -> bool:
        try:
            return await_value(path, "populated", 0, timeout)
        except FileNotFoundError:
            return True


def _killed_at_once(path: str) -> bool:
    """Whether there is a cgroup.kill: since Linux 5.14."""
    try:
        put(path, "cgroup.kill", "1")
    except Unavailable:
        return False
    return True


def await_value(path: str, key: str, value: int, timeout: float | None) -> bool:
    """Waits until cgroup.events says so; the kernel wakes us.  False when the time is up."""
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
        if error.errno == 19:  # removed meanwhile
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
