"""Set the owner, mode, attributes and time of unpacked files, as the layer describes them."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from typing import cast

from ...base.frozen import frozen
from ...base.log import Log
from ...linux.descriptor import owned
from ..errors import CannotUnpack, InvalidLayer
from ..ids import Ids
from ..tar.tar import Entry

__all__ = ["SKIPPABLE", "Attributes", "Skipped"]

LOG = Log(__name__)
HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
SKIPPABLE = ("devices", "xattrs")
REFUSALS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)
HINTS = {
    "devices": "making a device needs root of the machine, not only of a user namespace; skip={'devices'}, in the shell --skip devices, "
    "leaves them out",
    "xattrs": "this attribute needs privilege, or the filesystem has none; skip={'xattrs'}, in the shell --skip xattrs, leaves it out",
    "owner": "giving files away needs privilege, which `containerkit unshare` has; ids=Ids.mine() keeps them",
    "id": "there is no such id in this user namespace: /etc/subuid and /etc/subgid may give more",
}


@frozen
class Skipped:
    """A file or an attribute of a layer that was left out because the caller allowed it.

    :ivar name: the name of the entry
    :ivar what: "devices" or "xattrs"
    :ivar detail: which device or attribute
    """

    name: bytes
    what: str
    detail: str


class Attributes:
    """Puts attributes on files.

    :param ids: the owners on disk of the ids in the layer
    :param skip: attributes that may be left out where the kernel refuses them
    :param born: the owner of every new file, where that is known: a file that is to have that owner needs no chown(2)
    :ivar skipped: the attributes that were left out
    """

    def __init__(self, ids: Ids, skip: Collection[str], born: tuple[int, int] | None = None) -> None:
        self.ids, self.skip, self.skipped, self._born = ids, skip, list[Skipped](), born
        self._uid, self._gid, self._owner = -1, -1, cast("tuple[int, int] | None", None)  # what `owner` said last

    def put(self, fd: int, entry: Entry) -> None:
        """Set them on an open file.  Owner first: changing it takes set-user-ID and capabilities away."""
        if self.owner(entry.uid, entry.gid):
            self.own(fd, entry.uid, entry.gid, entry.name)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._xattrs(fd, entry)
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def put_at(self, at: int, name: bytes, entry: Entry, *, mode: bool) -> None:
        """Set them on a file that must not be opened, through a descriptor that only names it."""
        if owner := self.owner(entry.uid, entry.gid):
            try:
                os.chown(name, *owner, dir_fd=at, follow_symlinks=False)
            except OSError as error:
                raise _not_given(error, entry.name, *owner) from error
        if mode or entry.xattrs:
            with owned(os.open(name, HANDLE, dir_fd=at)) as fd:
                if mode:
                    os.chmod(f"/proc/self/fd/{fd}", entry.mode)
                if entry.xattrs:
                    self._xattrs(f"/proc/self/fd/{fd}", entry)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=at, follow_symlinks=False)

    def owner(self, uid: int, gid: int) -> tuple[int, int] | None:
        """Return the owner that the ids in the layer are mapped to; None where a new file has that owner already, or keeps its own."""
        if uid != self._uid or gid != self._gid:  # most entries have the owner of the one before
            owner = self.ids.outside(uid, gid) if self.ids.chown else self._born
            self._uid, self._gid, self._owner = uid, gid, None if owner == self._born else owner
        return self._owner

    def own(self, fd: int, uid: int, gid: int, name: bytes = b"") -> None:
        """Give an open file the owner that the ids in the layer are mapped to."""
        if owner := self.owner(uid, gid):
            try:
                os.fchown(fd, *owner)
            except OSError as error:
                raise _not_given(error, name, *owner) from error

    def refused(self, error: OSError, entry: Entry, what: str, detail: str) -> None:
        """Leave a file or attribute out, and record that.  :raises CannotUnpack: the caller did not allow it"""
        if what not in self.skip or error.errno not in REFUSALS:
            raise CannotUnpack(error.errno or 0, entry.name, f"{detail}: {error.strerror}; {HINTS[what]}") from error
        self.skipped.append(Skipped(entry.name, what, detail))
        LOG.debug("skipped %s of %r: %s", what, entry.name, detail)

    def _xattrs(self, target: int | str, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if name.startswith((b"user.overlay.", b"trusted.overlay.")):
                raise InvalidLayer(f"{entry.name[:200]!r}: {name[:200]!r} belongs to overlayfs itself")
            try:
                os.setxattr(target, name, value)
            except OSError as error:
                self.refused(error, entry, "xattrs", name.decode(errors="replace"))


def _not_given(error: OSError, name: bytes, uid: int, gid: int) -> CannotUnpack:
    hints = {errno.EPERM: HINTS["owner"], errno.EINVAL: HINTS["id"]}
    why = hints.get(error.errno or 0, error.strerror)
    return CannotUnpack(error.errno or 0, name, f"owner {uid}:{gid} is refused; {why}")
