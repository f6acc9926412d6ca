"""Where the files of a COPY or ADD go, and the layer that comes of it.

    laying = Laying(tree_below, form, owner=(0, 0))
    laying.put(picks, b"app/")
    layer = workshop.layer(laying.write)

Nothing is copied on the way: the layer is written from where the files are.  Directories above a destination are written down
as they are below, so that the layer leaves them alone.
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
    """One entry of the layer, and where its bytes are."""

    entry: Entry
    tree: Tree | None = None
    node: Node | None = None


class Laying:
    """The entries of one layer, by their paths.

    :param below: what is there already; links in it are followed, inside it
    :param form: ids and times as they are written down
    :param owner: whose everything becomes; None for root, and for what keeps its owner
    :param mode: what modes become
    :param excluded: what is left out: is asked with the path inside a source
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
        """Places what was picked.

        :param dest: from the root; a directory where it ends in a slash
        :raises BuildError: a file would replace a directory, or the other way round
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
        """With the directories above it, which are as they are where it comes from."""
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
        """Its path from the source."""
        return node.path[len(pick.node.path) :].lstrip(b"/") if pick.node.path else node.path

    def _file(self, pick: Pick, node: Node, target: bytes) -> None:
        if stat.S_ISSOCK(node.status.st_mode):
            return
        if self._is_directory(target):
            raise BuildError(f"{os.fsdecode(node.path)} cannot take the place of the directory /{os.fsdecode(target)}")
        self._add(target, self._entry(pick, node, target), pick.tree, node)

    def make(self, target: bytes) -> None:
        """A directory that has to be there."""
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
        """A directory on the way: as it is below, or new."""
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
        """Where a path leads; what this layer has itself is no link that leads on."""
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

    # --- what they become ----------------------------------------------------------------------------------------

    def _made(self, path: bytes) -> Entry:
        """A directory that nobody describes has the owner and the mode that --chown and --chmod say, as buildkit has it."""
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
        """The tar of it, parents before what is in them."""
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
