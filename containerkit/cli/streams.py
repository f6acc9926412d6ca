"""Standard input, output and error, as whoever started us left them: closed, or with nobody reading.

None of it ends in a traceback.  What is closed is opened on /dev/null the wrong way round, so that no file of ours gets its number
and reading or writing fails as before: a lost output is an error.  Only what goes to a closed standard error is lost in silence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable

__all__ = ["READER_GONE", "finish", "repair"]

READER_GONE = 141  # as a shell says it of a program that SIGPIPE ended
WAYS = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)
NAMES = ("stdin", "stdout", "stderr")


def repair() -> None:
    """Afterwards 0, 1 and 2 are open, and sys has a file for each."""
    for number, (way, name) in enumerate(zip(WAYS, NAMES, strict=True)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(_opened(number, way), True)
        if getattr(sys, name) is None:
            file = open(number, "r" if number == 0 else "w", closefd=False, errors="surrogateescape")  # noqa: SIM115 - sys keeps it
            setattr(sys, name, file)


def _opened(number: int, way: int) -> int:
    """/dev/null under a number; the lowest that is free, as those below it are open by now."""
    fd = os.open(os.devnull, way)
    if fd != number:
        os.dup2(fd, number)
        os.close(fd)
    return number


def finish(work: Callable[[], int], failed: Callable[[], int], complain: Callable[[str], None]) -> int:
    """Does the work, and writes out what it said.

    :param failed: the exit code for output that was lost
    :return: the exit code; 141 where the reader of our output went away
    """
    try:
        code, stop = work(), None
    except BrokenPipeError:
        code, stop = READER_GONE, None
    except SystemExit as error:  # of --help, or of bad usage
        code, stop = 0, error
    lost = _flushed()
    if lost == errno.EPIPE:
        return READER_GONE
    if lost:
        with contextlib.suppress(OSError):
            complain(f"standard output: {os.strerror(lost)}")
        return failed()
    if stop:
        raise stop
    return code


def _flushed() -> int:
    """Writes out both.  The error of it, or 0; then nothing is left for the interpreter to fail at when it ends."""
    lost = 0
    for number, stream in ((2, sys.stderr), (1, sys.stdout)):
        try:
            stream.flush()
        except BrokenPipeError:
            lost = errno.EPIPE
            _silence(number)
        except (OSError, ValueError) as error:  # ValueError: somebody closed it
            lost = getattr(error, "errno", None) or errno.EBADF if number == 1 else lost
            _silence(number)
    return lost


def _silence(number: int) -> None:
    """What is still held for a stream goes nowhere."""
    with contextlib.suppress(OSError):
        fd = os.open(os.devnull, os.O_WRONLY)
        os.dup2(fd, number)
        os.close(fd)
