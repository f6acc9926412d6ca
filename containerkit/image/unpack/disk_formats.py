"""The two forms of a layer on disk: one directory of an overlay, with deletions written down; or a plain tree, with them done.

The meaning of an entry is decided before (see `meaning`).  In both forms a directory that the layer goes through replaces a file
of any other kind that an older layer has there, as overlayfs shows it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from ...linux.descriptor import owned
from ..errors import CannotUnpack, InvalidLayer
from .attributes import Attributes
from .meaning import Decision, Directory, Ending
from .root import Root, join

__all__ = ["DiskFormat", "Overlay", "Plain"]


class DiskFormat:
    """The base of both forms.

    :ivar implied: directories that the layer goes through and does not describe; not those that it deleted before
    """

    def __init__(self, root: Root, attributes: Attributes) -> None:
        self.root, self.attributes, self.implied = root, attributes, {b""}
        self.enter: Callable[[bytes, int], int] | None = None  # called before a change in the directory `fd`

    def way(self, path: bytes, *, fresh: bool) -> None:
        """Make a directory that the layer goes through.  :param fresh: it replaces another file of the layer"""
        raise NotImplementedError

    def made(self, decision: Decision) -> None:
        """Note that a path of the layer exists now."""
        self.implied.discard(decision.path)

    def delete(self, path: bytes) -> None:
        """Delete the file or tree that older layers have at a path."""
        raise NotImplementedError

    def clear(self, path: bytes, node: Directory, *, itself: bool) -> None:
        """Delete everything that older layers have in a directory.  :param itself: and the directory's own attributes"""
        raise NotImplementedError

    def borrow(self, decision: Decision) -> None:
        """Make a hard link to a file of an older layer.  :raises InvalidLayer: there is none"""
        raise NotImplementedError

    def finish(self, ending: Ending) -> None:
        """End the layer: it has no more entries."""

    def inside(self, path: bytes) -> int:
        """Return a directory of the layer, in which something is about to change."""
        fd = self.root.directory(path)
        return self.enter(path, fd) if self.enter else fd

    def _usual(self, path: bytes) -> None:
        """Set the owner and the mode of a directory that no entry describes."""
        with owned(self.root.find(path)) as fd:
            self.attributes.own(fd, 0, 0)
            os.fchmod(fd, 0o755)

    def _gone(self, decision: Decision) -> InvalidLayer:
        return InvalidLayer(f"{decision.path[:200]!r}: a hard link to {decision.source[:200]!r}, which is not there")


class Overlay(DiskFormat):
    """One directory of an overlay.

    :param xattrs: "user" or "trusted": which attribute says "opaque"
    :param borrows: hard links may lead to files of layers below; `implied` makes them when those layers are known
    """

    def __init__(self, root: Root, attributes: Attributes, xattrs: str, *, borrows: bool) -> None:
        super().__init__(root, attributes)
        self._opaque, self._borrows = f"{xattrs}.overlay.opaque", borrows
        if os.listdir(root.fd):
            raise CannotUnpack(errno.ENOTEMPTY, b".", "a layer for an overlay needs an empty directory")

    def way(self, path: bytes, *, fresh: bool) -> None:
        parent, _, name = path.rpartition(b"/")
        at = self.root.directory(parent)
        if fresh:
            self.root.remove(at, name)
        os.mkdir(name, 0o700, dir_fd=at)
        self._usual(path)
        if fresh:
            self._hide_all(path)
        else:
            self.implied.add(path)

    def made(self, decision: Decision) -> None:
        super().made(decision)
        if decision.fresh:
            self._hide_all(decision.path)

    def delete(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=self.inside(parent))

    def clear(self, path: bytes, node: Directory, *, itself: bool) -> None:
        self._hide_all(path)
        if itself:
            self.implied.discard(path)

    def borrow(self, decision: Decision) -> None:
        if not self._borrows:
            raise self._gone(decision)
        if decision.replaces:
            with contextlib.suppress(FileNotFoundError):  # that file too was a link to one of a layer below
                self.root.remove(self.inside(decision.parent), decision.name)

    def finish(self, ending: Ending) -> None:
        for path in ending.phantoms:
            parent, _, name = path.rpartition(b"/")
            os.unlink(name, dir_fd=self.root.directory(parent))
        for path, fresh in ending.way:
            self.way(path, fresh=fresh)

    def _hide_all(self, path: bytes) -> None:
        fd = self.root.directory(path)
        try:
            os.setxattr(fd, self._opaque, b"y")
        except OSError as error:
            raise CannotUnpack(error.errno or 0, path, f"{self._opaque}; it hides what lies below: {error.strerror}") from error


class Plain(DiskFormat):
    """A tree with the older layers in it."""

    def way(self, path: bytes, *, fresh: bool) -> None:
        parent, _, name = path.rpartition(b"/")
        at = self.inside(parent)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
                return
            self.root.remove(at, name)
        os.mkdir(name, 0o700, dir_fd=at)
        self._usual(path)
        if not fresh:
            self.implied.add(path)

    def delete(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        with contextlib.suppress(FileNotFoundError):
            self.root.remove(self.inside(parent), name)

    def clear(self, path: bytes, node: Directory, *, itself: bool) -> None:
        """Delete what older layers have in a directory; this layer's attributes of directories are set at the end."""
        with owned(self.root.find(path)) as fd:
            if self.enter:
                self.enter(path, fd)
            for name in map(os.fsencode, os.listdir(fd)):
                child = node.children.get(name)
                if child is None:
                    self.root.remove(fd, name)
                elif isinstance(child, Directory):
                    self.clear(join(path, name), child, itself=True)
        if itself:
            self._usual(path)

    def borrow(self, decision: Decision) -> None:
        parent, _, name = decision.source.rpartition(b"/")
        try:
            there = self.root.directory(parent)
            if stat.S_ISDIR(os.lstat(name, dir_fd=there).st_mode):
                raise InvalidLayer(f"{decision.path[:200]!r}: a hard link to {decision.source[:200]!r}, which is no file")
            link(self.root, there, name, self.inside(decision.parent), decision.name)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise self._gone(decision) from None
            raise


def link(root: Root, there: int, source: bytes, at: int, name: bytes) -> None:
    """Give a file another name, in place of the file that has that name."""
    try:
        os.link(source, name, src_dir_fd=there, dst_dir_fd=at, follow_symlinks=False)
    except FileExistsError:
        if os.path.samestat(os.lstat(name, dir_fd=at), os.lstat(source, dir_fd=there)):
            return
        root.remove(at, name)
        os.link(source, name, src_dir_fd=there, dst_dir_fd=at, follow_symlinks=False)
