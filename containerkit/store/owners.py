"""Owners of the files in a store's unpacked layers: recorded when the store is made, and checked at every later use.

In an ordinary user's store all files are the caller's.  In a store of root in a user namespace they have the ids of that
namespace, which are other ids outside it.  A store used both ways would hold files that one of the two can neither read nor
remove, and layers with wrong owners.  So such a use is refused.
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
    """The owners of a store's files.

    :param ids: how ids in layers relate to ids on the filesystem, as this process sees them
    :param uids: the user ids of the user namespace: inside, outside, count
    :param gids: its group ids
    """

    ids: Ids
    uids: Ranges
    gids: Ranges

    @classmethod
    def here(cls, ids: Ids | None = None) -> Owners:
        """Return the owners for a store that is made now.

        :param ids: by default root keeps the layers' ids, and for any other user all files are the caller's
        """
        return cls(ids or Ids.usual(), own("uid"), own("gid"))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object for store.json."""
        more = {"uids": self.ids.uids, "gids": self.ids.gids, "chown": self.ids.chown}
        return {**more, "namespace": {"uids": self.uids, "gids": self.gids}}

    @classmethod
    def from_json(cls, value: Any, where: str) -> Owners:
        """Read the owners from store.json.

        :raises InvalidDocument: `value` is something else
        """
        fields = Fields(value, where)
        namespace = Fields(fields.take("namespace", dict), f"{where}.namespace")
        uids, gids = (_ranges(fields, name) for name in ("uids", "gids"))
        return cls(Ids(uids, gids, fields.take("chown", bool)), _ranges(namespace, "uids"), _ranges(namespace, "gids"))

    def check(self, directory: Path, ids: Ids | None) -> None:
        """Check that this process may use the store.

        :param ids: the ids that the caller asked for, if any
        :raises Unsupported: the files would belong to wrong owners
        """
        if not (_goes_on(own("uid"), self.uids) and _goes_on(own("gid"), self.gids)):
            raise Unsupported(f"the store {directory} {OUTSIDE if self.uids == ALL else INSIDE}")
        if ids is not None and ids != self.ids:
            raise Unsupported(f"the files in the store {directory} have the ids {self.ids}, not {ids}")
        if not self.ids.chown and (owner := os.stat(directory).st_uid) != os.geteuid():
            raise Unsupported(f"the files in the store {directory} all belong to the user {owner}: no other user may use it")


def _goes_on(here: Ranges, made: Ranges) -> bool:
    """Return whether an id map only grew: a user may have been given more ids since, and the old ones still mean the same."""
    return here[: len(made)] == made


def _ranges(fields: Fields, name: str) -> Ranges:
    found = fields.take(name, list)
    if not found or not all(isinstance(each, list) and len(each) == 3 and all(type(n) is int and n >= 0 for n in each) for each in found):
        raise InvalidDocument(f"{fields.where}.{name}: expected ranges of ids: inside, outside, count")
    ranges = tuple((first, there, count) for first, there, count in found)
    return ALL if ranges == ALL else ranges
