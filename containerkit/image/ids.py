"""Whose files they are: the ids that a layer names, and the ids that the filesystem gets.

    Ids()                                  the same
    Ids.shifted(100000)                    0 becomes 100000, up to 65535
    Ids(uids=((0, 1000, 1), (1, 100000, 65536)), gids=...)        as in uid_map: inside, outside, count
    Ids.mine()                             all files are the caller's, whatever the layer says
    Ids.usual()                            the first for root, the last for others

:see: user_namespaces(7)
"""

from __future__ import annotations

import os

from ..base.frozen import frozen
from .errors import InvalidLayer

__all__ = ["Ids"]

Ranges = tuple[tuple[int, int, int], ...]
ALL: Ranges = ((0, 0, (1 << 32) - 1),)  # the last number, as -1, stands for "leave as it is" in chown(2)


@frozen
class Ids:
    """Ranges of ids.

    :param uids: (in the layer, on the filesystem, how many)
    :param gids: the same for groups
    :param chown: False leaves every file with the caller
    """

    uids: Ranges = ALL
    gids: Ranges = ALL
    chown: bool = True

    @classmethod
    def shifted(cls, by: int, count: int = 65536) -> Ids:
        """User and group 0 become `by`, 1 the one after it, and so on."""
        return cls(((0, by, count),), ((0, by, count),))

    @classmethod
    def mine(cls) -> Ids:
        """Every file is the caller's, and root's in a layer that is made of it."""
        return cls(((0, 0, 1),), ((0, 0, 1),), chown=False)

    @classmethod
    def usual(cls) -> Ids:
        """As tar(1) has it: the same for root, who may give files away; the caller's for others."""
        return cls() if os.geteuid() == 0 else cls.mine()

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner on the filesystem; of no meaning where nothing is given away.

        :raises InvalidLayer: there is none for that id
        """
        if not self.chown:
            return 0, 0
        if self.uids is ALL and self.gids is ALL and 0 <= uid < ALL[0][2] and 0 <= gid < ALL[0][2]:
            return uid, gid
        return _through(self.uids, uid, "user"), _through(self.gids, gid, "group")

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner in a layer, of a file on the filesystem.

        :raises InvalidLayer: there is none for that id
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
