"""The characters that count as spaces: those of Go, not those of Python, which has four more."""

from __future__ import annotations

__all__ = ["SPACES", "first_word"]

SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


def first_word(text: str) -> tuple[str, int]:
    """Return the first word, and the index at which the text after the following spaces begins."""
    end = next((index for index, letter in enumerate(text) if letter in SPACES), len(text))
    return text[:end], len(text) - len(text[end:].lstrip(SPACES))
