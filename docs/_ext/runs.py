"""The directive `{ck-run} scripts/NAME.py`: shows the script, runs it, and shows what it printed.

The output on a page is never typed by hand: building the book runs the script and keeps what it printed beside it, in
scripts/NAME.out.  A script that leaves a plot.svg has it shown below, kept as scripts/NAME.svg; `:alt:` says in words what
is to be seen there.  `:v2:` is for a script that wants pure cgroup v2: on a machine in another mode it runs in a virtual
machine with the kernel named there, where one can be had.

With CK_DOCS_RUN=0 nothing is run, and a page shows the output of the last time, if there is one.
A script that ends another way than its name says is a warning, so that `sphinx-build -W` fails.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import guests
import scripts
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

NO_PRIVILEGE = "This script needs more privilege than the book was built with, so what it prints is not shown."
NOT_RUN = "The book was built without running this script, and there is no output from an earlier time."
PRINTED = "It prints:"
FAILED = "It fails, as it should, and prints:"


def literal(text: str, language: str) -> nodes.literal_block:
    """Return a block of code."""
    return nodes.literal_block(text, text, language=language)


class CkRun(SphinxDirective):
    """The directive that shows a file of docs/scripts and its output."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged, "v2": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the script, an introductory line, and the output."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        script = Path(absolute)
        if not script.is_file():
            raise self.error(f"no such script: {self.arguments[0]}")
        return [literal(script.read_text(), "python"), *self.output(script)]

    def output(self, script: Path) -> Iterator[nodes.Node]:
        """Return the script's output, of now or of the last run, or the reason why it has none."""
        record = script.with_suffix(".out")
        if os.environ.get("CK_DOCS_RUN", "1") != "0" and not self.fresh(script, record):
            yield nodes.paragraph("", NO_PRIVILEGE)
        elif record.exists():
            yield nodes.paragraph("", FAILED if scripts.must_fail(script) else PRINTED)
            yield literal(record.read_text(), "text")
            if (plot := script.with_suffix(".svg")).exists():
                yield nodes.image(uri=str(plot.relative_to(self.env.srcdir)), alt=self.options.get("alt", "a plot"))
        else:
            yield nodes.paragraph("", NOT_RUN)

    def fresh(self, script: Path, record: Path) -> bool:
        """Run the script and keep its output.  Returns False when it failed for lack of privilege."""
        plot = record.with_suffix(".svg")
        for old in (record, plot):
            old.unlink(missing_ok=True)
        try:
            ran = guests.run(script, self.options["v2"]) if "v2" in self.options else scripts.run(script)
        except subprocess.TimeoutExpired as late:
            logger.warning("%s did not end in %s s", script.name, late.timeout, location=self.get_location())
            return True
        if not scripts.as_expected(script, ran):
            if not scripts.privileged():
                return False
            logger.warning("%s ended with %d:\n%s", script.name, ran.exit_code, ran.output, location=self.get_location())
        record.write_text(ran.output)
        if ran.plot:
            plot.write_text(ran.plot)
        return True


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive.  Sphinx calls this."""
    app.add_directive("ck-run", CkRun)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
