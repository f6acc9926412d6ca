"""Users and groups by the names that a root directory gives them: the meaning of `user` in an image's config.

    account("www-data", read)         Account(uid=33, gid=33, groups=(), home="/var/www")
    account("1000:staff", read)       `read` returns the bytes of /etc/passwd and /etc/group, or None

The rules combine two readers: libc, which reads these files inside the container, and docker and buildkit, which have readers of their
own.  Where the two differ:

- A number is an id even if a name is spelt like it, as in docker.  Otherwise a line ``1000:x:0:0`` would make USER 1000 root.
- ``root`` is 0 unless a line says otherwise, as in buildkit, so that an image without /etc/passwd has a root.
- A line is skipped as in libc: a blank one, a comment, a line of NIS (``+`` or ``-`` first), one with too few fields, or with an
  invalid id.  Docker reads an invalid id as 0, which is root's.
- Of two lines with one name the first counts.  A carriage return at the end of a line is not part of the line.
- A third field, as in ``user:group:more``, is refused.  Docker ignores it.

:see: passwd(5), group(5)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..base import late
from ..base.frozen import frozen
from ..errors import PlanError

__all__ = ["Account", "account"]

PASSWD, GROUP = "/etc/passwd", "/etc/group"
LARGEST = 2**32 - 2  # (u32)-1 is no id
ROOT = "root"
DIGITS = late.pattern(r"\+?0*[0-9]{1,10}", re.ASCII)  # at most ten digits, because int() of a very long line is slow
SPELT_AS_NUMBER = late.pattern(r"[-+]?[0-9]+", re.ASCII)
Read = Callable[[str], bytes | None]


@frozen
class _Entry:
    """A valid line of /etc/passwd or of /etc/group."""

    name: str
    number: int
    rest: tuple[str, ...]


@frozen
class Account:
    """The user and the groups of a program.

    :ivar groups: supplementary ids, sorted; () when the group was given by name or number, as in docker
    :ivar home: the home directory in /etc/passwd; "/" for a user without one
    """

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def account(text: str, read: Read) -> Account:
    """Return the account that ``user``, ``uid``, ``user:group`` or ``uid:gid`` names.

    A number needs no entry; without one its group is 0.  A name needs an entry, except root.

    :param text: as in an image's config; "" is root
    :param read: returns the bytes of a file of the root, None when it does not exist
    :raises PlanError: the root does not know a name, or a number is no id
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
    """Return 0 for root without an entry.

    :raises PlanError: any other name
    """
    if name != ROOT:
        raise PlanError(f"the root has no {what} {name!r} in {path}")
    return 0


def _supplementary(entry: _Entry | None, gid: int, read: Read) -> tuple[int, ...]:
    if entry is None:
        return ()
    found = {e.number for e in _entries(read(GROUP), 1) if len(e.rest) > 0 and entry.name in e.rest[0].split(",")}
    return tuple(sorted(found - {gid}))


def _entries(data: bytes | None, numbers: int) -> Iterator[_Entry]:
    """Yield the valid lines.

    :param numbers: the number of ids, from the third field on: two in /etc/passwd, one in /etc/group
    """
    for line in (data or b"").decode(errors="surrogateescape").split("\n"):  # not splitlines(), because a name may contain a form feed
        fields = line.strip().split(":")
        ids = fields[2 : 2 + numbers]
        if fields[0] and fields[0][0] not in "#+-" and len(ids) == numbers and all(map(_is_id, ids)):
            yield _Entry(fields[0], int(ids[0]), tuple(fields[3:]))


def _is_id(text: str) -> bool:
    return DIGITS.fullmatch(text) is not None and int(text) <= LARGEST


def _number(text: str) -> int | None:
    """Return an id, None for a name.

    :raises PlanError: a number that is no id
    """
    if not SPELT_AS_NUMBER.fullmatch(text):
        return None
    if not _is_id(text):
        raise PlanError(f"{text[:40]!r} is not an id: ids go from 0 to {LARGEST}")
    return int(text)
