"""What files are, by content: the part of a cache key that speaks of sources.

    known = Digests.beside(store.directory, context)
    known.of(picks)                    names, modes, owners, bytes and links; times do not count
    known.save()

Reading all files again for every build would be slow.  What was read is remembered by device, inode, size, modification and
change time; the last cannot be set by a program.  A file that changed just now is not remembered: it could change once more
without its times telling.
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
MOST = 200_000  # digests that are kept of one context
SETTLED = 2_000_000_000  # nanoseconds: longer than any clock of a file system takes for a tick
Excluded = Callable[[bytes], bool]


class Digests:
    """Digests of files, remembered.

    :param path: where they are kept from one build to the next; nowhere unless given
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
        """Those of one context.  Of one that is in the store itself, as an unpacked tar is, nothing is kept: it goes with the build."""
        import hashlib

        if context.is_relative_to(store):
            return cls()
        return cls(store / DIRECTORY / f"{hashlib.sha256(os.fsencode(context)).hexdigest()[:32]}.json")

    def of(self, picks: Iterable[Pick], excluded: Excluded | None = None) -> str:
        """The digest of what was picked: a hex number."""
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
        """The digest of one file's bytes."""
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
        """Writes down what is new.  Whoever is killed meanwhile leaves the old."""
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
    """Of a file with many zeros the stretches between them, wherever the file system has holes."""
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
