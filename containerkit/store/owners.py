"""Whose the files of a store's unpacked layers are: written down when it is made, and the same for whoever comes later.

An ordinary user's are all the caller's.  Those of root in a user namespace have the ids that there are in it, which mean others
outside.  A store that was used both ways would hold files that one of the two can neither read nor remove, and layers with wrong
owners; so it is refused.
"""

from __future__ import annotations

import os

from ..base.frozen import frozen
from ..image.documents import Fields
from ..image.errors import InvalidDocument, Unsupported
from ..image.ids import ALL, Ids, Ranges
from ..linux.ids import own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

__all__ = ["Owners"]

INSIDE = "has files with the ids of another user namespace: use it where it was made, inside `containerkit unshare`"
OUTSIDE = "was made outside of this user namespace, where its files have other ids: use another one in `containerkit unshare`"


@frozen
class Owners:
    """Whose files they are.

    :param ids: the ids in layers, and on the filesystem as this process sees it
    :param uids, gids: the ids of the user namespace: inside, outside, count
    """

    ids: Ids
    uids: Ranges
    gids: Ranges

    @classmethod
    def here(cls, ids: Ids | None = None) -> Owners:
        """For a store that is made now; unless given the same ids for root, all the caller's for others."""
        return cls(ids or Ids.usual(), own("uid"), own("gid"))

    def to_json(self) -> dict[str, Any]:
        """As it is written down."""
        more = {"uids": self.ids.uids, "gids": self.ids.gids, "chown": self.ids.chown}
        return {**more, "namespace": {"uids": self.uids, "gids": self.gids}}

    @classmethod
    def from_json(cls, value: Any, where: str) -> Owners:
        """:raises InvalidDocument: it is something else"""
        fields = Fields(value, where)
        namespace = Fields(fields.take("namespace", dict), f"{where}.namespace")
        uids, gids = (_ranges(fields, name) for name in ("uids", "gids"))
        return cls(Ids(uids, gids, fields.take("chown", bool)), _ranges(namespace, "uids"), _ranges(namespace, "gids"))

    def check(self, directory: Path, ids: Ids | None) -> None:
        """Whether the store may be used here.

        :param ids: that were asked for, if any
        :raises Unsupported: its files would be somebody else's
        """
        if not (_goes_on(own("uid"), self.uids) and _goes_on(own("gid"), self.gids)):
            raise Unsupported(f"the store {directory} {OUTSIDE if self.uids == ALL else INSIDE}")
        if ids is not None and ids != self.ids:
            raise Unsupported(f"the files in the store {directory} have the ids {self.ids}, not {ids}")
        if not self.ids.chown and (owner := os.stat(directory).st_uid) != os.geteuid():
            raise Unsupported(f"the files in the store {directory} are all those of the user {owner}, who alone may use it")


def _goes_on(here: Ranges, made: Ranges) -> bool:
    """A user may have got more ids since: those that there were mean the same."""
    return here[: len(made)] == made


def _ranges(fields: Fields, name: str) -> Ranges:
    found = fields.take(name, list)
    if not found or not all(isinstance(each, list) and len(each) == 3 and all(type(n) is int and n >= 0 for n in each) for each in found):
        raise InvalidDocument(f"{fields.where}.{name}: expected ranges of ids: inside, outside, count")
    ranges = tuple((first, there, count) for first, there, count in found)
    return ALL if ranges == ALL else ranges
