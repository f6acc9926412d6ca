"""Connect our terminal with the program's pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import Any

from ..base import late
from ..core.process import Process


def connect(process: Process, end: float | None = None) -> None:
    """Copy bytes both ways until the program closes its side.

    Our terminal is raw meanwhile, so that Ctrl-C goes to the program, and is restored on return.

    :param end: a time of `time.monotonic`
    :raises subprocess.TimeoutExpired: the program still runs at that time
    """
    import selectors

    with _raw(), _window(process), selectors.DefaultSelector() as selector:
        assert process.terminal is not None
        selector.register(process.terminal, selectors.EVENT_READ, 1)
        with contextlib.suppress(PermissionError):  # epoll refuses a regular file, which cannot be typed into anyway
            selector.register(0, selectors.EVENT_READ, process.terminal)
        while True:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise late.subprocess.TimeoutExpired("the program", 0.0)
            for key, _ in selector.select(left):
                if not _copy(key.fd, key.data):
                    if key.fd == process.terminal:
                        return
                    selector.unregister(key.fd)


def size() -> tuple[int, int] | None:
    """Return rows and columns of our terminal; None if standard input is no terminal."""
    with contextlib.suppress(OSError):
        found = os.get_terminal_size(0)
        return found.lines, found.columns
    return None


def _copy(source: int, target: int) -> bool:
    try:
        data = os.read(source, 65536)
    except OSError:  # EIO: no process has the other side of the pseudo-terminal open any more
        return False
    while data:
        data = data[os.write(target, data) :] or b""
        if not data:
            return True
    if target != 1:
        os.write(target, b"\x04")  # the end of our input becomes Ctrl-D for the program
    return False


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)


@contextlib.contextmanager
def _window(process: Process) -> Iterator[None]:
    """Keep the program's window as large as ours."""

    def resized(*_: Any) -> None:
        if ours := size():
            process.resize(*ours)

    resized()
    before = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
