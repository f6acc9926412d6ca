"""Unpack a layer's tar into a directory.

    unpack(tar, "layers/1")                          for an overlay: deletions as overlayfs writes them
    unpack(tar, "root", whiteouts="plain")           onto an existing tree: deletions are done

A layer is not trusted.  Parents are looked up below the directory and held by descriptor, files are made and never opened,
and a file in the way is removed and never written through.
:see: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from typing import Literal

from ...base.frozen import frozen
from ...linux.descriptor import owned
from ..digest import Readable
from ..errors import CannotUnpack
from ..ids import Ids
from ..limits import Limits
from ..tar.tar import Entry, Reader
from .attributes import SKIPPABLE, Attributes, Skipped
from .disk_formats import DiskFormat, Overlay, Plain, link
from .meaning import Borrowed, Decision, Directory, Meaning
from .root import Root

__all__ = ["Skipped", "Unpacked", "unpack"]

MAKERS = {
    "file": "file", "directory": "directory", "symlink": "symlink", "hardlink": "hardlink", "char": "node", "block": "node", "fifo": "node",
}  # fmt: skip
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@frozen
class Unpacked:
    """The result of unpacking a layer.

    :ivar entries: headers read
    :ivar size: bytes of the tar
    :ivar content: bytes of the files, holes included
    :ivar removed: whiteouts and opaque directories
    :ivar skipped: files and attributes that were left out, as the caller allowed
    :ivar implied: directories it goes through and does not describe; in an overlay they hide those of the layers below, so that
        the caller has to give them the same attributes
    :ivar borrowed: hard links to files of layers below, which the caller has to make in an overlay
    :ivar hiding: directories with whiteouts in them, which overlayfs lists where no layer below has the directory
    """

    entries: int
    size: int
    content: int
    removed: int
    skipped: tuple[Skipped, ...]
    implied: tuple[bytes, ...] = ()
    borrowed: tuple[Borrowed, ...] = ()
    hiding: tuple[bytes, ...] = ()


def unpack(
    stream: Readable, directory: str | os.PathLike[str], *, whiteouts: Literal["overlay", "plain"] = "overlay", xattrs: str = "user",
    ids: Ids | None = None, limits: Limits | None = None, skip: Collection[str] = (), borrows: bool = False,
) -> Unpacked:  # fmt: skip
    """Make the files that a tar describes, and read the tar to its very end.

    :param stream: the tar, not compressed
    :param directory: an existing directory; an empty one for an overlay
    :param whiteouts: "overlay" writes deletions down as overlayfs does, "plain" deletes
    :param xattrs: "user" or "trusted": which attribute says "opaque"; must agree with LayerFS
    :param ids: the owners on disk of the ids in the layer
    :param limits: how much the tar may ask for
    :param skip: "devices", "xattrs": kinds that may be left out where the kernel refuses them; the result lists them
    :param borrows: for an overlay: a hard link may lead to a file of a layer below; it is recorded, and not made
    :raises InvalidLayer: not a tar, or one that contradicts itself;  :raises Escape: a path leads outside
    :raises LimitExceeded: the tar asks for too much;  :raises CannotUnpack: the kernel refuses
    """
    if whiteouts not in ("overlay", "plain") or xattrs not in ("user", "trusted") or set(skip) - {*SKIPPABLE}:
        raise ValueError(f"unpack does not know whiteouts={whiteouts!r}, xattrs={xattrs!r}, skip={skip!r}")
    limits = limits or Limits.default()
    root = Root(directory)
    attributes = Attributes(ids or Ids(), skip, _born(root.fd))
    try:
        form = Overlay(root, attributes, xattrs, borrows=borrows) if whiteouts == "overlay" else Plain(root, attributes)
        return _Unpacker(Reader(stream, limits), root, form, attributes).run()
    finally:
        root.close()


def _born(directory: int) -> tuple[int, int] | None:
    """Return the owner of new files in an empty directory of the caller's; None where that is not known.

    The group may come from the directory above, which is also the caller's: a file gets another group only at the end.
    """
    if os.listdir(directory):
        return None
    status, caller = os.fstat(directory), (os.geteuid(), os.getegid())
    return caller if (status.st_uid, status.st_gid) == caller else None


class _OpenedUp:
    """Opens directories of older layers that deny their owner to make files in them; their modes are restored at the end."""

    def __init__(self, late: dict[bytes, tuple[int, Entry | os.stat_result]]) -> None:
        self._late = late

    def __call__(self, path: bytes, fd: int) -> int:
        status = os.fstat(fd)
        if status.st_mode & 0o700 != 0o700:
            self._late.setdefault(path, (status.st_ino, status))
            os.fchmod(fd, stat.S_IMODE(status.st_mode) | 0o700)
        return fd


class _Unpacker:
    """The state of one unpacking.  It has no reference cycle, so that the stream's file closes with its last user, not at a collection."""

    def __init__(self, reader: Reader, root: Root, form: DiskFormat, attributes: Attributes) -> None:
        self.reader, self.root, self.limits, self.form, self.attributes = reader, root, reader.limits, form, attributes
        self.late: dict[bytes, tuple[int, Entry | os.stat_result]] = {}  # directories: attributes come last
        self.meaning = Meaning(self.limits)
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
        return Unpacked(
            reader.entries, reader.total, reader.apparent, self.meaning.removed, tuple(self.attributes.skipped), implied,
            tuple(self.ending.borrowed), tuple(self.ending.hiding),
        )  # fmt: skip

    def one(self, entry: Entry) -> None:
        decision, form = self.meaning.decide(entry), self.form
        for path, fresh in decision.way:
            self.late.pop(path, None)  # another directory had that name
            form.way(path, fresh=fresh)
        if decision.act == "put":
            at = form.inside(decision.parent)
            getattr(self, MAKERS[entry.kind])(entry, decision, at, decision.name)
            if decision.fresh or decision.path in form.implied:
                form.made(decision)
        elif decision.act == "root":
            self.late[b""] = os.fstat(self.root.fd).st_ino, entry
        elif decision.act == "delete":
            form.delete(decision.path)
        elif isinstance(decision.node, Directory):
            form.clear(decision.path, decision.node, itself=decision.fresh)

    # --- entries -------------------------------------------------------------------------------------------------

    def file(self, entry: Entry, decision: Decision, at: int, name: bytes) -> None:
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

    def directory(self, entry: Entry, decision: Decision, at: int, name: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=at)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
                self.root.remove(at, name)
                os.mkdir(name, 0o700, dir_fd=at)
        self.late[decision.path] = os.lstat(name, dir_fd=at).st_ino, entry

    def symlink(self, entry: Entry, decision: Decision, at: int, name: bytes) -> None:
        try:
            os.symlink(entry.linkname, name, dir_fd=at)
        except FileExistsError:
            self.root.remove(at, name)
            os.symlink(entry.linkname, name, dir_fd=at)
        self.attributes.put_at(at, name, entry, mode=False)

    def hardlink(self, entry: Entry, decision: Decision, at: int, name: bytes) -> None:
        if decision.borrowed:
            self.form.borrow(decision)
        else:
            parent, _, source = decision.source.rpartition(b"/")
            link(self.root, self.root.directory(parent), source, at, name)

    def node(self, entry: Entry, decision: Decision, at: int, name: bytes) -> None:
        """Make a device or a fifo."""
        kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.kind]
        device = 0 if entry.kind == "fifo" else os.makedev(entry.major, entry.minor)
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

    # --- the end -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Set the attributes of directories at the end, the deepest first: files made inside would change a directory's times."""
        self.ending = self.meaning.finish()
        self.form.finish(self.ending)
        for path in sorted(self.late, reverse=True):
            inode, entry = self.late[path]
            try:
                found = self.root.find(path)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # a later entry replaced it
                raise CannotUnpack(error.errno or 0, path, error.strerror or "") from error
            with owned(found) as fd:
                if os.fstat(fd).st_ino != inode:
                    continue
                if isinstance(entry, os.stat_result):
                    os.fchmod(fd, stat.S_IMODE(entry.st_mode))
                else:
                    self.attributes.put(fd, entry)
                    self.form.implied.discard(path)
