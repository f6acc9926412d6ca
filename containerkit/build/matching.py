"""Patterns of COPY and ADD: a ``*`` ends at a slash, and it matches names with a dot before them too.

    is_pattern(b"a*.txt")                    whether there is anything to match
    matches(b"a[0-9]?", b"a1b")

:see: https://pkg.go.dev/path/filepath#Match
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["is_pattern", "matches", "plain"]


def is_pattern(word: bytes) -> bool:
    """Whether a word has a wildcard that no backslash stands before."""
    return re.search(rb"[*?\[]", re.sub(rb"\\.", b"", word, flags=re.DOTALL)) is not None


def plain(word: bytes) -> bytes:
    """A word without wildcards as the name it means: backslashes gone."""
    return re.sub(rb"\\(.)", rb"\1", word, flags=re.DOTALL)


def matches(pattern: bytes, name: bytes) -> bool:
    """Whether one part of a path matches.  :raises ValueError: not a pattern"""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    out, at = b"", 0
    while at < len(pattern):
        letter = pattern[at : at + 1]
        if letter == b"[":
            found = re.compile(rb"\[(\^?)((?:\\.|[^\]\\])+)\]", re.DOTALL).match(pattern, at)
            if not found:
                raise ValueError(f"a [ without its ] in {pattern!r}")
            out += b"[" + found[1] + _ranges(found[2]) + b"]"
            at = found.end()
            continue
        if letter == b"\\":
            at += 1
            if at == len(pattern):
                raise ValueError(f"a backslash at the end of {pattern!r}")
            letter = pattern[at : at + 1]
            out += re.escape(letter)
        else:
            out += {b"*": b"[^/]*", b"?": b"[^/]"}.get(letter, re.escape(letter))
        at += 1
    return re.compile(out, re.DOTALL)


def _ranges(inside: bytes) -> bytes:
    """What stands between brackets, with everything escaped but the minus of a range."""
    pieces = re.findall(rb"(?:\\(.)|(.))(?:-(?:\\(.)|(.)))?", inside, re.DOTALL)
    found = []
    for escaped, letter, escaped_end, end in pieces:
        first, last = escaped or letter, escaped_end or end
        found.append(re.escape(first) + (b"-" + re.escape(last) if last else b""))
    return b"".join(found)
