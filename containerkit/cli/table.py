"""Rows, as docker prints them: a table, one JSON object a line, or a template for each.

show(rows, {"Repository": "REPOSITORY", "ID": "IMAGE ID"}, options.format)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["show", "table"]

NARROWEST, SPACE = 10, 3  # characters, as in docker
TABLE = "table "


def show(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], format: str | None = None) -> None:
    """Print rows.

    :param columns: field -> heading, of the table that is printed unless `format` is given
    :param format: "json", "table", "table TEMPLATE" or a template
    :raises BadTemplate: the format is malformed
    """
    from .template import Template, shown

    if format == "json":
        import json

        for row in rows:
            print(json.dumps(row))
    elif not format or format == "table":
        cells = ([shown(row[field]) for field in columns] for row in rows)
        print(table([list(columns.values()), *cells]))
    elif format.startswith(TABLE):
        _templated(rows, columns, format.removeprefix(TABLE).strip())
    else:
        template = Template(format)
        for row in rows:
            print(template.fill(row))


def _templated(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], text: str) -> None:
    from .template import Template, fields

    template = Template(text)
    heading = [" ".join(columns.get(field, _heading(field)) for field in fields(cell)) for cell in re.split(r"\\t|\t", text)]
    print(table([heading, *(template.fill(row).split("\t") for row in rows)]))


def _heading(field: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field).upper()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns; the last column is not padded."""
    count = max(map(len, rows))
    widths = [max(NARROWEST, *(len(row[n]) + SPACE for row in rows if n < len(row))) for n in range(count)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
    return "".join([*cells, row[-1]]).rstrip()
