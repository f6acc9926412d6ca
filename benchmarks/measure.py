"""Timing: contenders run in turn, in one process, so that a disturbance affects all of them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Contender = Callable[[int], Sequence[float]]
"""Makes a number of runs; returns microseconds, one number a run."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a comparison.

    :ivar seconds: after these no new round begins, but the second round always does
    :ivar rounds: the most rounds; each contender has one turn in each, in an order drawn anew
    :ivar turn: runs in a turn
    :ivar warm_up: runs before the first round, which do not count
    """

    seconds: float = 20.0
    rounds: int = 300
    turn: int = 5
    warm_up: int = 20


QUICK = Budget(seconds=0.5, rounds=2, turn=1, warm_up=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """The measurements of one contender, in microseconds unless another unit is named."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p10(self) -> float:
        return self._quantile(0.1)

    @property
    def p90(self) -> float:
        return self._quantile(0.9)

    def _quantile(self, share: float) -> float:
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def timed(run: Callable[[], object], unit: float = 1000) -> Contender:
    """Return a contender that calls `run` and reads the clock before and after.

    :param unit: of the result, in nanoseconds
    """

    def runs(count: int) -> Sequence[float]:
        values = []
        for _ in range(count):
            begin = time.perf_counter_ns()
            run()
            values.append((time.perf_counter_ns() - begin) / unit)
        return values

    return runs


def in_turn(contenders: Mapping[str, Contender], budget: Budget) -> dict[str, Sample]:
    """Run all contenders round after round.  The order of a round is drawn, so that none always follows the same other one."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender(budget.warm_up)
    order, draw, end = list(contenders), random.Random(1), time.monotonic() + budget.seconds
    for done in range(budget.rounds):
        draw.shuffle(order)
        for name in order:
            values[name] += contenders[name](budget.turn)
        if done and time.monotonic() > end:
            break
    return {name: Sample(tuple(v)) for name, v in values.items()}
