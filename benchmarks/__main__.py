"""python -m benchmarks: run the benchmarks, print their tables, write them to files."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from containerkit.errors import ContainerKitError

from . import machine, setting
from .ground import prepared
from .measure import QUICK, Budget
from .plot import draw
from .table import Table

NAMES = (
    "steps",
    "kinds",
    "spawning",
    "running",
    "identity",
    "peers",
    "memory",
    "threads",
    "bindings",
    "overlays",
    "cgroups",
    "unpacking",
    "layering",
    "pulling",
    "building",
    "loading",
    "layer_memory",
)
BUDGET = Budget()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks of the command line.  Return 0, or 1 if one could not run."""
    options = _options(argv)
    setting.enter()
    options.out.mkdir(parents=True, exist_ok=True)
    tables, failures, load = [], 0, os.getloadavg()[0]
    with prepared() as ground:
        for name in options.names or NAMES:
            try:
                made = importlib.import_module(f"benchmarks.{name}").benchmark(ground, QUICK if options.quick else BUDGET)
            except ContainerKitError as error:
                print(f"{name}: {error}\n", file=sys.stderr)
                failures += 1
                continue
            for table in made:
                print(table, end="\n\n", flush=True)
            tables += made
    _write(tables, options.out, load, plots=options.plots, title=options.title)
    return 1 if failures else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What containerkit costs, measured here.")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"which of {', '.join(NAMES)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="only find out whether they run: the numbers mean nothing")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="where tables and plots go (default: %(default)s)")
    parser.add_argument("--title", default="Results", help="of the page")
    parser.add_argument("--no-plots", dest="plots", action="store_false", help="do without matplotlib")
    return parser.parse_args(argv)


def _write(tables: Sequence[Table], out: Path, load: float, *, plots: bool, title: str) -> None:
    """Write a record for programs, a page for readers, and a plot for each table."""
    (out / "results.json").write_text(json.dumps([table.to_json() for table in tables], indent=1) + "\n")
    pictures = {}
    try:
        pictures = {table.name: draw(table, out) for table in tables} if plots else {}
    except ContainerKitError as error:
        print(error, file=sys.stderr)
    sections = [table.markdown(pictures.get(table.name, "")) for table in tables]
    head = f"Made by `python -m benchmarks` on {machine.line()}.\n"
    head += f"Others kept {load:.1f} processors busy when it began"
    head += ": too many for numbers to rely on.\n" if load > 0.5 else ".\n"
    (out / "results.md").write_text("\n".join([f"# {title}", "", head, *sections]))
    print(f"written: {os.fspath(out)}/results.md, results.json" + (f", {len(pictures)} plots" if pictures else ""))


if __name__ == "__main__":
    sys.exit(main())
