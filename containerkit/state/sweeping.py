"""Remove the leftovers of killed processes, at the next start of any process: see `journal`."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..base.log import Log
from ..errors import ContainerKitError
from ..linux import cgroupfs
from . import undo
from .journal import Line, entries, journals, marked
from .owner import Record
from .scratch import sweep_one

__all__ = ["sweep"]

LOG = Log(__name__)


def _tree(line: Line) -> Iterator[str]:
    path = Path(line.words[0])
    if sweep_one(path):
        yield str(path)
    elif os.path.lexists(path) and os.lstat(path).st_uid == os.geteuid():
        raise BlockingIOError(errno.EAGAIN, "another owner has it now, or it cannot be removed", str(path))


def _file(line: Line) -> Iterator[str]:
    """Remove an unfinished file, unless it is locked: then a process still writes it."""
    directory, name = os.path.split(line.words[0])
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if record := Record.take(name, fd, plain=True):
                record.remove()
                yield line.words[0]
        finally:
            os.close(fd)


def _groups(line: Line) -> Iterator[str]:
    """Yield all groups in one directory whose names begin with the owner's mark."""
    for path in marked(*line.words):
        cgroupfs.end(path)
        yield path


def _undo(line: Line) -> Iterator[str]:
    if not undo.undo(line):
        raise BlockingIOError(errno.EAGAIN, "a child still needs it", line.words[1])
    yield line.words[1]


VERBS: dict[str, Callable[[Line], Iterator[str]]] = {"tree": _tree, "file": _file, "groups": _groups, "undo": _undo}


def sweep(verbs: tuple[str, ...] = (*VERBS,)) -> list[str]:
    """Remove the leftovers of owners that ended, and undo what they had made.  Return the paths.

    :param verbs: only this; the rest stays for the next sweep
    """
    swept: list[str] = []
    for directory, name in journals():
        if record := Record.take(name, directory):
            _end(record, verbs, swept)
    return swept


def _end(record: Record, verbs: tuple[str, ...], swept: list[str]) -> None:
    """Undo the entries, the last one first.  An entry that cannot be undone stays for the next sweep, as does one of a later version."""
    left = False
    for line in reversed(entries(record.lines())):
        try:
            if line.verb in verbs:
                swept += VERBS[line.verb](line)
                record.write("done", line.number)
                continue
        except (OSError, ContainerKitError, LookupError, TypeError, ValueError) as error:
            LOG.debug("%s of a process that ended: not now, %s", line.words, error)
        left = True
    record.let_go() if left else record.remove()
