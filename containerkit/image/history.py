"""The history of an image: one entry for each instruction, with or without a layer."""

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
    """One instruction of an image's history.

    :param created_by: the instruction's text
    :param empty_layer: whether the instruction changed no file, so that it made no layer
    :param created: RFC 3339
    :param extra: fields that are not known here, unchanged
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
        """Read an entry from a JSON object.

        :raises InvalidDocument: `value` is not a history entry
        """
        fields = Fields(value, where)
        texts = {name: fields.text(name, "") for name in ("created", "created_by", "author", "comment")}
        return cls(empty_layer=fields.take("empty_layer", bool, False), **texts, extra=fields.rest())

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object, without empty fields."""
        names = ("created", "created_by", "author", "comment", "empty_layer")
        return {name: getattr(self, name) for name in names if getattr(self, name)} | dict(self.extra)


def matched(history: Iterable[History], layers: int) -> list[tuple[History, int | None]]:
    """Pair each entry with the index of its layer, None when the entry made no layer.

    A layer without an entry gets an empty entry at the end; an entry without a layer left gets None.
    """
    found: list[tuple[History, int | None]] = []
    place = 0
    for entry in history:
        has = not entry.empty_layer and place < layers
        found.append((entry, place if has else None))
        place += has
    return found + [(History(), left) for left in range(place, layers)]


def now() -> str:
    """Return the time in RFC 3339: that of SOURCE_DATE_EPOCH when it is set, so that the same input gives the same image.

    :see: https://reproducible-builds.org/specs/source-date-epoch/
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = time.gmtime(int(epoch)) if epoch.isdecimal() else time.gmtime()
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
