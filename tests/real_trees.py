"""A tree of gigabytes as a dict, so that two can be compared: holes are not read, and contents are digests.

    look(directory)["bin/su"] == [mode, uid, gid, mtime, device, size, digest or target, attributes, first of its hard links]

As a program it prints the dict of a directory as JSON, for one who cannot enter the mount namespace where the directory is.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator

PIECE = 1 << 20

Tree = dict[str, list[object]]


def look(directory: str | os.PathLike[str]) -> Tree:
    """All below, but not the directory itself: that has the owner and times of whoever unpacked it."""
    top, inodes, found = os.fsencode(directory), dict[int, str](), Tree()
    for here, directories, files, fd in os.fwalk(top):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = os.fsdecode(os.path.relpath(os.path.join(here, name), top))
            found[path] = _one(fd, name, path, inodes)
    return found


def _one(fd: int, name: bytes, path: str, inodes: dict[int, str]) -> list[object]:
    s = os.lstat(name, dir_fd=fd)
    here = f"/proc/self/fd/{fd}/".encode() + name
    content = ""
    if stat.S_ISREG(s.st_mode):
        content = _digest(here, s.st_size)
    elif stat.S_ISLNK(s.st_mode):
        content = os.fsdecode(os.readlink(name, dir_fd=fd))
    single = stat.S_ISDIR(s.st_mode) or s.st_nlink == 1
    size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
    first = "" if single else inodes.setdefault(s.st_ino, path)
    return [oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, s.st_rdev, size, content, _attributes(here), first]


def _attributes(path: bytes) -> list[list[str]]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return [
        [name, os.getxattr(path, name, follow_symlinks=False).hex()]
        for name in names
        if not name.startswith(("trusted.overlay.", "user.overlay."))
    ]


def _digest(path: bytes, size: int) -> str:
    """Of the pieces that are not zero, and where they are."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        for at, piece in _pieces(file.fileno(), size):
            if piece.count(0) != len(piece):
                digest.update(b"%d " % at + piece)
    return digest.hexdigest()


def _pieces(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA) // PIECE * PIECE
        except OSError:  # nothing but a hole to the end
            return
        yield at, os.pread(fd, PIECE, at)
        at += PIECE


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1])))
