"""``--debug``: write the library's log to standard error."""

from __future__ import annotations

import logging
import sys

__all__ = ["tell_all"]


class Tame(logging.Formatter):
    """Replaces control characters: a record may contain text of a registry or an image, which must not control the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from ..image.picture import printable

        return "\n".join(map(printable, super().format(record).splitlines()))


def tell_all() -> None:
    """Write every record of the logger ``containerkit`` from now on."""
    log = logging.getLogger("containerkit")
    log.setLevel(logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Tame("%(relativeCreated)7.0f ms  %(name)s: %(message)s"))
    log.addHandler(handler)
