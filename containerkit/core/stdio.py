"""The standard streams of a program: files, pipes, /dev/null, or a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import struct
import termios

from ..base import checks
from ..base.frozen import field, record
from ..errors import PlanError
from ..linux.syscalls import HasFileno
from .device_nodes import open_null

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

#: A pipe: the program gets one end, `Process` the other.
PIPE = -1  # as `subprocess` has it
#: For stderr: the same destination as stdout.
STDOUT = -2
#: /dev/null: it has nothing to read, and drops all output.
DEVNULL = -3
#: For all three streams: a pseudo-terminal, of which `Process.terminal` is our end.  The container's own, where the plan
#: mounts a devpts (as `mounts.Dev` does); else the host's.
PTY = -4
NAMES = ("stdin", "stdout", "stderr")

Stream = int | HasFileno | None


@record
class Streams:
    """The two ends of every stream.

    :ivar child: number in the child -> the descriptor that goes there
    :ivar ours: the files that this process reads and writes
    :ivar master: our end of the pseudo-terminal, or None
    """

    child: dict[int, int] = field(default_factory=dict)
    ours: dict[int, IO[bytes]] = field(default_factory=dict)
    master: int | None = None
    owner: tuple[int, int] | None = None
    opened: list[int] = field(default_factory=list)

    def close_child_ends(self) -> None:
        """Close the descriptors that the child has copies of by now; ours stay open."""
        while self.opened:
            os.close(self.opened.pop())

    def close(self) -> None:
        """Close everything, after a failed spawn."""
        self.close_child_ends()
        for stream in self.ours.values():
            with contextlib.suppress(OSError):
                stream.close()
        if self.master is not None:
            os.close(self.master)


def check(streams: tuple[Stream, Stream, Stream], size: tuple[int, int] | None = None) -> None:
    """Raise PlanError for a value that cannot be a stream: STDOUT anywhere but for stderr, half a terminal, a size of none."""
    for name, stream in zip(NAMES, streams, strict=True):
        checks.stream(stream, name)
    if size is not None:
        if PTY not in streams:
            raise PlanError("a size is that of a terminal: ask for PTY")
        if len(size) != 2 or not all(isinstance(number, int) and 0 <= number < 1 << 16 for number in size):
            raise PlanError(f"a terminal's size is (rows, columns), not {size!r}")
    if STDOUT in streams[:2]:
        raise PlanError("STDOUT goes only where stderr goes")
    if PTY in streams and set(streams) != {PTY}:
        raise PlanError("a pseudo-terminal is stdin, stdout and stderr: ask for PTY three times")
    for stream in streams:
        if isinstance(stream, int) and stream < PTY:
            raise PlanError(f"not a stream: {stream}")


def open_streams(
    streams: tuple[Stream, Stream, Stream], owner: tuple[int, int] | None = None, *, own_terminal: bool = False,
    size: tuple[int, int] | None = None,
) -> Streams:  # fmt: skip
    """Open the files and pipes of the streams.  All descriptors are close-on-exec.

    :param owner: the user and the group whose the pipes and the terminal are, so that a program may open /dev/stdout; the
        caller unless given.  Files that the caller opened stay as they are
    :param own_terminal: the child opens the terminal itself; until then its streams lead nowhere
    :param size: rows and columns of a terminal that is opened here
    """
    made = Streams(owner=owner)
    if own_terminal:
        streams = (DEVNULL, DEVNULL, DEVNULL)
    try:
        for number, stream in enumerate(streams):
            _open(made, number, stream)
        if made.master is not None and size:
            set_size(made.master, *size)
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
    # A pipe has no name: only /proc/PID/fd leads to it, and only processes that may trace it can open that.  So this mode gives nothing
    # to other users, and opens /dev/stdout to a program that becomes another user, also where the next line must not chown(2).
    os.fchmod(theirs, 0o666)
    _give(theirs, made.owner)
    if number == 0:
        return theirs, io.FileIO(ours, "wb")
    return theirs, io.BufferedReader(io.FileIO(ours, "rb"))  # without the questions of open(): it is no terminal


def _terminal(made: Streams) -> int:
    """Return a new pseudo-terminal of the host's devpts, for a plan that mounts none of its own: see `containerkit.core.terminals`."""
    made.master, slave = os.openpty()
    made.opened.append(slave)
    _give(slave, made.owner)
    return slave


def _give(descriptor: int, owner: tuple[int, int] | None) -> None:
    """Give a stream to the program's user.  Only root may, and only to ids that it has; else it stays the caller's, shared by its mode."""
    if owner and owner != (os.geteuid(), os.getegid()):
        with contextlib.suppress(OSError, OverflowError):
            os.fchown(descriptor, *owner)


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Tell a terminal how large its window is; the program gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
