"""Journals: a process writes down what a SIGKILL would leave behind, before it makes it.

    entry = about_to("tree", "/tmp/containerkit-layer-x")     the line is on disk before the directory is
    ...
    entry.done()                                              it is removed

A journal is a record (see `owner`) in a directory that only this user enters: below /run for root, below XDG_RUNTIME_DIR for
others, and where that is not set, among the temporary files.  A process that needs a journal keeps it until it ends.  `sweep` reads those
of dead processes.

Its lines: a thing about to be made, ["tree", 0, "/tmp/..."], with a number; later facts about it, ["made", 0, "child", ...]; and
["done", 0].
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import cache

from ..base.frozen import frozen
from ..errors import LayerError
from ..linux.ids import is_machine_root, machine_uid
from ..linux.kept import keeps
from . import owner
from .owner import Identity, Record, is_owned, trusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Journal",
    "JournalEntry",
    "Line",
    "about_to",
    "directory",
    "entries",
    "journals",
    "left",
    "living",
    "marked",
    "maybe",
    "own",
    "sweep_if_any",
    "sweep_once",
]  # fmt: skip

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
HEAD, MADE, DONE = "process", "made", "done"
MOST = 1 << 18  # bytes of a journal before it is begun again


@frozen
class Line:
    """An entry as it is read: the kind of the thing, its words, and the facts that became known later."""

    number: int
    verb: str
    words: tuple[Any, ...]
    more: dict[str, Any]


class JournalEntry:
    """One thing that a journal lists."""

    __slots__ = ("_journal", "number")

    def __init__(self, journal: Journal | None, number: int = -1) -> None:
        self._journal, self.number = journal, number

    def add(self, what: str, value: object) -> None:
        """Write down what became known of the entry's object."""
        if self._journal:
            self._journal.write(self.number, MADE, self.number, what, value)

    def done(self) -> None:
        """Write down that the thing is removed.  A second call does nothing."""
        journal, self._journal = self._journal, None
        if journal:
            journal.done(self.number)


class Journal:
    """The journal of one owner.

    :raises LayerError: no directory for it is this user's
    """

    def __init__(self) -> None:
        self.record, self._number, self._size = _begun(), 0, 0
        self._open: dict[int, list[tuple[object, ...]]] = {}  # the lines of entries that are not done

    def about_to(self, verb: str, *words: object) -> JournalEntry:
        """Write down what is about to be made."""
        with owner.guard:
            number, self._number = self._number, self._number + 1
            self._open[number] = []
            try:
                self.write(number, verb, number, *words)
            except BaseException:
                self.done(number)
                raise
            return JournalEntry(self, number)

    def write(self, number: int, *line: object) -> None:
        """Write one more line about an entry."""
        with owner.guard:
            if not self.ended and number in self._open:
                self._open[number].append(line)
                self._size += self.record.write(*line)

    def done(self, number: int) -> None:
        """Write down that an entry is done."""
        with owner.guard:
            if self._open.pop(number, None) is None or self.ended:
                return
            if self._size < MOST:
                self._size += self.record.write(DONE, number)
            else:
                self._begin_again()
            if self is not _own:
                self.end_if_idle()

    def end_if_idle(self) -> None:
        """Remove the journal where all of its entries are done."""
        with owner.guard:
            if not self._open:
                self.record.remove()

    def _begin_again(self) -> None:
        """Replace a file that has become long by a new one with the entries that are not done.  In between both list them."""
        old, self.record, self._size = self.record, _begun(), 0
        for line in [line for lines in self._open.values() for line in lines]:
            self._size += self.record.write(*line)
        old.remove()

    def hand_to(self, named: Identity | str | os.PathLike[str]) -> None:
        """Give all that the journal lists to another owner: see `owner.Record.hand_to`.  Later entries start a new journal."""
        with owner.guard:
            self.record.hand_to(named)

    @property
    def ended(self) -> bool:
        """Whether it is gone, or has another owner."""
        return not self.record.owned


_own: Journal | None = None
_place: tuple[object, ...] = ()


def own() -> Journal:
    """Return this process's journal.  :raises LayerError: no directory for it is this user's"""
    global _own, _place
    with owner.guard:
        place = (os.geteuid(), os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"))
        if _own is None or _own.ended or place != _place:
            before, _own, _place = _own, Journal(), place
            if before:
                before.end_if_idle()
        return _own


@atexit.register
def _end() -> None:
    """Leave the entries that are not done to the next start of any process."""
    if _own:
        _own.end_if_idle()


@keeps
def _descriptors() -> list[int]:
    return [] if _own is None or _own.ended else _own.record.descriptors


def about_to(verb: str, *words: object) -> JournalEntry:
    """Write down, in the journal of this process, what is about to be made.  :raises LayerError: there is no place for it"""
    with owner.guard:
        return own().about_to(verb, *words)


def maybe(verb: str, *words: object) -> JournalEntry:
    """Write down, as `about_to` does, a thing that a later sweep finds anyway; without a directory for journals, write nothing."""
    try:
        return about_to(verb, *words)
    except (LayerError, OSError):
        return JournalEntry(None)


# Where they are -------------------------------------------------------------------------------------------------


def directory() -> str:
    """Return the directory of this user's journals."""
    runtime = "/run" if is_machine_root() else os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return f"{runtime}/containerkit/journals"
    return f"{os.environ.get('TMPDIR') or '/tmp'}/.containerkit.{machine_uid()}"


def _begun() -> Record:
    path = directory()
    try:
        with opened(path, make=True) as here:
            while not (record := Record.make(os.urandom(4).hex(), here)):
                pass
            record.write(HEAD, os.getpid())
            return record
    except OSError as error:
        said = f"no place to write down what is to be undone: {error.strerror}; /run, or XDG_RUNTIME_DIR, must be this user's to write"
        raise LayerError(error.errno, said, path) from None


@contextlib.contextmanager
def opened(path: str, *, make: bool = False) -> Iterator[int]:
    """Give a directory of this user's alone.  :raises OSError: it is not there, or is another user's"""
    if make:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    fd = os.open(path, DIRECTORY)
    try:
        if not trusted(fd):
            raise PermissionError(1, "it belongs to another user, or others may write to it", path)
        yield fd
    finally:
        os.close(fd)


def sweep_if_any() -> None:
    """Remove the leftovers of killed processes.  A failure to remove one does not stop the rest."""
    with contextlib.suppress(OSError):
        if any(not is_owned(name, here) for here, name in journals() if _own is None or name != _own.record.name):
            from .sweeping import sweep

            sweep()


@cache
def sweep_once() -> None:
    """Sweep at the first spawn or group of a process, or when it opens its first store."""
    sweep_if_any()


os.register_at_fork(after_in_child=sweep_once.cache_clear)  # a forked child is a process of its own


# Those of others ------------------------------------------------------------------------------------------------


def journals() -> Iterator[tuple[int, str]]:
    """Yield the journals of this user: a descriptor of the directory, and the name."""
    with contextlib.suppress(FileNotFoundError, PermissionError), opened(directory()) as here:
        for name in sorted(os.listdir(here)):
            yield here, name


def living() -> Iterator[Line]:
    """Return the entries in the journals of this user's living processes."""
    for here, name in journals():
        if is_owned(name, here):
            yield from entries(_read(name, here))


def left() -> Iterator[str]:
    """Yield the journals of dead processes, and of this one, that have something that is not done."""
    for here, name in journals():
        lines = _read(name, here)
        if entries(lines) and ([HEAD, os.getpid()] in lines or not is_owned(name, here)):
            yield f"{directory()}/{name}"


def _read(name: str, here: int) -> list[list[Any]]:
    """Return the lines of another process's journal; none where it is gone."""
    with contextlib.suppress(OSError):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
        try:
            return [*owner.lines(fd)]
        finally:
            os.close(fd)
    return []


def entries(lines: Iterable[list[Any]]) -> list[Line]:
    """Return the entries of a journal that are not done, in order."""
    found: dict[int, Line] = {}
    for verb, *words in lines:
        if verb == HEAD or not words or not isinstance(words[0], int):
            continue
        number, *rest = words
        if verb == DONE:
            found.pop(number, None)
        elif verb == MADE:
            if number in found and len(rest) == 2:
                found[number].more[rest[0]] = rest[1]
        else:
            found[number] = Line(number, verb, tuple(rest), {})
    return list(found.values())


def marked(home: str, mark: str) -> list[str]:
    """Return the control groups in a directory that an owner has marked as its own."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(home) as found:
        return sorted(entry.path for entry in found if entry.name.startswith(mark))
    return []
