"""Digests of source files: the part of a cache key that describes their content.

    known = Digests.beside(store.directory, context)
    known.of(picks)                    names, modes, owners, bytes and links; times do not count
    known.save()

Reading all files again for every build would be slow.  So digests are remembered by device, inode, size, modification time and change
time; a program cannot set the last.  The digest of a file that changed just now is not remembered, because the file could change
again within one tick of the clock and keep its times.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable

from ..image.digest import CHUNK
from ..image.tar.holes import pieces
from ..image.tar.writing import Writer
from ..image.tar_from_tree import TarOptions, _Tree
from .cache import write
from .picking import Pick
from .tree import Node, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from pathlib import Path

__all__ = ["Digests"]

DIRECTORY = "build/digests"
MOST = 200_000  # the most digests kept for one context
SETTLED = 2_000_000_000  # nanoseconds, longer than the clock tick of any filesystem
Excluded = Callable[[bytes], bool]


class Digests:
    """Digests of files, remembered.

    :param path: the file that keeps them from one build to the next; without it they are not kept
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._changed, self._lock = path, False, threading.Lock()
        self._known: dict[str, list[int | str]] = {}
        self._used = set[str]()
        if path is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
                import json

                known = json.loads(path.read_bytes()).items()
                self._known = {key: what for key, what in known if isinstance(what, list) and len(what) == 4}
        self._maker = _Tree(Writer(lambda block: None), TarOptions())

    @classmethod
    def beside(cls, store: Path, context: Path) -> Digests:
        """Return the digests of one context.  A context inside the store, such as an unpacked tar, ends with its build: none are kept."""
        import hashlib

        if context.is_relative_to(store):
            return cls()
        return cls(store / DIRECTORY / f"{hashlib.sha256(os.fsencode(context)).hexdigest()[:32]}.json")

    def of(self, picks: Iterable[Pick], excluded: Excluded | None = None) -> str:
        """Return the digest of the picked files as a hex number."""
        import hashlib

        hasher = hashlib.sha256()
        for pick in picks:
            _feed(hasher, b"pick", pick.name, b"%d%d%d" % (pick.whole, pick.owned, pick.node.is_dir))
            for node in pick.above:
                self._node(hasher, pick, node, b"above")
            for node in pick.tree.walk(pick.node.path):
                inside = node.path[len(pick.node.path) :].lstrip(b"/")
                if excluded is None or not excluded(inside or node.name):
                    self._node(hasher, pick, node, inside)
        return hasher.hexdigest()

    def _node(self, hasher: hashlib._Hash, pick: Pick, node: Node, inside: bytes) -> None:
        status = node.status
        owner = b"%d:%d" % (status.st_uid, status.st_gid) if pick.owned else b""
        _feed(hasher, inside, b"%o" % status.st_mode, owner, b"%d" % (0 if node.is_dir else status.st_rdev))
        fd, path = pick.tree.handle(node)
        try:
            attributes = self._maker.attributes(path)
        finally:
            os.close(fd)
        for name, value in sorted(attributes.items()):
            _feed(hasher, name, value)
        if node.is_link:
            _feed(hasher, pick.tree.readlink(node))
        elif stat.S_ISREG(status.st_mode):
            _feed(hasher, self.file(pick.tree, node).encode())

    def file(self, tree: Tree, node: Node) -> str:
        """Return the digest of one file's bytes."""
        status = node.status
        key, what = f"{status.st_dev}:{status.st_ino}", [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        self._used.add(key)
        found = self._known.get(key)
        if found and found[:3] == what:
            return str(found[3])
        began = time.time_ns()
        digest = _read(tree.open(node))
        if began - status.st_ctime_ns > SETTLED:
            with self._lock:
                self._known[key], self._changed = [*what, digest], True
        return digest

    def save(self) -> None:
        """Write new digests to the file.  A killed process leaves the old file."""
        if self._path is None or not self._changed:
            return
        with self._lock:
            many = len(self._known) > MOST
            write(self._path, {key: known for key, known in self._known.items() if not many or key in self._used})
            self._changed = False


def _feed(hasher: hashlib._Hash, *words: bytes) -> None:
    for word in words:
        hasher.update(b"%d:" % len(word))
        hasher.update(word)


def _read(fd: int) -> str:
    """Return the digest of a file.  A sparse file is hashed without its zeros, so the digest is the same on every filesystem."""
    import hashlib

    hasher = hashlib.sha256()
    with open(fd, "rb", buffering=0) as file:
        size = os.fstat(fd).st_size
        if (found := pieces(fd, size)) is None:
            while data := file.read(CHUNK):
                hasher.update(data)
            return hasher.hexdigest()
        _feed(hasher, b"sparse", b"%d" % size)
        for start, length in found:
            _feed(hasher, b"%d:%d" % (start, length))
            file.seek(start)
            while length > 0 and (data := file.read(min(CHUNK, length))):
                hasher.update(data)
                length -= len(data)
    return hasher.hexdigest()
