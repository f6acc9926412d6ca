"""Deep overlays: the cost of many lower directories for a mount, a spawn, and the lookup of a name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import containerkit as ck
from containerkit import LayerFS, Phase, Plan

from . import plans
from .ground import HERE, Ground
from .measure import QUICK, Budget, Contender, in_turn, timed
from .table import Table

DEPTHS = (1, 10, 100, 500)
PROGRAM = "/bin/lookups"
PATHS = {"a name in the lowest layer": "/deep/lowest", "a name that is nowhere": "/deep/absent"}


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return one table for the spawn with its mount, one for lookups."""
    shutil.copy(ground.program("lookups", HERE / "csrc/lookups.c"), ground.root / "bin/lookups")
    (ground.root / "deep").mkdir(exist_ok=True)
    (ground.root / "deep/lowest").touch()
    depths = (1, 10) if budget == QUICK else DEPTHS
    with ExitStack() as stack:
        roots = {depth: stack.enter_context(_stacked(ground, depth)) for depth in depths}
        return [_spawns(roots, budget), _lookups(roots, budget)]


@contextmanager
def _stacked(ground: Ground, depth: int) -> Iterator[LayerFS]:
    """Yield the root, and above it layers that each have the directory /deep and a file of their own in it."""
    layers = [ground.directory / f"layer-{depth}-{i}" for i in range(1, depth)]
    for i, layer in enumerate(layers):
        (layer / "deep").mkdir(parents=True)
        (layer / f"deep/{i}").touch()
    with LayerFS(ground.root, *layers, scratch=ground.directory) as root:
        yield root


def _spawns(roots: dict[int, LayerFS], budget: Budget) -> Table:
    made = {depth: plans.full(root, net=False) for depth, root in roots.items()}
    runs: dict[str, Contender] = {f"spawn, {depth} lower": timed(lambda plan=plan: plans.run(plan)) for depth, plan in made.items()}  # type: ignore[misc]
    runs |= {f"mount steps, {depth} lower": _mounting(plan) for depth, plan in made.items()}
    rows = in_turn(runs, budget)
    lines = {kind: [(float(d), f"{kind}, {d} lower") for d in roots] for kind in ("spawn", "mount steps")}
    notes = ["The mount steps are those that make the overlay and attach it, from the trace; taking it down is in the spawn."]
    return Table(
        "overlays", "Deep overlays: spawn and wait", rows, base="spawn, 1 lower", notes=notes, lines=lines, axis="lower directories"
    )


def _mounting(plan: Plan) -> Contender:
    def once() -> float:
        with plan.spawn() as process:
            process.wait()
        return sum(entry.microseconds for entry in process.trace if entry.step.phase is Phase.ROOTFS)

    return lambda runs: [once() for _ in range(runs)]


def _lookups(roots: dict[int, LayerFS], budget: Budget) -> Table:
    """Measure lookups.  The program prints four numbers; a contender is one of them at one depth."""
    runs, lines = {}, {}
    for place, what in enumerate(f"{name}, {when}" for name in PATHS for when in ("first", "again")):
        for depth, root in roots.items():
            runs[f"{what}, {depth} lower"] = _looking(root, place)
        lines[what] = [(float(d), f"{what}, {d} lower") for d in roots]
    base = next(iter(runs))
    note = "One stat(2) inside, in a directory that every layer has. Asked again, the kernel answers from its cache of names."
    rows = in_turn(runs, Budget(budget.seconds, budget.rounds, turn=1, warm_up=1))
    return Table(
        "overlay-lookups", "Deep overlays: looking up a name", rows, base=base, notes=[note], lines=lines, axis="lower directories"
    )


def _looking(root: LayerFS, place: int) -> Contender:
    plan = ck.plan(*plans.kinds(net=False).values(), root, run=[PROGRAM, *PATHS.values()])

    def once() -> float:
        with plan.spawn(stdout=ck.PIPE) as process:
            said, _ = process.communicate()
        return int(said.split()[place]) / 1000

    return lambda runs: [once() for _ in range(runs)]
