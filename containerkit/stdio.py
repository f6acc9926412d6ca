"""Where a program's standard streams lead: files, pipes, nothing, or a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import termios
from dataclasses import dataclass, field
from typing import IO

from .errors import PlanError
from .nodes import open_null
from .syscalls import HasFileno

#: A pipe: the program's end goes to it, ours to `Process`.
PIPE = subprocess.PIPE
#: For stderr: where stdout goes.
STDOUT = subprocess.STDOUT
#: Nothing to read, and what is written is gone.
DEVNULL = subprocess.DEVNULL
#: For all three streams: a pseudo-terminal, of which `Process.terminal` is our end.
PTY = -4
NAMES = ("stdin", "stdout", "stderr")

Stream = int | HasFileno | None


@dataclass(slots=True)
class Streams:
    """The two ends of every stream.

    :ivar child: number in the child -> the descriptor that goes there
    :ivar ours: what this process reads and writes
    :ivar master: our end of the pseudo-terminal, or None
    """

    child: dict[int, int] = field(default_factory=dict)
    ours: dict[int, IO[bytes]] = field(default_factory=dict)
    master: int | None = None
    opened: list[int] = field(default_factory=list)

    def close_child_ends(self) -> None:
        """Ours stay open; the child has its own by now."""
        while self.opened:
            os.close(self.opened.pop())

    def close(self) -> None:
        """Everything, after a failed spawn."""
        self.close_child_ends()
        for stream in self.ours.values():
            with contextlib.suppress(OSError):
                stream.close()
        if self.master is not None:
            os.close(self.master)


def check(streams: tuple[Stream, Stream, Stream]) -> None:
    """Raises PlanError for what cannot be a stream: STDOUT anywhere but for stderr, half a terminal."""
    if STDOUT in streams[:2]:
        raise PlanError("STDOUT goes only where stderr goes")
    if PTY in streams and set(streams) != {PTY}:
        raise PlanError("a pseudo-terminal is stdin, stdout and stderr: ask for PTY three times")
    for stream in streams:
        if isinstance(stream, int) and stream < PTY:
            raise PlanError(f"not a stream: {stream}")


def open_streams(streams: tuple[Stream, Stream, Stream]) -> Streams:
    """Opens what has to be opened.  All descriptors are close-on-exec."""
    made = Streams()
    try:
        for number, stream in enumerate(streams):
            _open(made, number, stream)
    except BaseException:
        made.close()
        raise
    return made


def _open(made: Streams, number: int, stream: Stream) -> None:
    if stream is None:
        return
    if not isinstance(stream, int):
        made.child[number] = stream.fileno()
    elif stream == PIPE:
        made.child[number], made.ours[number] = _pipe(made, number)
    elif stream == DEVNULL:
        made.child[number] = open_null()
        made.opened.append(made.child[number])
    elif stream == STDOUT:
        made.child[number] = made.child.get(1, 1)
    elif stream == PTY:
        made.child[number] = made.child[0] if number else _terminal(made)
    else:
        made.child[number] = stream


def _pipe(made: Streams, number: int) -> tuple[int, IO[bytes]]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    theirs, ours = (reader, writer) if number == 0 else (writer, reader)
    made.opened.append(theirs)
    return theirs, open(ours, "wb" if number == 0 else "rb", buffering=0 if number == 0 else -1)


def _terminal(made: Streams) -> int:
    """A new pseudo-terminal of the host's devpts, so that nothing inside can pass off a file of its own as one."""
    made.master, slave = os.openpty()
    made.opened.append(slave)
    return slave


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Tell a terminal how large its window is; the program gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
