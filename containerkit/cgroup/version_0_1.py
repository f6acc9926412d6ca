"""The groups that a process of version 0.1 left, which held a lock on one byte of a file: their names have the byte's number in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator

from ..linux.ids import is_machine_root, machine_uid
from ..state.journal import marked
from ..state.locks import FLOCK
from ..state.owner import trusted
from .ownership import PREFIX

__all__ = ["abandoned"]


def _register() -> str:
    if is_machine_root():
        return "/run/containerkit.cgroups"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return f"{runtime}/containerkit.cgroups" if runtime else f"{os.environ.get('TMPDIR') or '/tmp'}/.containerkit.cgroups.{machine_uid()}"


def abandoned() -> Iterator[str]:
    """Yield the directories of groups whose owner is dead.  While the caller looks at one, no other process can become its owner."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(_register(), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if trusted(fd):
                tag, *homes = os.pread(fd, os.fstat(fd).st_size, 0).decode().splitlines() or [""]
                yield from (path for home in sorted(set(homes)) for path in _dead(fd, home, f"{PREFIX}{tag}-"))
        finally:
            os.close(fd)


def _dead(fd: int, home: str, mark: str) -> Iterator[str]:
    for path in marked(home, mark):
        with contextlib.suppress(ValueError, OSError):
            byte = int(os.path.basename(path).removeprefix(mark).partition("-")[0], 16)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
            yield path
