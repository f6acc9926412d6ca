"""Live: the operations on a group that exists: list, move, freeze and thaw its processes, read and write its files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from typing import Protocol

from ..errors import CgroupError, Unavailable
from . import stats
from .driver import CgroupDriver, processes, put
from .events import Source
from .hierarchy import Hierarchy
from .paths import driver_of
from .pressure import RESOURCES, Pressure, Trigger, parse, unavailable

CORE_PREFIXES = {"cgroup", "tasks", "freezer"}
V1_PREFIXES = {"blkio": "io"}


class HasPid(Protocol):
    """A process, as `containerkit.Process` or `subprocess.Popen`."""

    pid: int


class Live:
    """The half of `Cgroup` that needs the group's directories."""

    _paths: Mapping[Hierarchy, str]

    def _made(self) -> Mapping[Hierarchy, str]:
        raise NotImplementedError

    def _main(self) -> tuple[CgroupDriver, str]:
        hierarchy, path = next(iter(self._made().items()))
        return driver_of(hierarchy), path

    # --- its processes -------------------------------------------------------------------------------------------

    def procs(self, *, recursive: bool = False) -> list[int]:
        """List the ids of the group's processes; with `recursive` also of the groups below.

        0 stands for a process that our pid namespace cannot see.
        """
        return processes(self._main()[1], recursive=recursive)

    def threads(self, *, recursive: bool = False) -> list[int]:
        """List the ids of the group's threads; with `recursive` also of the groups below."""
        driver, path = self._main()
        return processes(path, driver.tasks, recursive=recursive)

    def move(self, process: int | HasPid) -> None:
        """Move a process, with all its threads, into the group, in every hierarchy that the group is in.

        :raises CgroupError: no such process, or not allowed, or (v2) the group passes controllers on to its children
        """
        pid = process if isinstance(process, int) else process.pid
        for path in self._made().values():
            self._move_in(path, pid)

    def _move_in(self, path: str, pid: int) -> None:
        put(path, "cgroup.procs", str(pid))

    def wait_empty(self, timeout: float | None = None) -> bool:
        """Wait until no process is left in the group or below.  Return False when `timeout` seconds are up."""
        return all(driver_of(hierarchy).wait_empty(path, timeout) for hierarchy, path in self._made().items())

    # --- stopping and continuing ---------------------------------------------------------------------------------

    def freeze(self, timeout: float | None = 10.0) -> None:
        """Stop every process in the group and below; return when all stand still.  :raises TimeoutError: a process does not stop"""
        driver, path = self._main()
        driver.freeze(path, True, timeout)

    def thaw(self, timeout: float | None = 10.0) -> None:
        """Let every process in the group go on."""
        driver, path = self._main()
        driver.freeze(path, False, timeout)

    @contextlib.contextmanager
    def frozen(self, timeout: float | None = 10.0) -> Iterator[None]:
        """Freeze the group as long as the `with` lasts."""
        try:
            self.freeze(timeout)
            yield
        finally:
            self.thaw(timeout)

    # --- its files -----------------------------------------------------------------------------------------------

    def read(self, file: str) -> str:
        """Return the text of a file, by its v2 name, without the last newline.  On v1, v1's value in v2's form.

        :raises Unavailable: no such file
        """
        driver, path = self._directory_of(file)
        try:
            return driver.read(path, file).removesuffix("\n")
        except FileNotFoundError as error:
            raise Unavailable(
                f"the file {file}", probed=error.filename or f"{path}/{file}", remedy="a newer kernel, or one built with it"
            ) from None

    def write(self, file: str, text: str) -> None:
        """Write text to a file unchanged.  :raises Unavailable: no such file  :raises CgroupError: the kernel refuses"""
        put(self._directory_of(file)[1], file, text)

    def _directory_of(self, file: str) -> tuple[CgroupDriver, str]:
        """Return the directory that holds a file, and its driver, by the controller in the file's name."""
        prefix = file.partition(".")[0]
        controller = V1_PREFIXES.get(prefix, prefix)
        if "/" in file:
            raise CgroupError(errno.EINVAL, f"not a file of a group: {file!r}")
        for hierarchy, path in self._made().items():
            if controller in hierarchy.controllers:
                return driver_of(hierarchy), path
        driver, path = self._main()
        if controller not in CORE_PREFIXES and not os.path.exists(f"{path}/{file}"):
            raise Unavailable(
                f"the file {file}", probed=f"{path}/{file}", remedy=f'Cgroup(..., controllers=["{controller}"]) counts without a limit'
            )
        return driver, path

    def _text(self, file: str) -> str | None:
        """Return a file's text, or None."""
        with contextlib.suppress(Unavailable, OSError):
            return self.read(file)
        return None

    # --- numbers -------------------------------------------------------------------------------------------------

    def stat(self) -> stats.Stat:
        """Return the group's use of CPU, memory, disks and tasks, and the events it met."""
        return stats.Stat(self._cpu(), self._memory(), self._io(), self._pids())

    def memory_peak(self) -> int | None:
        """Return the most bytes that were in use since the group was made; None where nothing counts them."""
        return stats.number(self._text("memory.peak"))

    def _cpu(self) -> stats.CpuStat | None:
        """Return CPU numbers: v2 counts time in every group; v1 keeps time in one file and throttling in another."""
        texts = [driver.read(path, "cpu.stat") for driver, path in self._with("cpu.stat")]
        nanoseconds = stats.number(self._text("cpuacct.usage")) if not any("usage_usec" in text for text in texts) else None
        if nanoseconds is not None:
            texts.append(f"usage_usec {nanoseconds // 1000}\n")
        return stats.cpu("".join(texts)) if texts else None

    def _with(self, file: str) -> Iterator[tuple[CgroupDriver, str]]:
        for hierarchy, path in self._made().items():
            if os.path.exists(f"{path}/{file}"):
                yield driver_of(hierarchy), path

    def _memory(self) -> stats.MemoryStat | None:
        current = stats.number(self._text("memory.current"))
        if current is None:
            return None
        events, details = (stats.flat(self._text(f"memory.{name}") or "") for name in ("events", "stat"))
        return stats.MemoryStat(current, self.memory_peak(), stats.number(self._text("memory.swap.current")), events, details)

    def _io(self) -> dict[str, stats.IoStat] | None:
        text = self._text("io.stat")
        return None if text is None else stats.io(text)

    def _pids(self) -> stats.PidsStat | None:
        current = stats.number(self._text("pids.current"))
        if current is None:
            return None
        return stats.PidsStat(current, stats.number(self._text("pids.peak")), stats.flat(self._text("pids.events") or "").get("max", 0))

    # --- pressure and events -------------------------------------------------------------------------------------

    def _pressure_file(self, resource: str) -> str:
        if resource not in RESOURCES:
            raise CgroupError(errno.EINVAL, f"pressure is of {', '.join(RESOURCES)}, not {resource!r}")
        path = next((path for hierarchy, path in self._made().items() if hierarchy.version == 2), "")
        if not os.path.exists(f"{path}/{resource}.pressure"):
            raise unavailable(f"{path or 'no v2 hierarchy'}/{resource}.pressure")
        return f"{path}/{resource}.pressure"

    def pressure(self, resource: str) -> Pressure:
        """Return how much of the time the group's tasks waited for "cpu", "memory", "io" or "irq".  :raises Unavailable: no PSI"""
        with open(self._pressure_file(resource), encoding="ascii") as file:
            return parse(file.read())

    def trigger(self, resource: str, stall: float, window: float = 2.0, *, full: bool = False) -> Trigger:
        """Return a trigger that wakes when the group's tasks waited more than `stall` seconds within `window` seconds.

        :param window: 0.5 to 10 seconds; without CAP_SYS_RESOURCE a multiple of 2
        :param full: count only the time in which all tasks waited at once
        """
        return Trigger(self._pressure_file(resource), stall, window, full)

    def _sources(self) -> Iterator[tuple[str, Source]]:
        """Yield pairs: an event's name, and the file that shows it."""
        for hierarchy, path in self._made().items():
            memory, pids, events = (f"{path}/{name}.events" for name in ("memory", "pids", "cgroup"))
            if os.path.exists(memory):
                yield from ((name, Source(memory)) for name in Source(memory).values())
            elif hierarchy.version == 1 and "memory" in hierarchy.controllers:
                source = Source(f"{path}/memory.oom_control", {"oom_kill": "oom_kill"}, oom=True)
                yield from (("oom", source), ("oom_kill", source))
            if hierarchy.version == 2 and os.path.exists(pids):
                yield "pids", Source(pids, {"max": "pids"})
            if os.path.exists(events):
                yield from (("populated", Source(events)), ("frozen", Source(events)))
