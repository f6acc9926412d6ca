"""The cost of each kind of namespace: one alone, and all of them together."""

from __future__ import annotations

from containerkit import Part, ns

from . import plans
from .ground import Ground
from .measure import Budget, in_turn, timed
from .table import Table


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Measure spawn and wait with one kind, compared with none."""
    kinds: dict[str, Part] = {**plans.kinds(), "time": ns.Time()}
    made = {"no namespace": plans.bare(ground)} | {f"{name} alone": plans.bare(ground, part) for name, part in kinds.items()}
    made["all but time"] = plans.bare(ground, *plans.kinds().values())
    made["all"] = plans.bare(ground, *kinds.values())
    rows = in_turn({name: timed(lambda plan=plan: plans.run(plan)) for name, plan in made.items()}, budget)  # type: ignore[misc]
    return [Table("kinds", "Spawn and wait, by kind of namespace", rows, base="no namespace", notes=_notes())]


def _notes() -> list[str]:
    return [
        "Each part does what makes its namespace of use: user writes maps, mnt makes every mount private, net brings its loopback up.",
        "A network namespace is taken down later, by the kernel, on the time of whoever runs then; that cost is in every row of this run.",
    ]
