"""Make the tar of a layer from a directory.

    write_tree(directory, sink)          the whole directory
    write_upper(upper, sink)             the changes that overlayfs wrote down, with its whiteouts as the image format has them

The same tree gives the same bytes: entries are sorted by name, access times and names of users stay out, and no time is later
than SOURCE_DATE_EPOCH where that is set.
:see: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import os
import stat

from ..base.frozen import field, frozen
from ..linux.descriptor import DIRECTORY, owned
from .errors import InvalidLayer, Unsupported
from .ids import Ids
from .limits import Limits
from .tar import pax
from .tar.tar import Entry
from .tar.writing import Sink, Writer
from .unpack.root import join

__all__ = ["TarOptions", "Upper", "listing", "write_tree", "write_upper"]

StrPath = str | os.PathLike[str]
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char", stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}  # fmt: skip
OF_OVERLAYFS = ("user.overlay.", "trusted.overlay.")
OF_THE_HOST = ("security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64")
BELOW = {"metacopy": "the bytes of a file are in the layer below", "redirect": "a directory was renamed, and is in the layer below"}


@frozen
class TarOptions:
    """The form in which a tree is written.

    :param ids: the owners on disk of the ids in the layer, as they were for unpacking
    :param epoch: seconds since 1970: no time is later; SOURCE_DATE_EPOCH unless given
    :param nanoseconds: keep the fractions of times; most programs do not, and every entry takes 1 KiB more
    :param depth: the largest number of directories inside each other
    """

    ids: Ids = field(default_factory=Ids)
    epoch: int | None = None
    nanoseconds: bool = False
    depth: int = field(default_factory=lambda: Limits.default().depth)

    def time(self, status: os.stat_result) -> int:
        """Return a file's time as it is written down."""
        latest = self.epoch if self.epoch is not None else int(os.environ.get("SOURCE_DATE_EPOCH") or 1 << 40)
        value = min(status.st_mtime_ns, latest * pax.SECOND)
        return value if self.nanoseconds else value // pax.SECOND * pax.SECOND


def write_tree(directory: StrPath, sink: Sink, form: TarOptions | None = None) -> int:
    """Write everything in a directory, and the directory itself as ``./``.  Sockets, which no tar can hold, are left out.

    :return: bytes of the tar
    :raises InvalidLayer: a name that means a deletion, or a file that changes while it is read
    """
    return _run(_Tree, directory, sink, form)


def write_upper(upper: StrPath, sink: Sink, form: TarOptions | None = None) -> int:
    """Write what overlayfs recorded in an upper directory.

    :return: bytes of the tar
    :raises Unsupported: part of it is in the layers below: mounted with metacopy or redirect_dir
    """
    return _run(Upper, upper, sink, form)


def _run(kind: type[_Tree], directory: StrPath, sink: Sink, form: TarOptions | None) -> int:
    writer = Writer(sink)
    with owned(os.open(directory, DIRECTORY)) as fd:
        kind(writer, form or TarOptions()).top(fd)
    writer.close()
    return writer.size


def listing(fd: int) -> list[tuple[bytes, os.stat_result]]:
    """Return the content of a directory, by name, without sockets."""
    with os.scandir(fd) as entries:
        names = sorted(os.fsencode(entry.name) for entry in entries)
    found = [(name, os.lstat(name, dir_fd=fd)) for name in names]
    return [(name, status) for name, status in found if not stat.S_ISSOCK(status.st_mode)]


class _Tree:
    """Writes entries from descriptors."""

    def __init__(self, writer: Writer, form: TarOptions) -> None:
        self.writer, self.form, self.links = writer, form, dict[tuple[int, int], bytes]()

    def top(self, fd: int) -> None:
        self.writer.add(self.entry(fd, b".", os.fstat(fd), fd, b""))
        self.inside(fd, b"", 1)

    def inside(self, fd: int, path: bytes, depth: int) -> None:
        if depth > self.form.depth:
            Limits(depth=self.form.depth).check("depth", depth, f"the way to {path[:200]!r}", "directories")
        for name, status in listing(fd):
            self.one(fd, name, join(path, name), status, depth)

    def one(self, at: int, name: bytes, path: bytes, status: os.stat_result, depth: int) -> None:
        if stat.S_ISDIR(status.st_mode):
            with owned(os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=at)) as fd:
                self.add_directory(fd, path, status)
                self.inside(fd, path, depth + 1)
        else:
            self.add(at, name, path, status)

    def add_directory(self, fd: int, path: bytes, status: os.stat_result) -> None:
        self.writer.add(self.entry(fd, path, status, fd, b""))

    def add(self, at: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        """Write a file, a link or a device; of a file with several names the first one has the bytes."""
        if status.st_nlink > 1:
            first = self.links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                self.writer.add(self.entry(at, path, status, None, first)._replace(kind="hardlink", size=0, stored=0))
                return
        if stat.S_ISREG(status.st_mode):
            with owned(os.open(name, READ, dir_fd=at)) as fd:
                self.writer.add(self.entry(fd, path, os.fstat(fd), fd, b""), fd)
        elif stat.S_ISLNK(status.st_mode):
            self.writer.add(self.entry(at, path, status, f"/proc/self/fd/{at}/{os.fsdecode(name)}", os.readlink(name, dir_fd=at)))
        else:
            self.writer.add(self.entry(at, path, status, f"/proc/self/fd/{at}/{os.fsdecode(name)}", b""))

    def entry(self, at: int, path: bytes, status: os.stat_result, attributes: int | str | None, link: bytes) -> Entry:
        if b".wh." in path and path.rpartition(b"/")[2].startswith(b".wh."):
            raise InvalidLayer(f"{path[:200]!r}: in a layer that name means a deletion")
        kind = KINDS[stat.S_IFMT(status.st_mode)]
        uid, gid = self.form.ids.inside(status.st_uid, status.st_gid)
        major, minor = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in ("char", "block") else (0, 0)
        xattrs = {} if attributes is None else self.attributes(attributes)
        size = status.st_size if kind == "file" else 0
        mode = stat.S_IMODE(status.st_mode)
        return Entry(path, kind, mode, uid, gid, size, self.form.time(status), link, xattrs, major, minor, stored=size)

    def attributes(self, target: int | str) -> dict[bytes, bytes]:
        try:
            names = os.listxattr(target, follow_symlinks=isinstance(target, int))
        except OSError:
            return {}  # a filesystem without any
        return {os.fsencode(name): os.getxattr(target, name, follow_symlinks=isinstance(target, int)) for name in names if self.kept(name)}

    def kept(self, name: str) -> bool:
        return not name.startswith((*OF_OVERLAYFS, *OF_THE_HOST)) and (not name.startswith("system.") or "posix_acl" in name)


class Upper(_Tree):
    """The directory of an overlay that took the changes."""

    by_attribute = False  # whiteouts may be attributes of empty files in the directory that is being written

    def top(self, fd: int) -> None:
        self.inside(fd, b"", 1)

    def inside(self, fd: int, path: bytes, depth: int) -> None:
        before, self.by_attribute = self.by_attribute, self.overlay(fd, "opaque") == b"x"
        if path and self.overlay(fd, "opaque") == b"y":
            self.delete(join(path, b".wh..wh..opq"))
        super().inside(fd, path, depth)
        self.by_attribute = before

    def one(self, at: int, name: bytes, path: bytes, status: os.stat_result, depth: int) -> None:
        if self.is_whiteout(at, name, status):
            parent, _, last = path.rpartition(b"/")
            self.delete(join(parent, b".wh." + last))
        else:
            super().one(at, name, path, status, depth)

    def is_whiteout(self, at: int, name: bytes, status: os.stat_result) -> bool:
        if stat.S_ISCHR(status.st_mode):
            return status.st_rdev == 0
        if not self.by_attribute or not stat.S_ISREG(status.st_mode) or status.st_size:
            return False
        with owned(os.open(name, READ, dir_fd=at)) as fd:
            return self.overlay(fd, "whiteout") is not None

    def delete(self, path: bytes) -> None:
        self.writer.add(Entry(path, mode=0))

    def overlay(self, target: int, word: str) -> bytes | None:
        for prefix in OF_OVERLAYFS:
            try:
                return os.getxattr(target, prefix + word)
            except OSError:
                continue
        return None

    def kept(self, name: str) -> bool:
        word = name.rpartition(".")[2]
        if name.startswith(OF_OVERLAYFS) and word in BELOW:
            raise Unsupported(f"not a whole layer: {BELOW[word]} (mounted with metacopy=on or redirect_dir=on)")
        return super().kept(name)
