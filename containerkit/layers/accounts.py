"""Users and groups as a root directory names them: what `user` in an image's config means there.

    account("www-data", read)         Account(uid=33, gid=33, groups=(), home="/var/www")
    account("1000:staff", read)       `read` gives the bytes of /etc/passwd and /etc/group, or None

Who reads an image imitates two readers: libc, which reads the files inside, and what docker and buildkit have of their own.
Where the two differ:

- A number is an id, also where a name is spelt like it, as docker has it: else a line ``1000:x:0:0`` would make a root of USER 1000.
- ``root`` is 0 where no line says otherwise, as buildkit has it, so that an image without /etc/passwd has a root.
- A line is passed over as libc does it: blank, a comment, of NIS (``+`` or ``-`` first), with too few fields, or with an id that
  is none.  Docker takes such an id for 0, which is root's.
- Of two lines with one name the first counts.  A carriage return at the end of a line is not part of it.
- A third field, as in ``user:group:more``, is refused; docker passes over it.

:see: passwd(5), group(5)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..base.frozen import frozen
from ..errors import PlanError

__all__ = ["Account", "account"]

PASSWD, GROUP = "/etc/passwd", "/etc/group"
LARGEST = 2**32 - 2  # the id after it is no id
ROOT = "root"
DIGITS = re.compile(r"\+?0*[0-9]{1,10}", re.ASCII)  # no more of them: int() of a long line takes long
SPELT_AS_NUMBER = re.compile(r"[-+]?[0-9]+", re.ASCII)
Read = Callable[[str], bytes | None]


@frozen
class _Entry:
    """A line of /etc/passwd or of /etc/group that libc takes."""

    name: str
    number: int
    rest: tuple[str, ...]


@frozen
class Account:
    """Who a program runs as.

    :ivar groups: supplementary ones, sorted; none where the group was named, as docker has it
    :ivar home: of a user that /etc/passwd knows; "/" for others
    """

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def account(text: str, read: Read) -> Account:
    """Who ``user``, ``uid``, ``user:group``, ``uid:gid`` and the like are.

    A number needs no entry: then its group is 0.  A name needs one, but for root.

    :param text: as in an image's config; "" is root
    :param read: gives the bytes of a file of the root, or None where it has none
    :raises PlanError: a name that the root does not know, or a number that is no id
    """
    name, colon, group = text.partition(":")
    uid, users = _number(name or "0"), list(_entries(read(PASSWD), 2))
    entry = next((e for e in users if (e.name == name if uid is None else e.number == uid)), None)
    if uid is None:
        uid = entry.number if entry else _root(name, "user", PASSWD)
    named = bool(colon and group)
    gid = _group(group, read) if named else _own_group(entry)
    home = entry.rest[2] if entry and len(entry.rest) > 2 else ""
    return Account(uid, gid, () if named else _supplementary(entry, gid, read), home or "/")


def _own_group(entry: _Entry | None) -> int:
    return (_number(entry.rest[0]) or 0) if entry else 0


def _group(text: str, read: Read) -> int:
    gid = _number(text)
    if gid is None:
        entry = next((e for e in _entries(read(GROUP), 1) if e.name == text), None)
        return entry.number if entry else _root(text, "group", GROUP)
    return gid


def _root(name: str, what: str, path: str) -> int:
    """A word without an entry: 0 for root's.  :raises PlanError: another"""
    if name != ROOT:
        raise PlanError(f"the root has no {what} {name!r} in {path}")
    return 0


def _supplementary(entry: _Entry | None, gid: int, read: Read) -> tuple[int, ...]:
    if entry is None:
        return ()
    found = {e.number for e in _entries(read(GROUP), 1) if len(e.rest) > 0 and entry.name in e.rest[0].split(",")}
    return tuple(sorted(found - {gid}))


def _entries(data: bytes | None, numbers: int) -> Iterator[_Entry]:
    """The lines that libc takes.

    :param numbers: how many ids there are, from the third field on: two in /etc/passwd, one in /etc/group
    """
    for line in (data or b"").decode(errors="surrogateescape").split("\n"):  # and at nothing else: a name may have a form feed
        fields = line.strip().split(":")
        ids = fields[2 : 2 + numbers]
        if fields[0] and fields[0][0] not in "#+-" and len(ids) == numbers and all(map(_is_id, ids)):
            yield _Entry(fields[0], int(ids[0]), tuple(fields[3:]))


def _is_id(text: str) -> bool:
    return DIGITS.fullmatch(text) is not None and int(text) <= LARGEST


def _number(text: str) -> int | None:
    """An id; None for what is a name.  :raises PlanError: a number that is no id"""
    if not SPELT_AS_NUMBER.fullmatch(text):
        return None
    if not _is_id(text):
        raise PlanError(f"{text[:40]!r} is not an id: they go from 0 to {LARGEST}")
    return int(text)
