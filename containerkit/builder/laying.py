"""The layer of a COPY or ADD: target paths for the picked files, and the tar with them.

    laying = Laying(tree_below, form, owner=(0, 0))
    laying.put(picks, b"app/")
    layer = workspace.layer(laying.write)

Files are read from their sources straight into the tar, without a copy.  The parent directories of a destination are written with
the attributes they have below, so that the layer does not change them.
:see: https://docs.docker.com/reference/dockerfile/#copy
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from ..base.frozen import frozen
from ..image.tar.tar import Entry
from ..image.tar.writing import Sink, Writer
from ..image.tar_from_tree import TarOptions, _Tree
from .errors import BuildError
from .modes import Mode
from .picking import Pick
from .tree import Node, Tree

__all__ = ["Laying"]

Chosen = Callable[[bytes], bool]


@frozen
class _Placed:
    """One entry of the layer, and the file with its bytes."""

    entry: Entry
    tree: Tree | None = None
    node: Node | None = None


class Laying:
    """The entries of one layer, by their paths.

    :param below: the files of the layers below; links in it are followed, but never out of it
    :param form: which ids and times are written
    :param owner: the owner of every file; None keeps the owner of files that have one, and makes root the owner of the rest
    :param mode: the change of each mode
    :param excluded: returns whether a file is left out, by its path inside a source
    """

    def __init__(
        self, below: Tree, form: TarOptions, *, owner: tuple[int, int] | None = None, mode: Mode | None = None,
        excluded: Chosen | None = None,
    ) -> None:  # fmt: skip
        self._below, self._form, self._owner, self._mode = below, form, owner, mode
        self._excluded = excluded or (lambda path: False)
        self._placed: dict[bytes, _Placed] = {}
        self._maker, self._plain = _Tree(Writer(lambda block: None), form), _Tree(Writer(lambda block: None), TarOptions(epoch=form.epoch))
        self._links: dict[tuple[int, int], bytes] = {}
        self._now = form.time(os.stat_result((0,) * 10, {"st_mtime_ns": time.time_ns()}))

    # --- where things go -----------------------------------------------------------------------------------------

    def put(self, picks: list[Pick], dest: bytes) -> None:
        """Place the picked files.

        :param dest: from the root; it is a directory when it ends in a slash
        :raises BuildError: a file would replace a directory, or a directory a file
        """
        target = self._follow(dest.strip(b"/"))
        if dest.endswith(b"/") or not dest:
            self.make(target)
        for each in picks:
            self._one(each, target)

    def _one(self, pick: Pick, target: bytes) -> None:
        if pick.whole:
            self._whole(pick, target)
        elif pick.node.is_dir:
            self._directory(pick, pick.node, target, top=True)
        elif not self._excluded(pick.node.name):
            place = self._join(target, pick.name) if self._is_directory(target) else target
            self._file(pick, pick.node, place)

    def _whole(self, pick: Pick, target: bytes) -> None:
        """Place a pick under its whole name.  The directories above it keep the attributes they have in the source."""
        parts = pick.name.split(b"/") if pick.name else []
        for part, above in zip(parts[:-1], pick.above, strict=True):
            target = self._follow(self._join(target, part))
            if not self._is_directory(target):
                self._add(target, self._entry(pick, above, target), pick.tree, above)
        place = self._join(target, parts[-1]) if parts else target
        if pick.node.is_dir:
            self._directory(pick, pick.node, self._follow(place), top=False)
        else:
            self._file(pick, pick.node, place)

    def _directory(self, pick: Pick, node: Node, target: bytes, *, top: bool) -> None:
        there = self._status(target)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            raise BuildError(
                f"the directory {os.fsdecode(node.path) or '.'} cannot take the place of /{os.fsdecode(target)}, which is none"
            )
        if there is None or not top:
            self._add(target, self._entry(pick, node, target), pick.tree, node)
        else:
            self.make(target)
        for name in pick.tree.children(node.path):
            child = pick.tree.get(self._join(node.path, name))
            if child is not None and not self._excluded(self._inside(pick, child)):
                place = self._join(target, name)
                if child.is_dir:
                    self._directory(pick, child, self._follow(place), top=False)
                else:
                    self._file(pick, child, place)

    @staticmethod
    def _inside(pick: Pick, node: Node) -> bytes:
        """Return a node's path relative to its source."""
        return node.path[len(pick.node.path) :].lstrip(b"/") if pick.node.path else node.path

    def _file(self, pick: Pick, node: Node, target: bytes) -> None:
        if stat.S_ISSOCK(node.status.st_mode):
            return
        if self._is_directory(target):
            raise BuildError(f"{os.fsdecode(node.path)} cannot take the place of the directory /{os.fsdecode(target)}")
        self._add(target, self._entry(pick, node, target), pick.tree, node)

    def make(self, target: bytes) -> None:
        """Add a directory unless it exists."""
        there = self._status(target)
        if there is None:
            self._add(target, self._made(target))
        elif not stat.S_ISDIR(there.st_mode):
            raise BuildError(f"/{os.fsdecode(target)} is no directory")
        else:
            self._parents(target)
            self._parent(target)

    def _add(self, target: bytes, entry: Entry, tree: Tree | None = None, node: Node | None = None) -> None:
        self._parents(target)
        self._placed[target] = _Placed(entry, tree, node)

    def _parents(self, target: bytes) -> None:
        parts = target.split(b"/")[:-1]
        for count in range(1, len(parts) + 1):
            self._parent(b"/".join(parts[:count]))

    def _parent(self, path: bytes) -> None:
        """Add a parent directory with the attributes it has below, or a new one."""
        if not path or path in self._placed:
            return
        node = self._below.get(path)
        if node is None:
            self._placed[path] = _Placed(self._made(path))
        elif node.is_dir:
            self._placed[path] = _Placed(self._describe(self._maker, self._below, node, path))
        else:
            raise BuildError(f"/{os.fsdecode(path)} is no directory")

    def _follow(self, path: bytes) -> bytes:
        """Return a path with the links below resolved.  A directory of this layer replaces a link below, so it ends the search."""
        for count in range(path.count(b"/") + 1, 0, -1):
            head = b"/".join(path.split(b"/")[:count])
            if head in self._placed and self._placed[head].entry.kind == "directory":
                return path
        return self._below.follow(path)

    def _status(self, path: bytes) -> os.stat_result | None:
        placed = self._placed.get(path)
        if placed is not None:
            kind = stat.S_IFDIR if placed.entry.kind == "directory" else stat.S_IFREG
            return os.stat_result((kind, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        node = self._below.get(path)
        return node.status if node else None

    def _is_directory(self, path: bytes) -> bool:
        status = self._status(path)
        return not path or (status is not None and stat.S_ISDIR(status.st_mode))

    @staticmethod
    def _join(base: bytes, name: bytes) -> bytes:
        return base + b"/" + name if base and name else base or name

    # --- the entries ---------------------------------------------------------------------------------------------

    def _made(self, path: bytes) -> Entry:
        """Describe a directory that no source describes: --chown and --chmod give its owner and mode, as in buildkit."""
        uid, gid = self._owner or (0, 0)
        mode = self._mode(0o755, directory=True) if self._mode is not None else 0o755
        return Entry(path, "directory", mode, uid, gid, mtime=self._now)

    def _entry(self, pick: Pick, node: Node, target: bytes) -> Entry:
        entry = self._describe(self._maker if pick.owned else self._plain, pick.tree, node, target)
        if self._mode is not None and not node.is_link:
            entry = entry._replace(mode=self._mode(entry.mode, directory=node.is_dir))
        if self._owner is not None or not pick.owned:
            uid, gid = self._owner or (0, 0)
            entry = entry._replace(uid=uid, gid=gid)
        return entry

    @staticmethod
    def _describe(maker: _Tree, tree: Tree, node: Node, target: bytes) -> Entry:
        link = tree.readlink(node) if node.is_link else b""
        fd, path = tree.handle(node)
        try:
            return maker.entry(fd, target or b".", node.status, path, link)
        finally:
            os.close(fd)

    def write(self, sink: Sink) -> None:
        """Write the tar, parents before their children."""
        writer = Writer(sink)
        for path in sorted(self._placed, key=lambda path: path.split(b"/")):
            if path:
                self._write_one(writer, self._placed[path])
        writer.close()

    def _write_one(self, writer: Writer, placed: _Placed) -> None:
        entry, node = placed.entry, placed.node
        if placed.tree is None or node is None or entry.kind == "directory":
            writer.add(entry)
            return
        if node.status.st_nlink > 1:
            first = self._links.setdefault((node.status.st_dev, node.status.st_ino), entry.name)
            if first != entry.name:
                writer.add(entry._replace(kind="hardlink", linkname=first, size=0, stored=0))
                return
        if entry.kind != "file":
            writer.add(entry)
            return
        fd = placed.tree.open(node)
        try:
            if _identity(os.fstat(fd)) != _identity(node.status):
                raise BuildError(f"{os.fsdecode(node.path)} changed while it was copied")
            writer.add(entry, fd)
            if _identity(os.fstat(fd)) != _identity(node.status):
                raise BuildError(f"{os.fsdecode(node.path)} changed while it was copied")
        finally:
            os.close(fd)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
