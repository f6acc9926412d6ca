"""A plot for a table, as SVG: bars with the spread, or curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from containerkit.base import extras
from containerkit.errors import Unavailable

from .measure import Sample
from .table import Table

OURS, OTHERS, INK = "#1a6fb0", "#b4bac2", "#30343a"
CURVES = (OURS, "#c2562d", "#6b7f3a", "#7a5aa6")


def draw(table: Table, out: Path) -> str:
    """Write NAME.svg and return the file's name.  :raises Unavailable: matplotlib is not installed"""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 4.2 if table.lines else 1.2 + 0.3 * len(_shown(table))), layout="constrained")
    (_curves if table.lines else _bars)(table, axes)
    figure.suptitle(table.title, x=0.01, ha="left", fontsize=11, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / f"{table.name}.svg", metadata={"Date": None})
    pyplot.close(figure)
    return f"{table.name}.svg"


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise Unavailable("plots of the benchmarks", probed="import matplotlib", remedy=extras.command("bench")) from error
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "containerkit"
    from matplotlib import pyplot

    return pyplot


def _shown(table: Table, most: int = 30) -> dict[str, Sample]:
    """Return all rows, or the most expensive ones in the table's order."""
    dearest = sorted(table.rows, key=lambda name: -table.rows[name].median)[:most]
    return {name: sample for name, sample in table.rows.items() if name in dearest}


def _label(name: str, limit: int = 56) -> str:
    return name if len(name) <= limit else name[: limit - 3] + "..."


def _bars(table: Table, axes: Any) -> None:
    rows = _shown(table)
    names, samples = list(rows), list(rows.values())
    colours = [OURS if "containerkit" in name or not table.base else OTHERS for name in names]
    medians = [s.median for s in samples]
    spread = [[max(0.0, s.median - s.p10) for s in samples], [max(0.0, s.p90 - s.median) for s in samples]]
    axes.barh([_label(name) for name in names], medians, color=colours, xerr=spread, error_kw={"elinewidth": 1, "ecolor": INK})
    axes.invert_yaxis()
    if max(medians) > 20 * (sorted(medians)[len(medians) // 2] or 1):
        axes.set_xscale("log")
    axes.set_xlabel(f"{table.unit}: median, p10 to p90", fontsize=9)
    axes.tick_params(labelsize=8)


def _curves(table: Table, axes: Any) -> None:
    for (name, points), colour in zip(table.lines.items(), CURVES, strict=False):
        samples = [table.rows[row] for _, row in points]
        places = [x for x, _ in points]
        axes.plot(places, [s.median for s in samples], color=colour, marker="o", label=name)
        axes.fill_between(places, [s.p10 for s in samples], [s.p90 for s in samples], color=colour, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    axes.set_xlabel(table.axis, fontsize=9)
    axes.set_ylabel(f"{table.unit}: median, p10 to p90", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    axes.tick_params(labelsize=8)
