"""The command ``containerkit``, which is also ``python -m containerkit``."""

from __future__ import annotations

import atexit
import gc
import os
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

        code = main()
        _end(code)
        return code
    finally:
        gc.freeze()


def _end(code: int) -> None:
    """End the process at once, unless another thread still works.  `main` has flushed all output.

    Python would take apart every module that it has loaded, one by one: a twentieth of the time of a short command.
    """
    if "threading" not in sys.modules or sys.modules["threading"].active_count() == 1:
        atexit._run_exitfuncs()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(command())
