"""What counts as a space: Go's and not Python's, which has four more."""

from __future__ import annotations

__all__ = ["SPACES", "between"]

SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

between = "\t\v\f\r "  # what divides the words of FROM, EXPOSE, COPY and the like
