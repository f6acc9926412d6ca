"""The cost of the parent's size: one parent for each size, all alive at once, measured in turn."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from . import machine, plans
from .ground import Ground
from .measure import QUICK, Budget, Contender, in_turn, timed
from .peers import fork_exec
from .table import Table, Target

MIB = (0, 256, 1024, 2048, 4096)
OURS, FORK, SUBPROCESS = WAYS = ("containerkit", "os.fork and os.execve", "subprocess.run")
LIMIT = 1.1


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Measure a plain process, by three ways, from parents of growing size."""
    sizes = (0, 16) if budget == QUICK else MIB
    with ExitStack() as stack:
        asks = {size: stack.enter_context(parent(ground, size)) for size in sizes}
        few = replace(budget, turn=min(3, budget.turn), warm_up=min(3, budget.warm_up))  # a fork of 4 GiB takes long
        rows = in_turn({_row(way, size): asks[size](way) for way in WAYS for size in sizes}, few)
    base = _row(OURS, 0)
    lines = {way: [(float(size), _row(way, size)) for size in sizes] for way in WAYS}
    table = Table(
        "memory",
        "Spawn and wait, by the size of the parent",
        rows,
        base=base,
        notes=_notes(),
        lines=lines,
        axis="MiB of touched anonymous memory",
    )
    if 2048 in sizes:
        table.targets.append(Target("containerkit from 2048 MiB, to the same from 0 MiB", table.ratio(_row(OURS, 2048), base), LIMIT))
    return [table]


def _row(way: str, size: int) -> str:
    return f"{way}, {size} MiB"


def _notes() -> list[str]:
    return [f"Transparent huge pages: {machine.huge_pages()}. The memory is anonymous, private and touched, in small pages."]


class _Asks:
    """A parent of some size: a Python of its own, which obeys commands on its standard input."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, way: str) -> Contender:
        return lambda runs: self.ask(way, runs)

    def ask(self, way: str, runs: int) -> list[float]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{runs} {way}\n")
        self.process.stdin.flush()
        return [float(word) for word in self.process.stdout.readline().split()]


@contextmanager
def parent(ground: Ground, mebibytes: int) -> Iterator[_Asks]:
    """Yield a parent of that size, which ends with the context."""
    argv = [sys.executable, "-m", "benchmarks.memory", str(ground.directory), str(mebibytes)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asks = _Asks(process)
        if asks.ask(OURS, 1) == []:
            raise RuntimeError(f"the parent of {mebibytes} MiB ended")
        yield asks
        assert process.stdin
        process.stdin.close()


def _serve(ground: Ground, mebibytes: int) -> None:
    memory = mmap.mmap(-1, max(1, mebibytes) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if mebibytes:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1
    plan, argv = plans.bare(ground), [ground.payload]
    ways = {
        OURS: timed(lambda: plans.run(plan)),
        FORK: timed(lambda: fork_exec(ground.payload)),
        SUBPROCESS: timed(lambda: subprocess.run(argv, check=True, env={})),
    }
    for line in sys.stdin:
        runs, _, way = line.strip().partition(" ")
        print(*ways[way](int(runs)), flush=True)


if __name__ == "__main__":
    from pathlib import Path

    _serve(Ground(Path(sys.argv[1])), int(sys.argv[2]))
    os._exit(0)  # freeing the memory page by page would only take time
