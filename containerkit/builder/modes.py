"""--chmod and --chown: the modes and the owners of copied files.

    chmod("u=rwX,go=rX")(0o600, directory=False)         octal works too
    chown("app:www", tree)                               names are those of the tree's own /etc/passwd and /etc/group

:see: chmod(1), https://docs.docker.com/reference/dockerfile/#copy---chown---chmod
"""

from __future__ import annotations

import os
import re
from typing import Protocol

from ..base import late
from ..errors import PlanError
from ..layers.accounts import account
from .errors import BuildError

__all__ = ["Mode", "Reads", "chmod", "chown"]

Owner = tuple[int, int]
CLAUSE = late.pattern(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)", re.ASCII)
ACTION = late.pattern(r"([-+=])([ugo]|[rwxXst]*)", re.ASCII)
SHIFTS = {"u": 6, "g": 3, "o": 0}


class Mode(Protocol):
    """A function that computes a new mode from an old one."""

    def __call__(self, mode: int, *, directory: bool) -> int: ...


class Reads(Protocol):
    """A source of files."""

    def read(self, path: bytes) -> bytes | None:
        """Return the bytes of a file, None when it does not exist."""


def chmod(text: str) -> Mode:
    """Return the function that a --chmod describes.

    :raises BuildError: `text` is neither octal nor symbolic
    """
    if re.fullmatch(r"[0-7]{1,5}", text, re.ASCII) and int(text, 8) <= 0o7777:
        fixed = int(text, 8)
        return lambda mode, *, directory: fixed
    clauses = [CLAUSE.fullmatch(clause) for clause in text.split(",")]
    if not text or not all(clauses):
        raise BuildError(f"--chmod={text}: expected an octal mode, or a symbolic one such as u=rwX,go=rX")
    steps = [(found[1] or "a", action) for found in clauses if found for action in ACTION.findall(found[2])]

    def changed(mode: int, *, directory: bool) -> int:
        for who, (sign, what) in steps:
            mode = _applied(mode, who, sign, what, directory)
        return mode

    return changed


def _applied(mode: int, who: str, sign: str, what: str, directory: bool) -> int:
    whom = [SHIFTS[letter] for letter in ("ugo" if "a" in who else who)]
    bits = sum({_bits(mode, what, directory) << shift for shift in whom})
    mask = sum({7 << shift for shift in whom})
    special = (0o4000 if "s" in what and 6 in whom else 0) | (0o2000 if "s" in what and 3 in whom else 0)
    special |= 0o1000 if "t" in what and ("a" in who or "o" in who) else 0
    bits |= special
    if sign == "-":
        return mode & ~bits
    if sign == "=":
        mask |= (0o4000 if 6 in whom else 0) | (0o2000 if 3 in whom else 0)
        return (mode & ~mask) | bits
    return mode | bits


def _bits(mode: int, what: str, directory: bool) -> int:
    if what in SHIFTS:
        return mode >> SHIFTS[what] & 7
    some = {"r": 4, "w": 2, "x": 1, "X": 1 if directory or mode & 0o111 else 0}
    return sum({some.get(letter, 0) for letter in what})


def chown(text: str, tree: Reads) -> Owner:
    """Return the owner that a --chown names.

    The group of a user without a group is the one in /etc/passwd for a name, and the same number for a number.

    :raises BuildError: the tree does not know a name, or a number is no id
    """
    if not text.partition(":")[0]:
        raise BuildError(f"--chown={text}: expected USER or USER:GROUP")
    try:
        found = account(text, lambda path: tree.read(os.fsencode(path)))
    except PlanError as error:
        raise BuildError(f"--chown={text}: {error}") from error
    return found.uid, found.uid if text.isascii() and text.isdecimal() else found.gid
