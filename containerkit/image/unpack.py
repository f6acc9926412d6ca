"""From a tar to a directory.

    unpack(tar, "layers/1")                          for an overlay: deletions as overlayfs writes them
    unpack(tar, "root", whiteouts="plain")           onto what is there: deletions are done

A layer is not trusted.  Parents are looked up below the directory and held by descriptor, files are made and never opened,
what is in the way is removed and never written through.
:see: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from . import _root
from ._attributes import SKIPPABLE, Attributes, Skipped
from ._forms import WHITEOUT, Form, Overlay, Plain
from ._root import Root
from .digest import Readable
from .errors import CannotUnpack, Escape, InvalidLayer
from .ids import Ids
from .limits import Limits
from .tar import Entry, Reader

__all__ = ["Skipped", "Unpacked", "unpack"]

OPAQUE = b".wh..wh..opq"
MAKERS = {
    "file": "file", "directory": "directory", "symlink": "symlink", "hardlink": "hardlink", "char": "node", "block": "node", "fifo": "node",
}  # fmt: skip
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came of a layer.

    :ivar entries: headers read
    :ivar size: bytes of the tar
    :ivar content: bytes of the files, holes included
    :ivar removed: whiteouts and opaque directories
    :ivar skipped: what was left out, as the caller allowed
    :ivar implied: directories it goes through and does not describe; in an overlay they hide those of the layers below, so that
        somebody has to give them the same attributes
    """

    entries: int
    size: int
    content: int
    removed: int
    skipped: tuple[Skipped, ...]
    implied: tuple[bytes, ...] = ()


def unpack(
    stream: Readable, directory: str | os.PathLike[str], *, whiteouts: Literal["overlay", "plain"] = "overlay", xattrs: str = "user",
    ids: Ids | None = None, limits: Limits | None = None, skip: Collection[str] = (),
) -> Unpacked:  # fmt: skip
    """Makes what a tar describes, and reads the tar to its very end.

    :param stream: the tar, not compressed
    :param directory: is there; for an overlay it is empty
    :param whiteouts: "overlay" writes deletions down as overlayfs does, "plain" deletes
    :param xattrs: "user" or "trusted": which attribute says "opaque"; must agree with LayerFS
    :param ids: whose the files become
    :param limits: how much the tar may ask for
    :param skip: "devices", "xattrs": what may be left out where it is refused; it is recorded
    :raises InvalidLayer: not a tar, or one that lies;  :raises Escape: it reaches outside
    :raises LimitExceeded: it asks for too much;  :raises CannotUnpack: the kernel refuses
    """
    if whiteouts not in ("overlay", "plain") or xattrs not in ("user", "trusted") or set(skip) - {*SKIPPABLE}:
        raise ValueError(f"unpack does not know whiteouts={whiteouts!r}, xattrs={xattrs!r}, skip={skip!r}")
    limits = limits or Limits()
    root = Root(directory, limits)
    attributes = Attributes(ids or Ids(), skip, _born(root.fd) if whiteouts == "overlay" else None)
    try:
        form = Overlay(root, attributes, xattrs) if whiteouts == "overlay" else Plain(root, attributes)
        return _Unpacker(Reader(stream, limits), root, form, attributes).run()
    finally:
        root.close()


def _born(directory: int) -> tuple[int, int] | None:
    """The owner of whatever is made in a directory that is empty and the caller's.

    The group may come from the directory above, which is also the caller's: it gets another one only at the end.
    """
    status, caller = os.fstat(directory), (os.geteuid(), os.getegid())
    return caller if (status.st_uid, status.st_gid) == caller else None


class _OpenedUp:
    """Opens directories of older layers that deny their owner to make something in them; their modes come back at the end."""

    def __init__(self, late: dict[bytes, tuple[int, Entry | os.stat_result]]) -> None:
        self._late = late

    def __call__(self, path: bytes, fd: int) -> int:
        status = os.fstat(fd)
        if status.st_mode & 0o700 != 0o700:
            self._late.setdefault(path, (status.st_ino, status))
            os.fchmod(fd, stat.S_IMODE(status.st_mode) | 0o700)
        return fd


class _Unpacker:
    """Nothing here refers to itself: the stream's file is let go with the last that uses it, not when garbage is collected."""

    def __init__(self, reader: Reader, root: Root, form: Form, attributes: Attributes) -> None:
        self.reader, self.root, self.limits, self.form, self.attributes = reader, root, reader.limits, form, attributes
        self.late: dict[bytes, tuple[int, Entry | os.stat_result]] = {}  # what waits until nothing is made inside any more
        self.removed = 0
        if os.geteuid():
            form.enter = _OpenedUp(self.late)

    def run(self) -> Unpacked:
        for entry in self.reader:
            try:
                self.one(entry)
            except CannotUnpack:
                raise
            except OSError as error:
                raise CannotUnpack(error.errno or errno.EIO, entry.name, os.strerror(error.errno or errno.EIO)) from error
        self.reader.drain()
        self.finish()
        reader = self.reader
        implied = tuple(sorted(self.form.implied))
        return Unpacked(reader.entries, reader.total, reader.apparent, self.removed, tuple(self.attributes.skipped), implied)

    def one(self, entry: Entry) -> None:
        parent, name = _root.split(entry.name, self.limits)
        if name.startswith(WHITEOUT):
            self.whiteout(entry, parent, name)
        elif name:
            path = parent + b"/" + name if parent else name
            getattr(self, MAKERS[entry.kind])(entry, path, self.form.enter(parent, self.form.parent(parent)), name)
            self.form.made(path)
        elif entry.kind == "directory":
            self.late[b""] = os.fstat(self.root.fd).st_ino, entry
        else:
            raise Escape(f"{entry.name!r}: the directory itself cannot become a {entry.kind}")

    # --- entries -------------------------------------------------------------------------------------------------

    def file(self, entry: Entry, path: bytes, at: int, name: bytes) -> None:
        try:
            fd = os.open(name, CREATE, 0o600, dir_fd=at)
        except FileExistsError:
            self.root.remove(at, name)
            fd = os.open(name, CREATE, 0o600, dir_fd=at)
        try:
            if entry.sparse is not None:
                self.sparse(entry, fd)
            elif entry.stored:
                self.reader.write_to(fd)
            self.attributes.put(fd, entry)
        finally:
            os.close(fd)

    def sparse(self, entry: Entry, fd: int) -> None:
        for offset, length in entry.sparse or ():
            for piece in self.reader.pieces(length):
                written = 0
                while written < len(piece):
                    written += os.pwrite(fd, piece[written:], offset + written)
                offset += written
        os.ftruncate(fd, entry.size)

    def directory(self, entry: Entry, path: bytes, at: int, name: bytes) -> None:
        try:
            self.form.make_directory(at, name, path)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
                self.root.remove(at, name)
                os.mkdir(name, 0o700, dir_fd=at)
        self.late[path] = os.lstat(name, dir_fd=at).st_ino, entry

    def symlink(self, entry: Entry, path: bytes, at: int, name: bytes) -> None:
        if not entry.linkname:
            raise InvalidLayer(f"{path[:200]!r}: a symbolic link to nothing")
        try:
            os.symlink(entry.linkname, name, dir_fd=at)
        except FileExistsError:
            self.root.remove(at, name)
            os.symlink(entry.linkname, name, dir_fd=at)
        self.attributes.put_at(at, name, entry, mode=False)

    def hardlink(self, entry: Entry, path: bytes, at: int, name: bytes) -> None:
        parent, source = _root.split(entry.linkname, self.limits)
        try:
            there = self.root.directory(parent)
            found = os.lstat(source or b".", dir_fd=there)
            if stat.S_ISDIR(found.st_mode) or self.form.is_whiteout(there, source):
                raise InvalidLayer(f"{path[:200]!r}: a hard link to {entry.linkname[:200]!r}, which is no file")
            self.link(there, source, at, name, found)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise InvalidLayer(f"{path[:200]!r}: a hard link to {entry.linkname[:200]!r}, which is not there") from None
            raise

    def link(self, there: int, source: bytes, at: int, name: bytes, found: os.stat_result) -> None:
        try:
            os.link(source, name, src_dir_fd=there, dst_dir_fd=at, follow_symlinks=False)
        except FileExistsError:
            if os.lstat(name, dir_fd=at).st_ino == found.st_ino:
                return
            self.root.remove(at, name)
            os.link(source, name, src_dir_fd=there, dst_dir_fd=at, follow_symlinks=False)

    def node(self, entry: Entry, path: bytes, at: int, name: bytes) -> None:
        """A device or a fifo."""
        kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.kind]
        device = 0 if entry.kind == "fifo" else os.makedev(entry.major, entry.minor)
        if isinstance(self.form, Overlay) and entry.kind == "char" and device == 0:
            raise InvalidLayer(f"{path[:200]!r}: the device 0/0, which is how overlayfs itself says that a name is deleted")
        try:
            self.make_node(at, name, kind | 0o600, device)
        except PermissionError as error:
            if entry.kind == "fifo":
                raise
            self.attributes.refused(error, entry, "devices", f"{entry.kind} {entry.major}:{entry.minor}")
        else:
            self.attributes.put_at(at, name, entry, mode=True)

    def make_node(self, at: int, name: bytes, mode: int, device: int) -> None:
        try:
            os.mknod(name, mode, device, dir_fd=at)
        except FileExistsError:
            self.root.remove(at, name)
            os.mknod(name, mode, device, dir_fd=at)

    def whiteout(self, entry: Entry, parent: bytes, name: bytes) -> None:
        target = name.removeprefix(WHITEOUT)
        if entry.kind not in ("file", "hardlink") or entry.size:
            raise InvalidLayer(f"{entry.name[:200]!r}: a whiteout is an empty file")
        if name != OPAQUE and (target in (b"", b".", b"..") or target.startswith(WHITEOUT)):
            raise Escape(f"{entry.name[:200]!r}: a whiteout of a name that cannot be")
        self.removed += 1
        self.form.hide(parent, b"" if name == OPAQUE else target)

    # --- the end -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The directories, the deepest first: their times and modes would not survive what is made inside them."""
        for path in sorted(self.late, reverse=True):
            inode, entry = self.late[path]
            try:
                found = self.root.find(path)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # something later took its place
                raise CannotUnpack(error.errno or 0, path, error.strerror or "") from error
            with _root.opened(found) as fd:
                if os.fstat(fd).st_ino != inode:
                    continue
                if isinstance(entry, os.stat_result):
                    os.fchmod(fd, stat.S_IMODE(entry.st_mode))
                else:
                    self.attributes.put(fd, entry)
                    self.form.described(path, fd)
