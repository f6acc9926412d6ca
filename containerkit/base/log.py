"""The library's log, under the name ``containerkit``.

`logging` takes a while to load, and a program that reads a log has loaded it.  So nothing is logged, and nothing loaded, before
another module imports it.
:see: https://docs.python.org/3/howto/logging.html#configuring-logging-for-a-library
"""

from __future__ import annotations

import sys

__all__ = ["Log"]


class Log:
    """Stands for the logger of a module.

    :param name: the module's
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, message: str, *args: object, exc_info: bool = False) -> None:
        """Log a message with the level DEBUG.  The parameters are those of `logging.Logger.debug`."""
        if "logging" in sys.modules:
            import logging

            logging.getLogger(self.name).debug(message, *args, exc_info=exc_info, stacklevel=2)
