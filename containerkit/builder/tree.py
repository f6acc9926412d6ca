"""A tree that is read and never mounted: a context, or layers laid over each other as overlayfs would.

    tree = Tree(base, app)                   unpacked layers, the lowest first
    tree.get(b"etc/passwd")                  what is there: a Node, or None; links are not followed
    tree.follow(b"bin/sh")                   the same path without links; nothing leads out of the tree
    tree.children(b"etc")                    names, sorted

Every directory is looked up below its own root by openat2 and held by descriptor, every file is opened without following a
link; so nothing outside is ever read, whoever changes the tree meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from ..base.frozen import frozen
from ..image.limits import Limits
from ..image.unpack.root import Root
from ..layers.merged import is_opaque, is_whiteout
from ..linux.descriptor import owned
from .errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Everything", "Filter", "Node", "Tree"]

FEW = 8  # layers whose directories stay open for a while; of more that would be too many descriptors
LINKS = 40  # followed at most, as the kernel has it
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Filter(Protocol):
    """Which paths of a tree are there at all."""

    def keeps(self, path: bytes) -> bool:
        """Whether a path is there."""

    def enters(self, path: bytes) -> bool:
        """Whether something below a path that is not kept may be."""


class Everything:
    """Hides nothing."""

    def keeps(self, path: bytes) -> bool:
        return True

    def enters(self, path: bytes) -> bool:
        return True


@frozen
class Node:
    """Something in a tree.

    :ivar path: from the root, without a slash before it; b"" for the root
    :ivar status: as lstat(2) gives it
    :ivar places: which layers have it, the topmost first; more than one only for a directory
    """

    path: bytes
    status: os.stat_result
    places: tuple[int, ...]

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]


class Tree:
    """Directories laid over each other.  Close it, or use it in a ``with`` block.

    :param layers: directories, the lowest first; none for an empty tree
    :param overlay: whether they say "deleted" as overlayfs does
    :param shown: which paths are there
    """

    def __init__(self, *layers: Path | str, overlay: bool = True, shown: Filter | None = None) -> None:
        self._overlay, self._shown = overlay, shown or Everything()
        self._lock = threading.RLock()
        self._nodes: dict[bytes, Node | None] = {}
        self._roots: list[Root] = []
        try:
            for layer in reversed(layers):
                self._roots.append(Root(layer))
        except BaseException:
            self.close()
            raise

    # --- looking -------------------------------------------------------------------------------------------------

    def get(self, path: bytes) -> Node | None:
        """What is at a path; a link is not followed, nor is one on the way."""
        with self._lock:
            if path not in self._nodes:
                self._nodes[path] = self._find(path)
            return self._nodes[path]

    @contextlib.contextmanager
    def _at(self, place: int, path: bytes) -> Iterator[int]:
        """A directory of one layer.  :raises OSError: there is none"""
        root = self._roots[place]
        if len(self._roots) <= FEW:
            yield root.directory(path)
        else:
            with owned(root.find(path)) as fd:
                yield fd

    def _find(self, path: bytes) -> Node | None:
        if not path:
            return self._top()
        parent, _, name = path.rpartition(b"/")
        above = self.get(parent)
        found = self._look(above, path, name) if above and above.is_dir else None
        return found if found and self._is_shown(found) else None

    def _top(self) -> Node | None:
        if not self._roots:
            return None
        return Node(b"", os.fstat(self._roots[0].fd), self._until_opaque([(place, root.fd) for place, root in enumerate(self._roots)]))

    def _look(self, parent: Node, path: bytes, name: bytes) -> Node | None:
        """Through the layers that have the directory, the topmost first, as overlayfs does."""
        if path.count(b"/") >= (most := Limits.default().depth):
            raise BuildError(f"{os.fsdecode(path[:200])!r}: more than {most} directories inside each other")
        first: os.stat_result | None = None
        places: list[int] = []
        for place in parent.places:
            try:
                with self._at(place, parent.path) as fd:
                    status = os.lstat(name, dir_fd=fd)
            except OSError:
                continue
            if self._overlay and is_whiteout(status):
                break
            if not stat.S_ISDIR(status.st_mode):
                return Node(path, status, (place,)) if first is None else Node(path, first, tuple(places))
            first = first or status
            places.append(place)
            if self._hides(place, path):
                break
        return Node(path, first, tuple(places)) if first else None

    def _hides(self, place: int, path: bytes) -> bool:
        if not self._overlay:
            return False
        with self._at(place, path) as fd:
            return is_opaque(fd)

    def _until_opaque(self, roots: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        places = []
        for place, fd in roots:
            places.append(place)
            if self._overlay and is_opaque(fd):
                break
        return tuple(places)

    def _is_shown(self, node: Node) -> bool:
        if self._shown.keeps(node.path):
            return True
        return node.is_dir and self._shown.enters(node.path) and any(True for _ in self._inside(node))

    def children(self, path: bytes) -> list[bytes]:
        """The names in a directory, sorted; none of what is no directory."""
        node = self.get(path)
        return [child.name for child in self._inside(node)] if node and node.is_dir else []

    def _inside(self, node: Node) -> Iterator[Node]:
        with self._lock:
            names: set[bytes] = set()
            for place in node.places:
                with contextlib.suppress(OSError), self._at(place, node.path) as fd, os.scandir(fd) as entries:
                    names.update(os.fsencode(entry.name) for entry in entries)
            for name in sorted(names):
                below = node.path + b"/" + name if node.path else name
                if not self._shown.keeps(node.path) and not self._shown.keeps(below) and not self._shown.enters(below):
                    continue
                if found := self._below(node, below, name):
                    yield found

    def _below(self, parent: Node, path: bytes, name: bytes) -> Node | None:
        """As `get`, of a directory that may not be decided on yet: whether it is shown may depend on what is in it."""
        if path not in self._nodes:
            found = self._look(parent, path, name)
            self._nodes[path] = found if found and self._is_shown(found) else None
        return self._nodes[path]

    def follow(self, path: bytes) -> bytes:
        """The path with every link replaced by what it leads to, inside the tree.  What is not there stays as it is.

        :raises BuildError: links lead in a circle
        """
        left, done, links = [part for part in reversed(path.split(b"/")) if part], b"", 0
        while left:
            part = left.pop()
            if part in (b".", b".."):
                done = done.rpartition(b"/")[0] if part == b".." else done
                continue
            here = done + b"/" + part if done else part
            node = self.get(here)
            if node is None or not node.is_link:
                done = here
                continue
            if (links := links + 1) > LINKS:
                raise BuildError(f"{os.fsdecode(path)!r}: the links on the way lead in a circle")
            target = self.readlink(node)
            done = b"" if target.startswith(b"/") else done
            left += [part for part in reversed(target.split(b"/")) if part]
        return done

    def walk(self, path: bytes) -> Iterator[Node]:
        """What is at a path and below it, directories before what is in them."""
        node = self.get(path)
        if node:
            yield node
            for name in self.children(path):
                yield from self.walk(path + b"/" + name if path else name)

    # --- reading -------------------------------------------------------------------------------------------------

    def open(self, node: Node) -> int:
        """A descriptor of a file; the caller closes it."""
        parent, _, name = node.path.rpartition(b"/")
        with self._lock, self._at(node.places[0], parent) as fd:
            return os.open(name, READ, dir_fd=fd)

    def read(self, path: bytes, most: int = 1 << 20) -> bytes | None:
        """The bytes of a small file, links followed; None where there is none."""
        node = self.get(self.follow(path))
        if node is None or not node.is_file:
            return None
        with open(self.open(node), "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise BuildError(f"{os.fsdecode(path)!r} has more than {most} bytes")
        return data

    def readlink(self, node: Node) -> bytes:
        """What a link says."""
        parent, _, name = node.path.rpartition(b"/")
        with self._lock, self._at(node.places[0], parent) as fd:
            return os.readlink(name, dir_fd=fd)

    def handle(self, node: Node) -> tuple[int, str]:
        """A descriptor that only names it, and the path by which its attributes are reached; the caller closes the first."""
        parent, _, name = node.path.rpartition(b"/")
        with self._lock, self._at(node.places[0], parent) as directory:
            fd = os.dup(directory)
        return fd, f"/proc/self/fd/{fd}/{os.fsdecode(name or b'.')}"

    def close(self) -> None:
        """Closes what is open."""
        while self._roots:
            self._roots.pop().close()
        self._nodes.clear()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
