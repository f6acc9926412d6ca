"""Repair standard input, output and error if our caller closed them, and report output that is lost.

None of these cases ends in a traceback.  A closed stream is opened on /dev/null with the wrong direction, so that no file of ours
gets its number, and reading or writing still fails: lost output is an error.  Only output to a closed standard error is lost in silence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable

__all__ = ["READER_GONE", "finish", "repair"]

READER_GONE = 141  # a shell's exit code for a program that SIGPIPE ended
WAYS = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)
NAMES = ("stdin", "stdout", "stderr")


def repair() -> None:
    """Open descriptors 0, 1 and 2, and the files of sys, if they are closed."""
    for number, (way, name) in enumerate(zip(WAYS, NAMES, strict=True)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(_opened(number, way), True)
        if getattr(sys, name) is None:
            file = open(number, "r" if number == 0 else "w", closefd=False, errors="surrogateescape")  # noqa: SIM115 - sys keeps the file
            setattr(sys, name, file)


def _opened(number: int, way: int) -> int:
    """Open /dev/null under a number, the lowest free one, as the numbers below are open by now."""
    fd = os.open(os.devnull, way)
    if fd != number:
        os.dup2(fd, number)
        os.close(fd)
    return number


def finish(work: Callable[[], int], failed: Callable[[], int], complain: Callable[[str], None]) -> int:
    """Do the work, and flush its output.

    :param failed: returns the exit code for lost output
    :return: the exit code; 141 if the reader of our output is gone
    """
    try:
        code, stop = work(), None
    except BrokenPipeError:
        code, stop = READER_GONE, None
    except SystemExit as error:  # from --help, or after bad usage
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
    """Flush both outputs.  Return the error of standard output, or 0.  The interpreter has nothing left to flush when it ends."""
    lost = 0
    for number, stream in ((2, sys.stderr), (1, sys.stdout)):
        try:
            stream.flush()
        except BrokenPipeError:
            lost = errno.EPIPE
            _silence(number)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            lost = getattr(error, "errno", None) or errno.EBADF if number == 1 else lost
            _silence(number)
    return lost


def _silence(number: int) -> None:
    """Send the unwritten data of a stream to /dev/null."""
    with contextlib.suppress(OSError):
        fd = os.open(os.devnull, os.O_WRONLY)
        os.dup2(fd, number)
        os.close(fd)
