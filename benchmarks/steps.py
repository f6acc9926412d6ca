"""The cost of each system call of a container, from the trace that every spawn records."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from containerkit import Plan
from containerkit.core.step import Step

from . import plans
from .ground import Ground
from .measure import Budget, Sample
from .spawning import overlay
from .table import Table

PLACES = "HERE is a temporary directory in memory, CHANGES the overlay's directory for changes."
NOTE = "The clone ends when the child's first instruction runs. The exec ends when the caller knows of it, which includes the way back."


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return every step of the full container, and the same steps added up by call."""
    with overlay(ground) as root:
        plan = plans.full(root)
        plans.run(plan)
        runs = [_spawned(plan) for _ in range(max(2, min(300, budget.rounds)))]
        names = {str(root.upper.parent): "CHANGES", str(ground.directory): "HERE"}
    steps = plan.timeline.steps
    return [_each(steps, runs, names), _by_call(steps, runs)]


def _spawned(plan: Plan) -> list[float]:
    """Return the microseconds of each step of one spawn."""
    with plan.spawn() as process:
        process.wait()
    return [entry.microseconds for entry in process.trace]


def _each(steps: tuple[Step, ...], runs: list[list[float]], names: Mapping[str, str]) -> Table:
    rows = {f"{i:3} {_short(step, names)}": Sample(tuple(run[i - 1] for run in runs)) for i, step in enumerate(steps, 1)}
    return Table("steps", f"Each of the {len(steps)} steps of a container", rows, notes=[NOTE, PLACES])


def _by_call(steps: tuple[Step, ...], runs: list[list[float]]) -> Table:
    names = [step.call.name for step in steps]
    sums = {
        name: Sample(tuple(sum(us for us, n in zip(run, names, strict=True) if n == name) for run in runs)) for name in dict.fromkeys(names)
    }
    ordered = sorted(sums.items(), key=lambda item: -item[1].median)
    rows = {f"{name} (x{names.count(name)})": sample for name, sample in ordered}
    rows["all steps"] = Sample(tuple(sum(run) for run in runs))
    total = statistics.median(sum(run) for run in runs)
    share = sum(s.median for _, s in ordered[:3]) / total
    note = f"The three dearest calls are {share:.0%} of the sum of all."
    return Table("steps-by-call", "The same steps, added up by system call", rows, base="all steps", notes=[NOTE, note])


def _short(step: Step, names: Mapping[str, str], limit: int = 76) -> str:
    text = str(step)
    for path, name in names.items():
        text = text.replace(path, name)
    return text if len(text) <= limit else text[: limit - 3] + "..."
