"""Owners of files: how the ids in a layer relate to the ids on the filesystem.

    Ids()                                  the same ids in both
    Ids.shifted(100000)                    0 becomes 100000, up to 65535
    Ids(uids=((0, 1000, 1), (1, 100000, 65536)), gids=...)        as in uid_map: inside, outside, count
    Ids.mine()                             all files are the caller's; the layer's owners do not count
    Ids.usual()                            `Ids()` for root, `Ids.mine()` for other users

:see: user_namespaces(7)
"""

from __future__ import annotations

import os

from ..base.frozen import frozen
from .errors import InvalidLayer

__all__ = ["Ids"]

Ranges = tuple[tuple[int, int, int], ...]
ALL: Ranges = ((0, 0, (1 << 32) - 1),)  # (u32)-1 means "leave the owner unchanged" in chown(2), so it is no id


@frozen
class Ids:
    """Ranges of ids, for users and for groups.

    :param uids: triples: first id in the layer, first id on the filesystem, count
    :param gids: the same for groups
    :param chown: False makes the caller the owner of every file
    """

    uids: Ranges = ALL
    gids: Ranges = ALL
    chown: bool = True

    @classmethod
    def shifted(cls, by: int, count: int = 65536) -> Ids:
        """Map id 0 to `by`, id 1 to the next one, and so on.

        :param count: how many ids are mapped
        """
        return cls(((0, by, count),), ((0, by, count),))

    @classmethod
    def mine(cls) -> Ids:
        """Make the caller the owner of every unpacked file, and root the owner of every file in a layer made from such a tree."""
        return cls(((0, 0, 1),), ((0, 0, 1),), chown=False)

    @classmethod
    def usual(cls) -> Ids:
        """Map ids as tar(1) does: root keeps the layer's owners, any other user becomes the owner, since only root may chown."""
        return cls() if os.geteuid() == 0 else cls.mine()

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """Return the owner on the filesystem of a file in a layer.  The result has no meaning when `chown` is False.

        :raises InvalidLayer: no range holds that id
        """
        if not self.chown:
            return 0, 0
        if self.uids is ALL and self.gids is ALL and 0 <= uid < ALL[0][2] and 0 <= gid < ALL[0][2]:
            return uid, gid
        return _through(self.uids, uid, "user"), _through(self.gids, gid, "group")

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """Return the owner in a layer of a file on the filesystem.

        :raises InvalidLayer: no range holds that id
        """
        if not self.chown:
            return 0, 0
        back = [tuple((there, here, count) for here, there, count in ranges) for ranges in (self.uids, self.gids)]
        return _through(back[0], uid, "user"), _through(back[1], gid, "group")


def _through(ranges: Ranges, number: int, what: str) -> int:
    for first, there, count in ranges:
        if first <= number < first + count:
            return there + number - first
    known = ", ".join(f"{first}-{first + count - 1}" for first, _, count in ranges)
    raise InvalidLayer(f"the {what} {number} is not mapped here (mapped: {known})")
