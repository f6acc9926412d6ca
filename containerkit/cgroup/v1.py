"""The driver of v1: each controller has its own hierarchy and its own names of files.  This module translates the v2 words.

A limit that v1 does not have is `Unavailable`, with the reason.  No limit is dropped in silence.
:see: https://docs.kernel.org/admin-guide/cgroup-v1/
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import CgroupError, Unavailable
from ..linux.cgroupfs import read_file
from .driver import Deadline, Write, await_ends, end_all, processes, put, put_all
from .hierarchy import Hierarchy
from .values import MAX

PERIOD, QUOTA = "cpu.cfs_period_us", "cpu.cfs_quota_us"
PATIENCE = 10.0  # seconds for the kernel to freeze, thaw and end
UNLIMITED = 1 << 62  # v1 prints "no limit" as the largest multiple of a page
MOST_BFQ = 1000
IO_FILES = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}
CANNOT = {
    "memory_high": "v1 cannot slow a group down: memory.soft_limit_in_bytes only sets which group is reclaimed first",
    "memory_low": "v1 keeps no memory from reclaim",
    "memory_min": "v1 keeps no memory from reclaim",
    "memory_oom_group": "v1's OOM killer takes one process at a time",
    "io_latency": "v1 has no latency targets",
}
SAME = {
    "cpuset_cpus": "cpuset.cpus",
    "cpuset_mems": "cpuset.mems",
    "pids_max": "pids.max",
    "cpu_idle": "cpu.idle",
    "cpu_max_burst": "cpu.cfs_burst_us",
}


class V1:
    """Controls the groups of one v1 hierarchy."""

    tasks = "tasks"

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy

    # --- limits --------------------------------------------------------------------------------------------------

    def writes(self, limits: Mapping[str, Any]) -> list[Write]:
        return [write for name, value in limits.items() if name != "memory_swap_max" for write in _lines(name, value)]

    def apply(self, path: str, limits: Mapping[str, Any], writes: list[Write]) -> None:
        """Write limits.  memsw must stay >= memory; `put_all` finds the order of the two files by trying."""
        todo = [*writes, *_swap(path, limits)]
        try:
            put_all(path, todo)
        except CgroupError as error:
            if error.errno != errno.EINVAL or not {PERIOD, QUOTA} <= dict(todo).keys():
                raise
            _without_quota(path, todo)

    def prepare(self, parent: str, controllers: Iterable[str]) -> None:
        pass

    def made(self, path: str) -> None:
        """Copy the parent's CPUs and nodes into a new cpuset, which is empty and so takes no process."""
        if "cpuset" in self.hierarchy.controllers:
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not read_file(f"{path}/{name}").strip():
                    put(path, name, read_file(f"{os.path.dirname(path)}/{name}").strip())

    def forget(self, path: str) -> None:
        pass

    def read(self, path: str, name: str) -> str:
        if name in READ:
            return READ[name](path)
        return read_file(f"{path}/{NAMES.get(name, name)}")

    # --- life and death ------------------------------------------------------------------------------------------

    def freeze(self, path: str, frozen: bool, timeout: float | None) -> None:
        """Freeze or thaw the group.  v1 does not report when the kernel is done, so look again, less and less often."""
        if "freezer" not in self.hierarchy.controllers:
            raise Unavailable("freezing", probed=f"{self.hierarchy.mount} has no freezer", remedy="mount the v1 freezer, or v2")
        state, pause, deadline = "FROZEN" if frozen else "THAWED", 0.0002, Deadline(timeout)
        put(path, "freezer.state", state)
        while read_file(f"{path}/freezer.state").strip() != state:
            if deadline.over:
                raise TimeoutError(f"{path} is not {state} after {timeout} s")
            time.sleep(pause)
            pause = min(0.01, pause * 2)

    def kill(self, path: str, *, last: bool = False) -> None:
        """Kill in rounds of freeze, SIGKILL and thaw: a frozen process cannot fork, and the next round gets a process moved in
        meanwhile.
        """
        freezer, deadline = "freezer" in self.hierarchy.controllers, Deadline(PATIENCE)
        while processes(path) and not deadline.over:
            if freezer:
                self.freeze(path, True, PATIENCE)
            end_all(path)
            if freezer:
                self.freeze(path, False, PATIENCE)
            self.wait_empty(path, 0.05)

    def wait_empty(self, path: str, timeout: float | None) -> bool:
        deadline = Deadline(timeout)
        while found := processes(path):
            if deadline.over:
                return False
            if not await_ends(found, deadline):
                time.sleep(0.0002)  # just ended and still listed, or not visible in our pid namespace
        return True


def _without_quota(path: str, writes: list[Write]) -> None:
    """Write limits after taking the group's own quota away, where the kernel refuses both orders of period and quota.

    Between the writes the quota of the group above holds alone.
    :raises CgroupError: the kernel refuses the limits themselves; period and quota are as they were
    """
    before = [(name, str(_number(path, name))) for name in (PERIOD, QUOTA)]
    put(path, QUOTA, "-1")
    try:
        put_all(path, writes)
    except BaseException:
        put(path, QUOTA, "-1")
        put_all(path, before)
        raise


def shares(weight: int) -> int:
    """Return v1's shares for a weight, by the kernel's own formula: weight 100 is 1024 shares."""
    return max(2, (weight * 1024 + 50) // 100)


def _lines(name: str, value: Any) -> list[Write]:
    if name in CANNOT:
        if name == "memory_oom_group" and not value:
            return []  # v1 kills one process at a time anyway
        raise Unavailable(f"{name} on cgroup v1", probed=CANNOT[name], remedy="boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)")
    if name in SAME:
        return [(SAME[name], str(value))]
    return TRANSLATED[name](value)


def _cpu_max(value: tuple[Any, int]) -> list[Write]:
    return [(PERIOD, str(value[1])), (QUOTA, "-1" if value[0] == MAX else str(value[0]))]


def _io_max(value: Mapping[str, Mapping[str, Any]]) -> list[Write]:
    return [
        (f"blkio.throttle.{IO_FILES[k]}_device", f"{disk} {0 if v == MAX else v}")
        for disk, rates in value.items()
        for k, v in rates.items()
    ]


def _io_weight(value: Mapping[str, int]) -> list[Write]:
    if any(weight > MOST_BFQ for weight in value.values()):
        raise Unavailable(
            f"an io_weight above {MOST_BFQ} on cgroup v1", probed=f"blkio.bfq.weight ends at {MOST_BFQ}", remedy="use 1 to 1000"
        )
    return [("blkio.bfq.weight", str(w)) if d == "default" else ("blkio.bfq.weight_device", f"{d} {w}") for d, w in value.items()]


def _devices(rules: Iterable[Any]) -> list[Write]:
    """Deny everything first, so that the rules are the whole list."""
    return [("devices.deny", "a"), *(("devices.allow", str(rule)) for rule in rules)]


TRANSLATED: dict[str, Callable[[Any], list[Write]]] = {
    "cpu_max": _cpu_max,
    "cpu_weight": lambda w: [("cpu.shares", str(shares(w)))],
    "memory_max": lambda v: [("memory.limit_in_bytes", "-1" if v == MAX else str(v))],
    "io_max": _io_max,
    "io_weight": _io_weight,
    "hugetlb": lambda v: [(f"hugetlb.{page}.limit_in_bytes", "-1" if n == MAX else str(n)) for page, n in v.items()],
    "rdma": lambda v: [("rdma.max", f"{d} " + " ".join(f"{k}={n}" for k, n in item.items())) for d, item in v.items()],
    "misc": lambda v: [("misc.max", f"{k} {n}") for k, n in v.items()],
    "devices": _devices,
}


def _swap(path: str, limits: Mapping[str, Any]) -> list[Write]:
    """Return the write for swap.  v2 counts swap alone, v1 memory and swap together."""
    swap = limits.get("memory_swap_max")
    if swap is None:
        return []
    memory = limits["memory_max"] if "memory_max" in limits else _number(path, "memory.limit_in_bytes")
    if swap == MAX:
        return [("memory.memsw.limit_in_bytes", "-1")]
    if memory == MAX or memory >= UNLIMITED:
        raise CgroupError(errno.EINVAL, "memory_swap_max needs a memory_max on cgroup v1, which can only limit the sum of both", path)
    return [("memory.memsw.limit_in_bytes", str(memory + swap))]


def _number(path: str, name: str) -> int:
    return int(read_file(f"{path}/{name}"))


# --- v2's files, composed from v1's ------------------------------------------------------------------------------


def _limit(name: str) -> Callable[[str], str]:
    def read(path: str) -> str:
        value = _number(path, name)
        return "max\n" if value < 0 or value >= UNLIMITED else f"{value}\n"

    return read


def _read_cpu_max(path: str) -> str:
    quota = _number(path, "cpu.cfs_quota_us")
    return f"{MAX if quota < 0 else quota} {_number(path, 'cpu.cfs_period_us')}\n"


def _read_cpu_stat(path: str) -> str:
    """Return cpu.stat in v2's form: v1 counts nanoseconds, v2 microseconds."""
    pairs = dict(line.split() for line in read_file(f"{path}/cpu.stat").splitlines())
    named = {
        f"{k.removesuffix('_time')}_usec" if k.endswith("_time") else k: int(v) // 1000 if k.endswith("_time") else int(v)
        for k, v in pairs.items()
    }
    return "".join(f"{key} {value}\n" for key, value in named.items())


def _read_memory_events(path: str) -> str:
    pairs = dict(line.split() for line in read_file(f"{path}/memory.oom_control").splitlines())
    return f"max {_number(path, 'memory.failcnt')}\noom_kill {pairs.get('oom_kill', 0)}\n"


NAMES = {
    "memory.current": "memory.usage_in_bytes", "memory.peak": "memory.max_usage_in_bytes", "cpu.max.burst": "cpu.cfs_burst_us",
    "cpuset.cpus.effective": "cpuset.effective_cpus", "cpuset.mems.effective": "cpuset.effective_mems", "cgroup.threads": "tasks",
}  # fmt: skip
READ: dict[str, Callable[[str], str]] = {
    "memory.max": _limit("memory.limit_in_bytes"),
    "cpu.max": _read_cpu_max,
    "cpu.stat": _read_cpu_stat,
    "cpu.weight": lambda path: f"{max(1, (_number(path, 'cpu.shares') * 100 + 512) // 1024)}\n",
    "memory.events": _read_memory_events,
}
