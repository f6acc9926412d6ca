"""Spawns per second from several threads at once."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

from . import plans
from .ground import Ground
from .measure import QUICK, Budget, in_turn
from .peers import started
from .table import Table

COUNTS = (1, 2, 4, 16)


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Measure plain processes by three ways, and containers by ours."""
    plan, container, argv = plans.bare(ground), plans.bound(ground, net=False), [ground.payload]
    ways: dict[str, Callable[[], object]] = {
        "containerkit": lambda: plans.run(plan),
        "os.posix_spawn": started(ground.payload),
        "subprocess.run": lambda: subprocess.run(argv, check=True, env={}),
        "containerkit, container": lambda: plans.run(container),
    }
    slice_seconds = 0.02 if budget == QUICK else 0.1
    few = Budget(budget.seconds, budget.rounds, turn=1, warm_up=1)
    runs = {_row(name, n): _turn(run, n, slice_seconds) for name, run in ways.items() for n in COUNTS}
    rows = in_turn(runs, few)
    lines = {name: [(float(n), _row(name, n)) for n in COUNTS] for name in ways}
    notes = ["More is better. Python's lock is free while containerkit clones and waits; os.posix_spawn keeps it meanwhile."]
    return [
        Table(
            "threads",
            "Spawns a second, by threads",
            rows,
            base=_row("containerkit", 1),
            unit="a second",
            notes=notes,
            lines=lines,
            axis="threads",
        )
    ]


def _row(name: str, threads: int) -> str:
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _turn(run: Callable[[], object], threads: int, seconds: float) -> Callable[[int], list[float]]:
    return lambda runs: [_throughput(run, threads, seconds) for _ in range(runs)]


def _throughput(run: Callable[[], object], threads: int, seconds: float) -> float:
    """Return the runs per second of all threads together."""
    counts, begin = [0] * threads, time.perf_counter()

    def work(which: int) -> None:
        while time.perf_counter() - begin < seconds:
            run()
            counts[which] += 1

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - begin)
