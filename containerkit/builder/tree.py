"""A tree of files that is read without a mount: a context, or layers laid over each other by overlayfs's rules.

    tree = Tree(base, app)                   unpacked layers, the lowest first
    tree.get(b"etc/passwd")                  the Node at a path, or None; links are not followed
    tree.follow(b"bin/sh")                   the path with its links resolved inside the tree
    tree.children(b"etc")                    names, sorted

Each directory is looked up below its layer's root with openat2 and held by descriptor, and each file is opened without following a
link.  So no file outside is ever read, even if another program changes the tree meanwhile.
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

FEW = 8  # layers whose directories stay open for a while; with more layers that would take too many descriptors
LINKS = 40  # links that are followed at most, as in the kernel
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Filter(Protocol):
    """A choice of the paths that a tree has."""

    def keeps(self, path: bytes) -> bool:
        """Return whether a path exists in the tree."""

    def enters(self, path: bytes) -> bool:
        """Return whether a path below one that is not kept may exist in the tree."""


class Everything:
    """A filter that hides nothing."""

    def keeps(self, path: bytes) -> bool:
        return True

    def enters(self, path: bytes) -> bool:
        return True


@frozen
class Node:
    """A file, directory or link in a tree.

    :ivar path: from the root, without a leading slash; b"" for the root
    :ivar status: the result of lstat(2)
    :ivar places: the indexes of the layers that have it, the topmost first; only a directory has several
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
    :param overlay: whether the layers mark deletions as overlayfs does
    :param shown: the choice of the paths that exist
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
        """Return the node at a path.  No link is followed, neither at the path nor on the way."""
        with self._lock:
            if path not in self._nodes:
                self._nodes[path] = self._find(path)
            return self._nodes[path]

    @contextlib.contextmanager
    def _at(self, place: int, path: bytes) -> Iterator[int]:
        """Give a directory of one layer.

        :raises OSError: the layer has no such directory
        """
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
        """Search the layers that have the parent, the topmost first, as overlayfs does."""
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
        """Return the sorted names in a directory; [] for a path that is no directory."""
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
        """Look up a child of a directory that `get` may not know yet, because a directory may be shown only for its content."""
        if path not in self._nodes:
            found = self._look(parent, path, name)
            self._nodes[path] = found if found and self._is_shown(found) else None
        return self._nodes[path]

    def follow(self, path: bytes) -> bytes:
        """Return a path with every link resolved inside the tree.  Names that do not exist stay as they are.

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
        """Yield the node at a path and all nodes below it, directories before their content."""
        node = self.get(path)
        if node:
            yield node
            for name in self.children(path):
                yield from self.walk(path + b"/" + name if path else name)

    # --- reading -------------------------------------------------------------------------------------------------

    def open(self, node: Node) -> int:
        """Open a file, and return its descriptor.  The caller closes it."""
        parent, _, name = node.path.rpartition(b"/")
        with self._lock, self._at(node.places[0], parent) as fd:
            return os.open(name, READ, dir_fd=fd)

    def read(self, path: bytes, most: int = 1 << 20) -> bytes | None:
        """Return the bytes of a small file, links followed; None when it does not exist."""
        node = self.get(self.follow(path))
        if node is None or not node.is_file:
            return None
        with open(self.open(node), "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise BuildError(f"{os.fsdecode(path)!r} has more than {most} bytes")
        return data

    def readlink(self, node: Node) -> bytes:
        """Return the target of a link."""
        parent, _, name = node.path.rpartition(b"/")
        with self._lock, self._at(node.places[0], parent) as fd:
            return os.readlink(name, dir_fd=fd)

    def handle(self, node: Node) -> tuple[int, str]:
        """Return a descriptor, and a path below it to the node's attributes.  The caller closes the descriptor."""
        parent, _, name = node.path.rpartition(b"/")
        with self._lock, self._at(node.places[0], parent) as directory:
            fd = os.dup(directory)
        return fd, f"/proc/self/fd/{fd}/{os.fsdecode(name or b'.')}"

    def close(self) -> None:
        """Close all descriptors."""
        while self._roots:
            self._roots.pop().close()
        self._nodes.clear()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
