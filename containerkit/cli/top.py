"""The verb top: the living groups of this user and their use of resources, refreshed again and again."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psutil

from ..base import extras
from ..base.frozen import frozen
from ..cgroup import Cgroup, Stat
from ..errors import Unavailable
from ..image.picture import printable
from .parser import Parser

COLUMNS = ("group", "processes", "cpu", "throttled", "memory", "peak", "limit", "refused forks", "oom kills")


def _declare(parser: Parser) -> None:
    parser.add_argument("-d", "--delay", type=float, default=1.0, metavar="SECONDS", help="the time between two samples; 1 unless given")
    parser.add_argument("-n", "--number", type=int, default=0, metavar="N", help="end after this number of samples; never unless given")
    parser.add_argument("-p", "--processes", action="store_true", help="also show the processes of each group, as trees")
    parser.set_defaults(verb=_top)


@frozen
class Sample:
    """One group at one moment."""

    name: str
    processes: int
    stat: Stat
    limit: str
    at: float
    pids: tuple[int, ...] = ()

    @classmethod
    def at_group(cls, group: Cgroup) -> Sample:
        """Read a group.  :raises Unavailable, OSError: the group is gone"""
        stat = group.stat()
        limit = group.read("memory.max") if stat.memory else ""
        pids = tuple(group.procs(recursive=True))
        return cls(group.name, len(pids), stat, limit, time.monotonic(), pids)


def samples() -> dict[str, Sample]:
    """Sample every living group, by its directory.  A group that vanishes meanwhile is left out."""
    found = {}
    for group in Cgroup.groups():
        try:
            found[group.path] = Sample.at_group(group)
        except (OSError, Unavailable):
            continue
    return found


def row(now: Sample, before: Sample | None) -> tuple[str, ...]:
    """Return the cells of one group.  Shares of a CPU are of the time since the sample before."""
    memory, pids = now.stat.memory, now.stat.pids
    limit = now.limit if not now.limit.isdecimal() else size(int(now.limit))
    cells = (size(memory.current), size(memory.peak), limit, str(memory.events.get("oom_kill", 0))) if memory else ("", "", "", "")
    return now.name, str(now.processes), *_cpu(now, before), *cells[:3], str(pids.refused) if pids else "", cells[3]


def _cpu(now: Sample, before: Sample | None) -> Iterator[str]:
    for name in ("usage_seconds", "throttled_seconds"):
        new, old = getattr(now.stat.cpu, name, None), getattr(before.stat.cpu, name, None) if before else None
        yield f"{100 * (new - old) / (now.at - before.at):.0f}%" if before and new is not None and old is not None else ""


def size(number: int | None) -> str:
    """Format bytes for people."""
    if number is None:
        return ""
    value, unit = float(number), 0
    while value >= 1024 and unit < 4:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f}{'BKMGT'[unit]}" if value >= 10 or not unit else f"{value:.1f}{'BKMGT'[unit]}"


def _top(options: argparse.Namespace) -> int:
    try:
        from rich.live import Live
    except ImportError as error:
        raise Unavailable("the verb top", probed=str(error), remedy=extras.command("top")) from error
    before: dict[str, Sample] = {}
    with Live(auto_refresh=False) as live:
        count = 0
        while True:
            now, count = samples(), count + 1
            live.update(_table(_rows(now, before, processes=getattr(options, "processes", False)), host()), refresh=True)
            if count == options.number:
                return 0
            before = now
            time.sleep(options.delay)


def _rows(now: dict[str, Sample], before: dict[str, Sample], *, processes: bool) -> Iterator[tuple[str, ...]]:
    for path, sample in sorted(now.items()):
        yield row(sample, before.get(path))
        if processes:
            yield from ((f"  {line}",) for line in trees(sample.pids))


def host() -> str:
    """Describe how busy the whole machine is: processors since the sample before, and memory."""
    memory = psutil.virtual_memory()
    used, processors = size(memory.total - memory.available), psutil.cpu_count()
    busy = f"{psutil.cpu_percent():.0f}% of {processors} processors, {used} of {size(memory.total)} memory"
    return f"host: {busy}, {len(psutil.pids())} processes"


def trees(pids: Iterable[int]) -> Iterator[str]:
    """Yield the processes of a group, each below its parent.  A process that ends meanwhile is left out."""
    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found[pid] = (process.ppid(), f"{pid} {printable(process.name())}  {size(process.memory_info().rss)}")
    roots = [pid for pid, (parent, _) in found.items() if parent not in found]
    yield from (line for root in roots for line in _tree(root, found, 0))


def _tree(pid: int, found: dict[int, tuple[int, str]], depth: int) -> Iterator[str]:
    yield "  " * depth + found[pid][1]
    for child in (other for other, (parent, _) in found.items() if parent == pid):
        yield from _tree(child, found, depth + 1)


def _table(rows: Iterable[tuple[str, ...]], title: str) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "group" else "right")
    for cells in rows:
        table.add_row(*cells)
    return table


VERBS = {"top": _declare}
