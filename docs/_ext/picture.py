"""The directive `{rooms-picture}`: a picture of the rooms with an arrow for each import, drawn from the code at every build."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import rooms  # a script of tools/, which is no package


class RoomsPicture(SphinxDirective):
    """The directive that draws the rooms."""

    def run(self) -> list[nodes.Node]:
        """Return the picture as one node of HTML."""
        return [nodes.raw("", rooms.svg(rooms.PACKAGE), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive.  Sphinx calls this."""
    app.add_directive("rooms-picture", RoomsPicture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
