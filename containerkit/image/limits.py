"""How much what comes from elsewhere may ask for: one set for every way in.  What asks for more is refused, not cut.

Limits(ratio=1000)                                  for one call
Limits.default().lifted(["ratio=none"])             as the command line's --limit has it
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..base import late
from ..base.frozen import fields, frozen, replace
from .errors import LimitExceeded

__all__ = ["NONE", "Limits"]


@frozen
class Limits:
    """What one layer may ask for at most.

    :param bytes: of the tar, and of the files in it; the holes of sparse files count
    :param ratio: bytes of the tar for each compressed byte; looked at from `ratio_from` bytes on
    :param entries: headers in the tar
    :param pax: bytes of one PAX header or one long name
    :param xattrs: extended attributes of one entry
    :param extents: pieces of one sparse file
    :param path: bytes of a name, and of the target of a link
    :param depth: directories above an entry
    :param window: bytes that zstd and xz may look back, and so the memory they take
    :param seconds: for fetching one file from a URL
    :param speed: bytes that have to come from a URL in each second that is waited for them
    """

    bytes: int = 64 << 30
    ratio: int = 250
    ratio_from: int = 256 << 20
    entries: int = 2_000_000
    pax: int = 1 << 20
    xattrs: int = 1000
    extents: int = 100_000
    path: int = 4095
    depth: int = 256
    window: int = 128 << 20
    seconds: int = 3600
    speed: int = 1024

    @staticmethod
    def default() -> Limits:
        """Those that count where a caller gives none."""
        return _default[0]

    def make_default(self) -> None:
        """Let these count in the whole process wherever a caller gives none: what `--limit` does."""
        _default[0] = self

    def lifted(self, words: Iterable[str]) -> Limits:
        """With others of them: ``NAME=NUMBER``, with K, M, G or T after it for a power of 1024, or ``NAME=none``.

        :raises ValueError: there is no such limit, or it is no number
        """
        return replace(self, **dict(map(_one, words)))

    def check(self, name: str, value: int, what: str, unit: str = "bytes") -> None:
        """:raises LimitExceeded: `value` is more than the limit called `name`"""
        limit = getattr(self, name)
        if value > limit:
            raise LimitExceeded(what, limit, unit, setting=f"Limits.{name}")

    def check_ratio(self, came: int, went_in: int) -> None:
        """:raises LimitExceeded: `went_in` compressed bytes became too many"""
        if came > self.ratio_from and came > went_in * self.ratio:
            raise LimitExceeded("what a compressed layer becomes", self.ratio, "times its size", setting="Limits.ratio")


NONE = 1 << 62
_WORD = late.pattern(r"([a-z_]+)=(?:(none)|([0-9]{1,15})([KMGT]?))", re.ASCII)
_default = [Limits()]


def _one(word: str) -> tuple[str, int]:
    found, names = _WORD.fullmatch(word), [field.name for field in fields(Limits)]
    if not found or found[1] not in names:
        raise ValueError(f"no limit is {word!r}: NAME=NUMBER or NAME=none, with a NAME of {', '.join(names)}")
    if found[2]:
        return found[1], 0 if found[1] == "speed" else NONE
    return found[1], int(found[3]) << 10 * " KMGT".index(found[4] or " ")
