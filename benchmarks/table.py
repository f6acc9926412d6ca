"""A table of measurements with median, spread, ratio and machine, as text, markdown and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import machine
from .measure import Sample

COLUMNS = ("", "median", "p10..p90", "ratio", "runs")


@dataclass(frozen=True, slots=True)
class Target:
    """A promised limit and the measured value.

    :ivar limit: the most that `value` may be; the least, if `at_least` is set
    """

    text: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"target: {self.text} {sign} {self.limit:g}; measured {self.value:.2f}: {'met' if self.met else 'missed'}"


@dataclass
class Table:
    """Rows of samples.

    :ivar base: the row that ratios are relative to, or "" for none
    :ivar unit: of the samples
    :ivar notes: facts that a reader needs to judge the numbers
    :ivar lines: plot curves: name of a curve -> (x, name of the row); bars without
    :ivar axis: the meaning of the curves' x
    """

    name: str
    title: str
    rows: Mapping[str, Sample]
    base: str = ""
    unit: str = "us"
    notes: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    lines: Mapping[str, list[tuple[float, str]]] = field(default_factory=dict)
    axis: str = ""

    def ratio(self, name: str, base: str = "") -> float:
        """Return the ratio of this row's median to the base row's."""
        return self.rows[name].median / self.rows[base or self.base].median

    def cells(self) -> list[tuple[str, ...]]:
        """Return the rows as text, for the headings in COLUMNS."""
        return [
            (
                name,
                _number(s.median),
                f"{_number(s.p10)}..{_number(s.p90)}",
                f"{self.ratio(name):.2f}" if self.base else "",
                str(len(s.values)),
            )
            for name, s in self.rows.items()
        ]

    def columns(self) -> tuple[str, ...]:
        return (COLUMNS[0], f"median {self.unit}", *COLUMNS[2:])

    def remarks(self) -> list[str]:
        """Return base, notes, targets, machine."""
        base = [f"Ratio: to {self.base}."] if self.base else []
        return [*base, *self.notes, *map(str, self.targets), f"Machine: {machine.line()}."]

    def __str__(self) -> str:
        cells = [self.columns(), *self.cells()]
        widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
        lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) for row in cells]
        return "\n".join([self.title, *lines, *(f"  {remark}" for remark in self.remarks())])

    def markdown(self, picture: str = "") -> str:
        """Return the table as a section.  `picture` is the plot's file beside it."""
        row = "| {} |".format
        lines = [row(" | ".join(self.columns())), row(" | ".join(["---", *["---:"] * (len(COLUMNS) - 1)]))]
        lines += [row(" | ".join(_escape(c) for c in cells)) for cells in self.cells()]
        shown = ["", f"![{self.title}]({picture})"] if picture else []
        return "\n".join([f"## {self.title}", "", *lines, "", *(f"- {_escape(r)}" for r in self.remarks()), *shown, ""])

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain values."""
        rows = {n: {"median": s.median, "p10": s.p10, "p90": s.p90, "ratio": self.ratio(n) if self.base else None, "runs": len(s.values)}
                for n, s in self.rows.items()}  # fmt: skip
        targets = [{"text": t.text, "value": t.value, "limit": t.limit, "at_least": t.at_least, "met": t.met} for t in self.targets]
        return {"name": self.name, "title": self.title, "unit": self.unit, "base": self.base, "rows": rows, "notes": self.notes,
                "targets": targets, "machine": machine.describe()}  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")
