"""Make the tar of the layer that turns one plain tree into another.

write_difference(old, new, sink)     see `diff` for one tree
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ..linux.descriptor import DIRECTORY, owned
from .digest import CHUNK
from .tar.tar import Entry
from .tar.writing import Sink, Writer
from .tar_from_tree import READ, StrPath, TarOptions, Upper, listing
from .unpack.root import join

__all__ = ["write_difference"]


def write_difference(old: StrPath, new: StrPath, sink: Sink, form: TarOptions | None = None) -> int:
    """Write the layer that turns `old` into `new`.  Files are compared byte by byte.

    :return: bytes of the tar
    """
    writer = Writer(sink)
    with owned(os.open(old, DIRECTORY)) as before, owned(os.open(new, DIRECTORY)) as after:
        _Difference(writer, form or TarOptions(), before, after).run(before, after)
    writer.close()
    return writer.size


class _Difference(Upper):
    """Two plain trees, walked together."""

    def __init__(self, writer: Writer, form: TarOptions, old: int, new: int) -> None:
        super().__init__(writer, form)
        self.old_names, self.new_names = dict(_names(old, b"")), dict(_names(new, b""))
        self.waiting: list[tuple[bytes, Entry]] = []  # directories that are the same: written once something inside is not

    def run(self, old: int, new: int) -> None:
        self.waiting.append((b"", entry := self.described(new, b".", os.fstat(new))))
        if self.described(old, b".", os.fstat(old)) != entry:
            self.flush()
        self.compare(old, new, b"")

    def compare(self, old: int | None, new: int, path: bytes) -> None:
        before = dict(listing(old)) if old is not None else {}
        after = dict(listing(new))
        for name in sorted(before.keys() | after.keys()):
            below = join(path, name)
            if name not in after:
                self.flush()
                self.delete(join(path, b".wh." + name))
            elif stat.S_ISDIR(after[name].st_mode):
                self.directory(old if name in before and stat.S_ISDIR(before[name].st_mode) else None, new, name, below, after[name])
            elif name not in before or not self.same(old, new, name, below, before[name], after[name]):
                self.flush()
                self.add(new, name, below, after[name])

    def directory(self, old: int | None, new: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        flags = DIRECTORY | os.O_NOFOLLOW
        with owned(os.open(name, flags, dir_fd=new)) as after:
            entry = self.entry(after, path, status, after, b"")
            self.waiting.append((path, entry))
            if old is None:
                self.flush()
                self.compare(None, after, path)
            else:
                with owned(os.open(name, flags, dir_fd=old)) as before:
                    if self.described(before, path, os.fstat(before)) != entry:
                        self.flush()
                    self.compare(before, after, path)
        if self.waiting and self.waiting[-1][0] == path:
            self.waiting.pop()

    def flush(self) -> None:
        """Write the directories on the way to a change, before the change: otherwise they would be made with other modes."""
        for _, entry in self.waiting:
            self.writer.add(entry)
        self.waiting.clear()

    def described(self, fd: int, path: bytes, status: os.stat_result) -> Entry:
        return self.entry(fd, path, status, fd, b"")

    def same(
        self, old: int | None, new: int, name: bytes, path: bytes, before: os.stat_result, after: os.stat_result
    ) -> bool:  # fmt: skip
        assert old is not None
        if self.old_names.get(path) != self.new_names.get(path) or stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
            return False
        if self.plain(old, name, path, before) != self.plain(new, name, path, after):
            return False
        return not stat.S_ISREG(after.st_mode) or os.path.samestat(before, after) or _same_bytes(old, new, name)

    def plain(self, at: int, name: bytes, path: bytes, status: os.stat_result) -> Entry:
        link = os.readlink(name, dir_fd=at) if stat.S_ISLNK(status.st_mode) else b""
        return self.entry(at, path, status, f"/proc/self/fd/{at}/{os.fsdecode(name)}", link)


def _names(fd: int, path: bytes) -> Iterator[tuple[bytes, frozenset[bytes]]]:
    """Yield each name of a file that has several names, with all of them."""
    groups: dict[tuple[int, int], set[bytes]] = {}
    _gather(fd, path, groups)
    for names in groups.values():
        yield from ((name, frozenset(names)) for name in names if len(names) > 1)


def _gather(fd: int, path: bytes, groups: dict[tuple[int, int], set[bytes]]) -> None:
    for name, status in listing(fd):
        if stat.S_ISDIR(status.st_mode):
            with owned(os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)) as below:
                _gather(below, join(path, name), groups)
        elif status.st_nlink > 1:
            groups.setdefault((status.st_dev, status.st_ino), set()).add(join(path, name))


def _same_bytes(old: int, new: int, name: bytes) -> bool:
    with owned(os.open(name, READ, dir_fd=old)) as one, owned(os.open(name, READ, dir_fd=new)) as other:
        while data := os.read(one, CHUNK):
            if os.read(other, CHUNK) != data:
                return False
        return not os.read(other, 1)
