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
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from . import _root
from ._root import Root
from .digest import Readable
from .errors import CannotUnpack, Escape, InvalidLayer
from .ids import Ids
from .limits import Limits
from .tar import Entry, Reader

__all__ = ["Skipped", "Unpacked", "unpack"]

WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
SKIPPABLE = ("devices", "xattrs")
REFUSALS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)
HINTS = {
    "devices": "making a device needs root of the machine; skip={'devices'} leaves them out",
    "xattrs": "this attribute needs privilege, or the filesystem has none; skip={'xattrs'} leaves it out",
    "owner": "giving files away needs privilege; ids=Ids.mine() keeps them",
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something of a layer that was left out because the caller allowed it.

    :ivar name: of the entry
    :ivar what: "devices" or "xattrs"
    :ivar detail: which one
    """

    name: bytes
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came of a layer.

    :ivar entries: headers read
    :ivar size: bytes of the tar
    :ivar content: bytes of the files, holes included
    :ivar removed: whiteouts and opaque directories
    :ivar skipped: what was left out, as the caller allowed
    """

    entries: int
    size: int
    content: int
    removed: int
    skipped: tuple[Skipped, ...]


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
    unpacker = _Unpacker(Reader(stream, limits), Root(directory, limits), whiteouts == "overlay", xattrs, ids or Ids(), skip)
    try:
        return unpacker.run()
    finally:
        unpacker.root.close()


class _Unpacker:
    def __init__(self, reader: Reader, root: Root, overlay: bool, xattrs: str, ids: Ids, skip: Collection[str]) -> None:
        self.reader, self.root, self.limits, self.overlay, self.ids, self.skip = reader, root, reader.limits, overlay, ids, skip
        self.opaque = f"{xattrs}.overlay.opaque"
        self.late: dict[bytes, tuple[int, Entry | os.stat_result]] = {}  # what waits until nothing is made inside any more
        self.made: set[bytes] = set()  # by this layer; only a plain tree needs it: there the older is mixed with the newer
        self.skipped: list[Skipped] = []
        self.removed, self.privileged = 0, os.geteuid() == 0
        self.makers: dict[str, Callable[[Entry, bytes, int, bytes], None]] = {
            "file": self.file, "directory": self.directory, "symlink": self.symlink, "hardlink": self.hardlink,
            "char": self.node, "block": self.node, "fifo": self.node,
        }  # fmt: skip

    def run(self) -> Unpacked:
        if self.overlay and os.listdir(self.root.fd):
            raise CannotUnpack(errno.ENOTEMPTY, b".", "a layer for an overlay needs an empty directory")
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
        return Unpacked(reader.entries, reader.total, reader.apparent, self.removed, tuple(self.skipped))

    def one(self, entry: Entry) -> None:
        parent, name = _root.split(entry.name, self.limits)
        if name.startswith(WHITEOUT):
            self.whiteout(entry, parent, name)
        elif name:
            path = parent + b"/" + name if parent else name
            self.makers[entry.kind](entry, path, self.parent(parent), name)
            if not self.overlay:
                self.made.add(path)
        elif entry.kind == "directory":
            self.late[b""] = os.fstat(self.root.fd).st_ino, entry
        else:
            raise Escape(f"{entry.name!r}: the directory itself cannot become a {entry.kind}")

    # --- parents -------------------------------------------------------------------------------------------------

    def parent(self, path: bytes) -> int:
        """The directory an entry goes into; made where it is missing."""
        try:
            fd = self.root.directory(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise Escape(f"{path[:200]!r} {_root.explain(error)}") from None
            fd = self.make_parents(path)
        return fd if self.privileged else self.opened_up(path, fd)

    def make_parents(self, path: bytes) -> int:
        if any(part.startswith(WHITEOUT) for part in path.split(b"/")):
            raise InvalidLayer(f"{path[:200]!r}: a whiteout is no directory")
        here, fd = b"", self.root.fd
        for part in path.split(b"/"):
            above, here = here, here + b"/" + part if here else part
            try:
                fd = self.root.directory(here)
            except OSError as error:
                fd = self.make_parent(above, here, part, error)
        return fd

    def make_parent(self, above: bytes, path: bytes, name: bytes, error: OSError) -> int:
        """One directory that the layer goes through and does not describe."""
        at = self.root.directory(above)
        if error.errno != errno.ENOENT and not self.is_whiteout(at, name):
            raise InvalidLayer(f"{path[:200]!r} {_root.explain(error)}") from None
        try:
            self.make_directory(at, name, path)
        except FileExistsError:
            raise InvalidLayer(f"{path[:200]!r} goes through a link to something that is not there") from None
        fd = self.root.directory(path)
        self.own(fd, *self.ids.outside(0, 0))
        os.fchmod(fd, 0o755)
        if not self.overlay:
            self.made.add(path)
        return fd

    def opened_up(self, path: bytes, fd: int) -> int:
        """A directory of an older layer that denies its owner to make something in it; its mode comes back at the end."""
        status = os.fstat(fd)
        if status.st_mode & 0o700 != 0o700:
            self.late.setdefault(path, (status.st_ino, status))
            os.fchmod(fd, stat.S_IMODE(status.st_mode) | 0o700)
        return fd

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
            self.attributes(fd, entry)
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
            self.make_directory(at, name, path)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
                self.root.remove(at, name)
                os.mkdir(name, 0o700, dir_fd=at)
        self.late[path] = os.lstat(name, dir_fd=at).st_ino, entry

    def make_directory(self, at: int, name: bytes, path: bytes) -> None:
        """A directory nobody else enters yet.  In place of a whiteout it is opaque: what was below stays deleted."""
        opaque = self.overlay and self.is_whiteout(at, name)
        if opaque:
            self.root.remove(at, name)
        os.mkdir(name, 0o700, dir_fd=at)
        if opaque:
            self.set_opaque(path)

    def symlink(self, entry: Entry, path: bytes, at: int, name: bytes) -> None:
        if not entry.linkname:
            raise InvalidLayer(f"{path[:200]!r}: a symbolic link to nothing")
        try:
            os.symlink(entry.linkname, name, dir_fd=at)
        except FileExistsError:
            self.root.remove(at, name)
            os.symlink(entry.linkname, name, dir_fd=at)
        self.node_attributes(entry, at, name, mode=False)

    def hardlink(self, entry: Entry, path: bytes, at: int, name: bytes) -> None:
        parent, source = _root.split(entry.linkname, self.limits)
        try:
            there = self.root.directory(parent)
            found = os.lstat(source or b".", dir_fd=there)
            if stat.S_ISDIR(found.st_mode) or (self.overlay and self.is_whiteout(there, source)):
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
        if self.overlay and entry.kind == "char" and device == 0:
            raise InvalidLayer(f"{path[:200]!r}: the device 0/0, which is how overlayfs itself says that a name is deleted")
        try:
            self.make_node(at, name, kind | 0o600, device)
        except PermissionError as error:
            if entry.kind == "fifo":
                raise
            self.refused(error, entry, "devices", f"{entry.kind} {entry.major}:{entry.minor}")
        else:
            self.node_attributes(entry, at, name, mode=True)

    def make_node(self, at: int, name: bytes, mode: int, device: int) -> None:
        try:
            os.mknod(name, mode, device, dir_fd=at)
        except FileExistsError:
            self.root.remove(at, name)
            os.mknod(name, mode, device, dir_fd=at)

    # --- deletions -----------------------------------------------------------------------------------------------

    def whiteout(self, entry: Entry, parent: bytes, name: bytes) -> None:
        target = name.removeprefix(WHITEOUT)
        if entry.kind not in ("file", "hardlink") or entry.size:
            raise InvalidLayer(f"{entry.name[:200]!r}: a whiteout is an empty file")
        if name != OPAQUE and (target in (b"", b".", b"..") or target.startswith(WHITEOUT)):
            raise Escape(f"{entry.name[:200]!r}: a whiteout of a name that cannot be")
        self.removed += 1
        if self.overlay:
            at = self.parent(parent)
            self.set_opaque(parent) if name == OPAQUE else self.overlay_whiteout(parent, at, target)
        else:
            self.plain_whiteout(parent, b"" if name == OPAQUE else target)

    def overlay_whiteout(self, parent: bytes, at: int, name: bytes) -> None:
        """What this layer made itself stays: a whiteout speaks of the layers below."""
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=at)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
                self.set_opaque(parent + b"/" + name if parent else name)

    def set_opaque(self, path: bytes) -> None:
        fd = self.root.directory(path)
        try:
            os.setxattr(fd, self.opaque, b"y")
        except OSError as error:
            raise CannotUnpack(error.errno or 0, path, f"{self.opaque}; it hides what lies below: {error.strerror}") from error

    def is_whiteout(self, at: int, name: bytes) -> bool:
        try:
            status = os.lstat(name, dir_fd=at)
        except FileNotFoundError:
            return False
        return self.overlay and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def plain_whiteout(self, parent: bytes, name: bytes) -> None:
        try:
            at = self.root.directory(parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise Escape(f"{parent[:200]!r} {_root.explain(error)}") from None
        if not self.privileged:
            self.opened_up(parent, at)
        path = parent + b"/" + name if parent and name else parent or name
        if not name or path in self.made:
            self.clear(path)
        else:
            try:
                self.root.remove(at, name)
            except FileNotFoundError:
                return

    def clear(self, path: bytes) -> None:
        """Remove what older layers left in a directory."""
        try:
            found = self.root.find(path)
        except OSError:
            return  # this layer made something else of it
        with _root.opened(found) as fd:
            for name in map(os.fsencode, os.listdir(fd)):
                below = path + b"/" + name if path else name
                if below not in self.made:
                    self.root.remove(fd, name)
                elif stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                    self.clear(below)

    # --- attributes ----------------------------------------------------------------------------------------------

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
                    self.attributes(fd, entry)

    def attributes(self, fd: int, entry: Entry) -> None:
        """Owner first: changing it takes set-user-ID and capabilities away."""
        self.own(fd, *self.ids.outside(entry.uid, entry.gid), entry.name)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self.xattrs(fd, entry)
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def node_attributes(self, entry: Entry, at: int, name: bytes, *, mode: bool) -> None:
        """Of what must not be opened; reached by a descriptor that only names it."""
        if self.ids.chown:
            self.own_name(at, name, *self.ids.outside(entry.uid, entry.gid), entry.name)
        if mode or entry.xattrs:
            with _root.opened(os.open(name, HANDLE, dir_fd=at)) as fd:
                if mode:
                    os.chmod(f"/proc/self/fd/{fd}", entry.mode)
                if entry.xattrs:
                    self.xattrs(f"/proc/self/fd/{fd}", entry)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=at, follow_symlinks=False)

    def own(self, fd: int, uid: int, gid: int, name: bytes = b"") -> None:
        try:
            if self.ids.chown:
                os.fchown(fd, uid, gid)
        except PermissionError as error:
            raise CannotUnpack(error.errno or 0, name, f"owner {uid}:{gid} is refused; {HINTS['owner']}") from error

    def own_name(self, at: int, name: bytes, uid: int, gid: int, full: bytes) -> None:
        try:
            os.chown(name, uid, gid, dir_fd=at, follow_symlinks=False)
        except PermissionError as error:
            raise CannotUnpack(error.errno or 0, full, f"owner {uid}:{gid} is refused; {HINTS['owner']}") from error

    def xattrs(self, target: int | str, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if name.startswith((b"user.overlay.", b"trusted.overlay.")):
                raise InvalidLayer(f"{entry.name[:200]!r}: {name[:200]!r} belongs to overlayfs itself")
            try:
                os.setxattr(target, name, value)
            except OSError as error:
                self.refused(error, entry, "xattrs", name.decode(errors="replace"))

    def refused(self, error: OSError, entry: Entry, what: str, detail: str) -> None:
        """Left out when that was allowed, and then recorded."""
        if what not in self.skip or error.errno not in REFUSALS:
            raise CannotUnpack(error.errno or 0, entry.name, f"{detail}: {error.strerror}; {HINTS[what]}") from error
        self.skipped.append(Skipped(entry.name, what, detail))
