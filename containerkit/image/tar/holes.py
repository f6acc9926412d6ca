"""Holes of files: where the bytes are, and a copy that has the same ones.

:see: lseek(2), SEEK_DATA;  copy_file_range(2)
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from ..digest import CHUNK
from ..limits import Limits

__all__ = ["LEAST", "copy", "data", "pieces"]

LEAST = 1 << 20  # bytes of zeros that are worth a map
BLOCK, PROBE = 1 << 16, 1 << 12
MOST = Limits().extents - 1  # the end of the file takes one more
ZEROS = bytes(BLOCK)
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
Extents = tuple[tuple[int, int], ...]


def data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield offset and end of the stretches that the file system has; the whole file where it does not tell."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            at = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                yield at, size
            return
        yield start, min(at, size)


def pieces(fd: int, size: int) -> Extents | None:
    """Return the stretches of a file that are not zeros, in blocks of 64 KiB; None where there are too few zeros.

    They follow from the content alone, so that the same file gives the same tar on every file system; holes that the
    file system knows are not read.  The descriptor stands at its beginning afterwards.
    """
    if size < LEAST:
        return None
    found: list[tuple[int, int]] = []
    for start, end in data(fd, size):
        for at in range(max(start - start % BLOCK, sum(found[-1]) if found else 0), end, BLOCK):
            if _zeros(fd, at, min(BLOCK, size - at)):
                continue
            if found and sum(found[-1]) == at:
                found[-1] = (found[-1][0], min(at + BLOCK, size) - found[-1][0])
            else:
                found.append((at, min(BLOCK, size - at)))
    os.lseek(fd, 0, os.SEEK_SET)
    if size - sum(length for _, length in found) < LEAST:
        return None
    return _few(found)


def _zeros(fd: int, at: int, count: int) -> bool:
    head = os.pread(fd, min(PROBE, count), at)
    return head == ZEROS[: len(head)] and os.pread(fd, count, at) == ZEROS[:count]


def _few(found: list[tuple[int, int]]) -> Extents:
    """Return so few stretches that a reader takes them: small holes are filled first."""
    gap = BLOCK
    while len(found) > MOST:
        joined = found[:1]
        for at, length in found[1:]:
            start, before = joined[-1]
            if at - start - before <= gap:
                joined[-1] = (start, at + length - start)
            else:
                joined.append((at, length))
        found, gap = joined, gap * 2
    return tuple(found)


def copy(directory: int, name: bytes, new: bytes, without: tuple[str, ...] = ()) -> None:
    """Copy a file, link or device with all of its attributes: owner, mode, attributes, time, holes.

    :param new: the new path, which does not exist
    :param without: beginnings of the names of attributes that the copy does not get
    :raises OSError: the copy cannot be made
    """
    status = os.lstat(name, dir_fd=directory)
    if stat.S_ISREG(status.st_mode):
        _content(directory, name, new, status.st_size)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=directory), new)
    else:
        os.mknod(new, status.st_mode, status.st_rdev)
    os.chown(new, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(new, stat.S_IMODE(status.st_mode))
    source = f"/proc/self/fd/{directory}/{os.fsdecode(name)}"
    for attribute in os.listxattr(source, follow_symlinks=False):
        if not attribute.startswith(without or "\0"):
            os.setxattr(new, attribute, os.getxattr(source, attribute, follow_symlinks=False), follow_symlinks=False)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _content(directory: int, name: bytes, new: bytes, size: int) -> None:
    with open(os.open(name, READ, dir_fd=directory), "rb", buffering=0) as source, open(new, "xb", buffering=0) as target:
        for start, end in data(source.fileno(), size):
            while start < end:
                if not (block := os.pread(source.fileno(), min(CHUNK, end - start), start)):
                    break
                start += os.pwrite(target.fileno(), block, start)
        os.ftruncate(target.fileno(), size)
