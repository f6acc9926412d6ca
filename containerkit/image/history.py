"""History: what each instruction of an image did, whether it made a layer or not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping

from ..base.frozen import FrozenDict, field, frozen
from .documents import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["History", "matched", "now"]


@frozen
class History:
    """One instruction.

    :param created_by: what it was
    :param empty_layer: it changed no file, so that there is no layer for it
    :param created: RFC 3339
    :param extra: fields not known here, kept as they are
    """

    created_by: str = ""
    empty_layer: bool = False
    created: str = ""
    author: str = ""
    comment: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", FrozenDict(self.extra))

    @classmethod
    def from_json(cls, value: Any, where: str = "history") -> History:
        """From a JSON object.  :raises InvalidDocument: not one of this kind"""
        fields = Fields(value, where)
        texts = {name: fields.text(name, "") for name in ("created", "created_by", "author", "comment")}
        return cls(empty_layer=fields.take("empty_layer", bool, False), **texts, extra=fields.rest())

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; what is empty is left out."""
        names = ("created", "created_by", "author", "comment", "empty_layer")
        return {name: getattr(self, name) for name in names if getattr(self, name)} | dict(self.extra)


def matched(history: Iterable[History], layers: int) -> list[tuple[History, int | None]]:
    """Each entry with the place of its layer, None where it made none.

    A layer that no entry speaks of gets an empty entry at the end; an entry that has no layer left gets None.
    """
    found: list[tuple[History, int | None]] = []
    place = 0
    for entry in history:
        has = not entry.empty_layer and place < layers
        found.append((entry, place if has else None))
        place += has
    return found + [(History(), left) for left in range(place, layers)]


def now() -> str:
    """This moment in RFC 3339, or that of SOURCE_DATE_EPOCH, so that the same input gives the same image.

    :see: https://reproducible-builds.org/specs/source-date-epoch/
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = time.gmtime(int(epoch)) if epoch.isdecimal() else time.gmtime()
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
