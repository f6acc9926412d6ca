"""Docstrings as this project writes them, made into what Sphinx reads.

In the source a drawing is only indented, a field may follow the text on its line, and a man page is `mount(2)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

FIELD = re.compile(r"^:(see|raises|param|return|returns|ivar)\b")
INLINE = re.compile(r"(?<=\S)\s+(?=:(?:see|raises|param|return|returns|ivar)\b[^:]*:)")
PAGE = re.compile(r"\b([a-z][\w.-]*\(\d\))")


def lines(docstring: list[str]) -> Iterator[str]:
    """Yield one line for each field, with an empty one before the first of them."""
    before = ""
    for line in docstring:
        for piece in [line] if line.startswith(" ") else INLINE.split(line):
            is_field = bool(FIELD.match(piece))
            if is_field and before and not FIELD.match(before) and not before.startswith(" "):
                yield ""
            yield PAGE.sub(r":manpage:`\1`", piece) if is_field and piece.startswith(":see") else piece
            before = piece


def drawings(docstring: list[str]) -> Iterator[str]:
    """Make the indented lines of a module's docstring a literal block."""
    inside = False
    for number, line in enumerate(docstring):
        begins = line.startswith("    ") and not inside and (number == 0 or not docstring[number - 1].strip())
        if begins and not docstring[max(number - 2, 0)].startswith(("-", "*", ":")):
            yield from (".. code-block:: text", "")
            inside = True
        inside = inside and (not line.strip() or line.startswith(" "))
        yield line


def process(app: Sphinx, what: str, name: str, obj: object, options: Any, docstring: list[str]) -> None:
    """Rewrite a docstring in place.  autodoc calls this for each."""
    docstring[:] = list(lines(list(drawings(docstring)) if what == "module" else docstring))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the rewriting.  Sphinx calls this."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
