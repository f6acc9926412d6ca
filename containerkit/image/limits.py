"""Limits on bytes from elsewhere: one set for archives, registries and URLs.  A layer over a limit is refused, not cut.

Limits(ratio=1000)                                  for one call
Limits.default().lifted(["ratio=none"])             as the command line's --limit does
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
    """The most that one layer may use.

    :param bytes: of the tar, and of the files in it; the holes of sparse files count
    :param ratio: bytes of the tar for each compressed byte; checked from `ratio_from` bytes on
    :param ratio_from: bytes of the tar below which `ratio` is not checked
    :param entries: headers in the tar
    :param pax: bytes of one PAX header or one long name
    :param xattrs: extended attributes of one entry
    :param extents: data segments of one sparse file
    :param path: bytes of a name, and of a link's target
    :param depth: directories above an entry
    :param window: bytes that zstd and xz may look back, which is also the memory they need
    :param seconds: for fetching one file from a URL
    :param speed: bytes that a URL must deliver per second of waiting
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
        """Return the limits that apply when a caller passes none."""
        return _default[0]

    def make_default(self) -> None:
        """Make these limits the default of the whole process.  The command line's `--limit` does this."""
        _default[0] = self

    def lifted(self, words: Iterable[str]) -> Limits:
        """Return these limits with some replaced.

        :param words: ``NAME=NUMBER``, with K, M, G or T for a power of 1024, or ``NAME=none``
        :raises ValueError: no limit has that name, or the value is not a number
        """
        return replace(self, **dict(map(_one, words)))

    def check(self, name: str, value: int, what: str, unit: str = "bytes") -> None:
        """Compare a value with the limit called `name`.

        :param what: the thing that is counted, for the error's text
        :raises LimitExceeded: `value` is above the limit
        """
        limit = getattr(self, name)
        if value > limit:
            raise LimitExceeded(what, limit, unit, setting=f"Limits.{name}")

    def check_ratio(self, came: int, went_in: int) -> None:
        """Compare the decompressed with the compressed size.

        :param came: bytes after decompression
        :param went_in: compressed bytes
        :raises LimitExceeded: the quotient is above `ratio`
        """
        if came > self.ratio_from and came > went_in * self.ratio:
            raise LimitExceeded("a decompressed layer", self.ratio, "times its size", setting="Limits.ratio")


NONE = 1 << 62
_WORD = late.pattern(r"([a-z_]+)=(?:(none)|([0-9]{1,15})([KMGT]?))", re.ASCII)
_default = [Limits()]


def _one(word: str) -> tuple[str, int]:
    found, names = _WORD.fullmatch(word), [field.name for field in fields(Limits)]
    if not found or found[1] not in names:
        raise ValueError(f"{word!r} sets no limit: write NAME=NUMBER or NAME=none, with a NAME of {', '.join(names)}")
    if found[2]:
        return found[1], 0 if found[1] == "speed" else NONE
    return found[1], int(found[3]) << 10 * " KMGT".index(found[4] or " ")
