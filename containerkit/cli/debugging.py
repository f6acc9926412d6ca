"""``--debug``: the library's log on standard error."""

from __future__ import annotations

import logging
import sys

__all__ = ["tell_all"]


class Tame(logging.Formatter):
    """What registries and images say may be part of a line: nothing of it drives the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from ..image.picture import printable

        return "\n".join(map(printable, super().format(record).splitlines()))


def tell_all() -> None:
    """From here on every record of the logger ``containerkit`` is written."""
    log = logging.getLogger("containerkit")
    log.setLevel(logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Tame("%(relativeCreated)7.0f ms  %(name)s: %(message)s"))
    log.addHandler(handler)
