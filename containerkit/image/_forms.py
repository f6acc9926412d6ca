"""The two forms of a layer on disk: one directory of an overlay, with deletions written down; or a plain tree, with them done.

In both a directory that the layer goes through takes the place of whatever an older layer has there, as overlayfs shows it.
Links of the layer itself are followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from . import _root
from ._attributes import Attributes
from ._root import Root
from .errors import CannotUnpack, Escape, InvalidLayer

__all__ = ["WHITEOUT", "Form", "Overlay", "Plain"]

WHITEOUT = b".wh."


class Form:
    """What both have in common.

    :ivar implied: directories that the layer goes through and did not describe so far, by their true paths; not those that it
        deleted before
    """

    def __init__(self, root: Root, attributes: Attributes) -> None:
        self.root, self.attributes, self.implied = root, attributes, {b""}
        self.enter: Callable[[bytes, int], int] = lambda path, fd: fd  # before something changes in the directory `fd`

    def parent(self, path: bytes) -> int:
        """The directory at `path`, made where it is missing.  :raises InvalidLayer: the layer made something else there"""
        raise NotImplementedError

    def made(self, path: bytes) -> None:
        """The layer has this."""

    def described(self, path: bytes, fd: int) -> None:
        """The layer says what this directory is like."""
        self.implied.discard(path)
        if self.implied:  # it may have been reached through a link
            self.implied.discard(self.root.path_of(fd))

    def is_whiteout(self, at: int, name: bytes) -> bool:
        """Whether it is how overlayfs says that a name is deleted."""
        return False

    def make_directory(self, at: int, name: bytes, path: bytes) -> None:
        """A directory nobody else enters yet.  :raises FileExistsError: something is there"""
        os.mkdir(name, 0o700, dir_fd=at)

    def hide(self, parent: bytes, name: bytes) -> None:
        """Deletes what older layers have under a name, or with none all that they have in `parent`."""
        raise NotImplementedError

    def _imply(self, at: int, name: bytes, path: bytes) -> None:
        deleted = self.is_whiteout(at, name)
        self.make_directory(at, name, path)
        true = self._usual(path)
        self.made(true)
        if not deleted:
            self.implied.add(true)

    def _usual(self, path: bytes) -> bytes:
        """The owner and the mode of a directory that nobody describes.  Returns its true path."""
        with _root.opened(self.root.find(path)) as fd:
            self.attributes.own(fd, 0, 0)
            os.fchmod(fd, 0o755)
            return self.root.path_of(fd)

    @staticmethod
    def _check(path: bytes) -> None:
        if any(part.startswith(WHITEOUT) for part in path.split(b"/")):
            raise InvalidLayer(f"{path[:200]!r}: a whiteout is no directory")


class Overlay(Form):
    """One directory of an overlay.  :param xattrs: "user" or "trusted": which attribute says "opaque" """

    def __init__(self, root: Root, attributes: Attributes, xattrs: str) -> None:
        super().__init__(root, attributes)
        self._opaque, self._hides = f"{xattrs}.overlay.opaque", False
        if os.listdir(root.fd):
            raise CannotUnpack(errno.ENOTEMPTY, b".", "a layer for an overlay needs an empty directory")

    def parent(self, path: bytes) -> int:
        try:
            return self.root.directory(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise Escape(f"{path[:200]!r} {_root.explain(error)}") from None
        self._check(path)
        here, fd = b"", self.root.fd
        for part in path.split(b"/"):
            above, here = here, here + b"/" + part if here else part
            try:
                fd = self.root.directory(here)
            except OSError as error:
                fd = self._missing(above, here, part, error)
        return fd

    def _missing(self, above: bytes, path: bytes, name: bytes, error: OSError) -> int:
        at = self.root.directory(above)
        if error.errno != errno.ENOENT and not self.is_whiteout(at, name):
            raise InvalidLayer(f"{path[:200]!r} {_root.explain(error)}") from None
        try:
            self._imply(at, name, path)
        except FileExistsError:
            raise InvalidLayer(f"{path[:200]!r} goes through a link to something that is not there") from None
        return self.root.directory(path)

    def is_whiteout(self, at: int, name: bytes) -> bool:
        try:
            status = os.lstat(name, dir_fd=at)
        except FileNotFoundError:
            return False
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def make_directory(self, at: int, name: bytes, path: bytes) -> None:
        """In place of a whiteout it is opaque: what was below stays deleted."""
        opaque = self._hides and self.is_whiteout(at, name)
        if opaque:
            self.root.remove(at, name)
        super().make_directory(at, name, path)
        if opaque:
            self._hide_all(path)

    def hide(self, parent: bytes, name: bytes) -> None:
        """What this layer made itself stays: a whiteout speaks of the layers below."""
        at, self._hides = self.enter(parent, self.parent(parent)), True
        try:
            if not name:
                return self._hide_all(parent)
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=at)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
                path = parent + b"/" + name if parent else name
                self._hide_all(path)
                self.implied.discard(path)

    def _hide_all(self, path: bytes) -> None:
        fd = self.root.directory(path)
        try:
            os.setxattr(fd, self._opaque, b"y")
        except OSError as error:
            raise CannotUnpack(error.errno or 0, path, f"{self._opaque}; it hides what lies below: {error.strerror}") from error


class Plain(Form):
    """A tree with the older layers in it."""

    def __init__(self, root: Root, attributes: Attributes) -> None:
        super().__init__(root, attributes)
        self._own, self._through, self._walked, self._turn = set[bytes](), set[bytes](), set[bytes](), -1

    def made(self, path: bytes) -> None:
        self._own.add(path)

    def parent(self, path: bytes) -> int:
        if self._turn != self.root.turn:
            self._walked.clear()
            self._turn = self.root.turn
        if path and path not in self._walked:
            self._check(path)
            self._walk(path)
            self._walked.add(path)
        return self.root.directory(path)

    def _walk(self, path: bytes) -> None:
        """Part by part, so that a link of an older layer is seen before it is followed."""
        here = b""
        for part in path.split(b"/"):
            at, here = self.enter(here, self.root.directory(here)), here + b"/" + part if here else part
            try:
                mode = os.lstat(part, dir_fd=at).st_mode
            except FileNotFoundError:
                self._imply(at, part, here)
                continue
            if stat.S_ISDIR(mode):
                self._through.add(here)
                continue
            if here not in self._own:
                self.root.remove(at, part)
                self._imply(at, part, here)
            elif stat.S_ISLNK(mode):
                here = self._followed(here)
            else:
                raise InvalidLayer(f"{path[:200]!r} {_root.explain(NotADirectoryError(errno.ENOTDIR, ''))}")

    def _followed(self, path: bytes) -> bytes:
        """Where a link of this layer leads."""
        try:
            return self.root.path_of(self.root.directory(path))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise InvalidLayer(f"{path[:200]!r} goes through a link to something that is not there") from None
            raise Escape(f"{path[:200]!r} {_root.explain(error)}") from None

    def hide(self, parent: bytes, name: bytes) -> None:
        try:
            at = self.enter(parent, self.parent(parent))
        except Escape:
            raise
        except InvalidLayer:
            return  # in what this layer made itself there is nothing of an older one
        path = parent + b"/" + name if parent and name else parent or name
        if not name or path in self._own or path in self._through:
            self._clear(path, itself=bool(name))
        else:
            with contextlib.suppress(FileNotFoundError):
                self.root.remove(at, name)

    def _clear(self, path: bytes, *, itself: bool) -> None:
        """Remove what older layers left in a directory.

        :param itself: also what they said about it; what this layer says about directories comes at the end
        """
        try:
            found = self.root.find(path)
        except OSError:
            return  # this layer made something else of it
        with _root.opened(found) as fd:
            self.enter(path, fd)
            for name in map(os.fsencode, os.listdir(fd)):
                below = path + b"/" + name if path else name
                if below not in self._own and below not in self._through:
                    self.root.remove(fd, name)
                elif stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                    self._clear(below, itself=True)
        if itself:
            self._usual(path)
