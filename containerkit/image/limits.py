"""How much a layer may ask for.  Every number can be changed; a layer that asks for more is refused, not cut."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import LimitExceeded

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
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
    :param window: bytes that zstd may look back, and so the memory it takes
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

    @staticmethod
    def default() -> Limits:
        """Those that count where a caller gives none."""
        return _default[0]

    def make_default(self) -> None:
        """Let these count in the whole process wherever a caller gives none: what `--limit` does."""
        _default[0] = self

    def check(self, name: str, value: int, what: str, unit: str = "bytes") -> None:
        """:raises LimitExceeded: `value` is more than the limit called `name`"""
        limit = getattr(self, name)
        if value > limit:
            raise LimitExceeded(what, limit, unit, setting=f"Limits.{name}")

    def check_ratio(self, came: int, went_in: int) -> None:
        """:raises LimitExceeded: `went_in` compressed bytes became too many"""
        if came > self.ratio_from and came > went_in * self.ratio:
            raise LimitExceeded("what a compressed layer becomes", self.ratio, "times its size", setting="Limits.ratio")


_default = [Limits()]
