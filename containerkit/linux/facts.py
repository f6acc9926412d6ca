"""Questions to the host, and whether its answers still hold.

A plan's steps depend on the parts and on the host: the caller's ids, its capabilities, the content of a directory.  The code that
makes steps puts each such question through `ask`.  So code that remembers steps can remember the questions too, and ask them again:

    with recorded() as answers:         # {(os.geteuid,): 0, ...}
        steps = make()
    ...
    if hold(answers):                   # the same questions have the same answers: the same steps would be made
        use(steps)

A question is a function with its arguments.  Its answer must be a value that can be compared.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["LONGEST", "UNKNOWN", "Answers", "ask", "hold", "look", "read", "recorded", "text_of"]

#: Bytes of a file that are kept as an answer.  Steps that rest on a longer file are not remembered.
LONGEST = 1 << 16
PIECE = 1 << 14
SETTLED = 2_000_000_000  # nanoseconds: two changes within a tick of the clock show one time

Question = tuple[Hashable, ...]
#: Questions to the host, each with its answer.
Answers = dict[Question, object]


class _Unknown:
    """An answer that never holds."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


#: The answer that never holds: what rests on it is made anew.
UNKNOWN = _Unknown()


class _Thread(threading.local):
    """The questions of one thread: capabilities and mounts belong to a thread."""

    def __init__(self) -> None:
        self.look: Answers | None = None
        self.recordings: tuple[Answers, ...] = ()


_thread = _Thread()


def ask(question: Callable[..., T], *arguments: Hashable) -> T:
    """Ask the host; inside of one `look`, return the answer that it gave before.

    :param question: a function that changes nothing; two with equal arguments ask the same
    :raises Exception: the question raised it; steps that rest on it are not remembered
    """
    key = (question, *arguments)
    look = _thread.look
    if look is not None and key in look:
        answer = look[key]
    else:
        try:
            answer = question(*arguments)
        except BaseException:
            _record(key, UNKNOWN)
            raise
        if look is not None:
            look[key] = answer
    _record(key, answer)
    return answer  # type: ignore[return-value]


def _record(key: Question, answer: object) -> None:
    """Keep an answer.  A question with two different answers gets one that never holds."""
    for recording in _thread.recordings:
        same = key not in recording or (recording[key] is not UNKNOWN and recording[key] == answer)
        recording[key] = answer if same else UNKNOWN


@contextlib.contextmanager
def recorded() -> Iterator[Answers]:
    """Collect the questions that this thread asks in the block, with their answers."""
    answers: Answers = {}
    before = _thread.recordings
    _thread.recordings = (*before, answers)
    try:
        yield answers
    finally:
        _thread.recordings = before


class look:
    """One look at the host: in the ``with`` block, this thread asks no question twice.  Blocks nest: the outermost counts."""

    __slots__ = ("_is_outermost",)

    def __enter__(self) -> None:
        self._is_outermost = _thread.look is None
        if self._is_outermost:
            _thread.look = {}

    def __exit__(self, *error: object) -> None:
        if self._is_outermost:
            _thread.look = None


def hold(answers: Mapping[Question, object]) -> bool:
    """Whether all questions have the same answers as before."""
    try:
        for question, answer in answers.items():
            if ask(*question) != answer:  # type: ignore[arg-type]
                return False
    except Exception:  # the code that makes the steps again meets the error again, and can say what it was needed for
        return False
    return True


def text_of(path: str) -> str | None:
    """Return the text of a small file, asked; None where there is none.  For a file on disk the question is whether it is the same.

    :raises OSError: it cannot be read
    """
    state = ask(_state, path)
    data = state if isinstance(state, bytes | None) else read(path)
    if data is not None and len(data) > LONGEST:
        _record((_state, path), UNKNOWN)
    return None if data is None else data.decode(errors="surrogateescape")


def _state(path: str) -> bytes | tuple[int, ...] | None:
    """Return a value that differs for each state of a file: its times, once they are old enough; until then, and in procfs, its bytes."""
    if path.startswith("/proc/"):
        return read(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    if not status.st_size or time.time_ns() - changed < SETTLED:  # files that a kernel makes up have no size
        return read(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read(path: str) -> bytes | None:
    """Return the bytes of a file, read without a file object, which takes three times as long; None where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        pieces = []
        while piece := os.read(fd, PIECE):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)
