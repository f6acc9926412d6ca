"""The vocabulary of limits: one word for each limit, the kernel's v2 name with an underscore for the dot.

    Cgroup("lesson", memory_max="64M", cpu_max=0.5, pids_max=32)

`parse` turns a person's values into canonical ones.  v2.py and v1.py say which file gets which text.
:see: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypedDict

from ..base.frozen import frozen
from ..errors import PlanError
from .values import DeviceRule, count, disk, flag, keyed, numbers, size, word

__all__ = ["DEVICES", "WORDS", "GroupLimits", "parse"]

PERIOD = 100_000  # microseconds, the kernel's own default
LEAST_QUOTA, MOST_PERIOD = 1_000, 1_000_000  # microseconds; the kernel takes no smaller quota and no longer period
IO_KEYS = ("rbps", "wbps", "riops", "wiops")

#: The devices that every program may expect: null, zero, full, random, urandom, tty, ptmx and terminals.
DEVICES = ("c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm")

Device = str | os.PathLike[str]
Bytes = int | str


class GroupLimits(TypedDict, total=False):
    """Every limit that a `Cgroup` takes.  "max" means no limit; None means that the file is not written.

    :ivar cpu_max: cores, as a float; or (quota, period) in microseconds; or "max"
    :ivar cpu_max_burst: microseconds of unused quota that may be saved up for later
    :ivar cpu_weight: share of a busy CPU, 1 to 10000; 100 unless given
    :ivar cpu_idle: whether the group runs only while no other group wants the CPU
    :ivar cpuset_cpus, cpuset_mems: CPUs to run on and NUMA nodes to take memory from: "0-3,7", or the numbers
    :ivar memory_max: bytes at which the kernel reclaims and then calls the OOM killer
    :ivar memory_high: bytes at which the kernel reclaims and slows the group down, but never kills
    :ivar memory_low, memory_min: bytes that the kernel does not reclaim: low, while other groups have memory to reclaim; min, never
    :ivar memory_swap_max: bytes of swap alone
    :ivar memory_oom_group: whether the OOM killer kills all processes of the group at once
    :ivar pids_max: processes and threads
    :ivar io_max: disk -> {rbps, wbps, riops, wiops}: bytes and operations a second
    :ivar io_weight: share of a busy disk, 1 to 10000; or disk -> share
    :ivar io_latency: disk -> microseconds: the wait that the kernel aims to stay below
    :ivar hugetlb: page size, as "2MB" -> bytes
    :ivar rdma: device -> {hca_handle, hca_object}
    :ivar misc: resource -> number
    :ivar devices: the devices the group may use, all others are denied: "c 1:3 rwm" or "/dev/null rw"
    """

    cpu_max: float | tuple[int | str, int] | str | None
    cpu_max_burst: int | None
    cpu_weight: int | None
    cpu_idle: bool | None
    cpuset_cpus: str | Iterable[int] | None
    cpuset_mems: str | Iterable[int] | None
    memory_max: Bytes | None
    memory_high: Bytes | None
    memory_low: Bytes | None
    memory_min: Bytes | None
    memory_swap_max: Bytes | None
    memory_oom_group: bool | None
    pids_max: int | str | None
    io_max: Mapping[Device, Mapping[str, Bytes]] | None
    io_weight: int | Mapping[Device, int] | None
    io_latency: Mapping[Device, int] | None
    hugetlb: Mapping[str, Bytes] | None
    rdma: Mapping[str, Mapping[str, int | str]] | None
    misc: Mapping[str, int | str] | None
    devices: Iterable[Any] | None


@frozen
class Word:
    """One limit: its controller, its v2 file, and the parser of its value."""

    controller: str
    file: str
    parse: Callable[[Any], Any]


def _cpu_max(value: Any) -> tuple[Any, int]:
    """Return (quota, period) in microseconds; the quota "max" is no limit."""
    if value == "max":
        return "max", PERIOD
    if isinstance(value, tuple | list) and len(value) == 2:
        period = int(count(value[1], least=LEAST_QUOTA, most=MOST_PERIOD, what="a period in microseconds"))
        return count(value[0], least=LEAST_QUOTA, what="a quota in microseconds, 1000 or more"), period
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise PlanError(f'not a number of cores, (quota, period) in microseconds, or "max": {value!r}')
    period = PERIOD if value * PERIOD >= LEAST_QUOTA else MOST_PERIOD
    return count(round(value * period), least=LEAST_QUOTA, what="at least 0.001 cores, as a quota of 1000 microseconds or more"), period


def _io_max(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value or not set(value) <= set(IO_KEYS):
        raise PlanError(f"wants one or more of {', '.join(IO_KEYS)}, not {value!r}")
    parsed = {key: size(rate) if key.endswith("bps") else count(rate) for key, rate in value.items()}
    if 0 in parsed.values():
        raise PlanError(f"a rate of 0 would stop for ever, and the kernel refuses it: {value!r}")
    return parsed


def _io_weight(value: Any) -> dict[str, Any]:
    weight = partial(count, least=1, most=10_000, what="a weight")
    return keyed(value, lambda d: d if d == "default" else disk(d), weight) if isinstance(value, Mapping) else {"default": weight(value)}


def _devices(value: Any) -> tuple[DeviceRule, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise PlanError(f'devices wants a list of rules, as ["c 1:3 rwm"], not {value!r}')
    return tuple(DeviceRule.parse(rule) for rule in value)


def _page(value: Any) -> str:
    """Return the size of a huge page in the kernel's spelling: 64KB, 2MB, 1GB."""
    return word(value).upper()


_CPUS, _NODES = "/sys/devices/system/cpu/possible", "/sys/devices/system/node/possible"
WORDS: dict[str, Word] = {
    # Limits are written in this order: the kernel checks a later one against an earlier one.
    "cpuset_cpus": Word("cpuset", "cpuset.cpus", partial(numbers, possible=_CPUS)),
    "cpuset_mems": Word("cpuset", "cpuset.mems", partial(numbers, possible=_NODES)),
    "cpu_max": Word("cpu", "cpu.max", _cpu_max),
    "cpu_max_burst": Word("cpu", "cpu.max.burst", partial(count, most=LEAST_QUOTA * 10**9, what="microseconds")),
    "cpu_weight": Word("cpu", "cpu.weight", partial(count, least=1, most=10_000, what="a weight")),
    "cpu_idle": Word("cpu", "cpu.idle", flag),
    "memory_max": Word("memory", "memory.max", size),
    "memory_high": Word("memory", "memory.high", size),
    "memory_low": Word("memory", "memory.low", size),
    "memory_min": Word("memory", "memory.min", size),
    "memory_swap_max": Word("memory", "memory.swap.max", size),
    "memory_oom_group": Word("memory", "memory.oom.group", flag),
    "pids_max": Word("pids", "pids.max", partial(count, most=(1 << 63) - 1)),
    "io_max": Word("io", "io.max", partial(keyed, key=disk, item=_io_max)),
    "io_weight": Word("io", "io.weight", _io_weight),
    "io_latency": Word("io", "io.latency", partial(keyed, key=disk, item=count)),
    "hugetlb": Word("hugetlb", "hugetlb.{}.max", partial(keyed, key=_page, item=size)),
    "rdma": Word("rdma", "rdma.max", partial(keyed, key=word, item=partial(keyed, key=word, item=count))),
    "misc": Word("misc", "misc.max", partial(keyed, key=word, item=count)),
    "devices": Word("devices", "", _devices),
}


#: Words of docker, podman, systemd and of newcomers -> the limit, and its units where they differ.
MEANT = {
    **dict.fromkeys("memory mem ram m memory_limit mem_limit limit_memory memory_bytes max_memory memorymax".split(), "memory_max"),
    **dict.fromkeys("cpu cpus c cores cpu_limit cpu_count ncpu nano_cpus".split(), "cpu_max, in cores as 0.5"),
    **dict.fromkeys("cpu_quota cpu_period cpu_rt_runtime".split(), "cpu_max=(quota, period), in microseconds"),
    **dict.fromkeys("cpu_shares shares cpu_share".split(), "cpu_weight, 1 to 10000, of which 100 is what docker's 1024 shares are"),
    **dict.fromkeys("cpuset cpuset_cpu cpu_set affinity".split(), "cpuset_cpus"),
    **dict.fromkeys("memory_reservation mem_reservation".split(), "memory_low, bytes that are kept for it, which limit nothing"),
    **dict.fromkeys("memory_swap memswap memswap_limit swap swap_limit swap_max".split(),
                    "memory_swap_max, of swap alone: docker's --memory-swap is the sum of both"),
    **dict.fromkeys("pids pid pids_limit max_pids nproc processes tasks tasks_max threads".split(), "pids_max"),
    **dict.fromkeys("io blkio bps iops io_bps io_limit device_read_bps device_write_bps device_read_iops device_write_iops".split(),
                    'io_max={disk: {"rbps": ..., "wbps": ..., "riops": ..., "wiops": ...}}'),
    **dict.fromkeys("blkio_weight io_share".split(), "io_weight"),
    **dict.fromkeys("device gpus".split(), "devices"),
    "oom_kill_disable": "memory_high, which slows down and never kills",
    "oom_group": "memory_oom_group",
}  # fmt: skip
ELSEWHERE = {
    **dict.fromkeys(
        "ulimit ulimits nofile rlimits fsize stack core memlock".split(), "a limit of each process is ck.Rlimits(nofile=1024, ...)"
    ),
    **dict.fromkeys("timeout time_limit".split(), "run takes timeout=seconds"),
    **dict.fromkeys("shm_size shm".split(), "/dev/shm is mounts.Dev(shm_size=...)"),
}
KEEP = {"memory_min", "memory_low"}  # memory kept from reclaim: the opposite of a limit


def _meant(name: str) -> str:
    """Suggest the limit that an unknown word may stand for."""
    import difflib

    word = name.lower().replace(".", "_").replace("-", "_")
    if word in ELSEWHERE:
        return f": {ELSEWHERE[word]}"
    if word in MEANT or word in WORDS:
        return f": did you mean {MEANT.get(word, word)}?"
    near = difflib.get_close_matches(word, WORDS, 3)
    if near and near[0] in KEEP:  # never the only advice: memory_min would lift a limit
        return f": did you mean memory_max, the limit, or {near[0]}, which keeps memory for it?"
    return f": did you mean {near[0]}?" if near else f"; there are {', '.join(WORDS)}"


def check_names(names: Iterable[str]) -> None:
    """Check the names of limits, without reading this machine as `parse` does.  :raises PlanError: an unknown name"""
    for name in names:
        if name not in WORDS:
            raise PlanError(f"no limit is called {name!r}{_meant(name)}")


def parse(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return canonical values, in the order in which they are written.

    :raises PlanError: an unknown word, or a value that cannot be
    """
    check_names(limits)
    found = {name: _parsed(name, limits[name]) for name in WORDS if limits.get(name) is not None}
    quota = found.get("cpu_max", ("max",))[0]
    if quota != "max" and found.get("cpu_max_burst", 0) > quota:
        raise PlanError(f"cpu_max_burst={found['cpu_max_burst']} is more than the quota of {quota} microseconds: it can be at most as much")
    return found


def _parsed(name: str, value: Any) -> Any:
    try:
        return WORDS[name].parse(value)
    except PlanError as error:
        raise PlanError(f"{name}: {error}") from None
