"""Users and groups as a root directory names them: what `user` in an image's config means there.

    account("www-data", read)         Account(uid=33, gid=33, groups=(), home="/var/www")
    account("1000:staff", read)       `read` gives the bytes of /etc/passwd and /etc/group, or None

:see: passwd(5), group(5)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import PlanError

__all__ = ["Account", "account"]

PASSWD, GROUP = "/etc/passwd", "/etc/group"
LARGEST = 2**32 - 2  # the id after it is no id
Read = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
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

    A number needs no entry: then its group is 0.  A name needs one.  What is both a name and a number is the name.

    :param text: as in an image's config; "" is root
    :param read: gives the bytes of a file of the root, or None where it has none
    :raises PlanError: a name that the root does not know, or a number that is no id
    """
    name, colon, group = text.partition(":")
    entry = next((e for e in _lines(read(PASSWD), 7) if e[0] == (name or "root")), None)
    if entry is None and (number := _number(name)):
        entry = next((e for e in _lines(read(PASSWD), 7) if e[2] == number), None)
    if entry is None and name and not number:
        raise PlanError(f"the root has no user {name!r} in {PASSWD}")
    uid = _id(entry[2] if entry else name or "0", PASSWD)
    gid = _group(group, read) if group else _id(entry[3], PASSWD) if entry else 0
    return Account(
        uid, gid, () if colon and group else _supplementary(entry[0] if entry else "", gid, read), entry[5] or "/" if entry else "/"
    )


def _group(text: str, read: Read) -> int:
    for entry in _lines(read(GROUP), 4):
        if entry[0] == text:
            return _id(entry[2], GROUP)
    if not _number(text):
        raise PlanError(f"the root has no group {text!r} in {GROUP}")
    return _id(text, GROUP)


def _supplementary(user: str, gid: int, read: Read) -> tuple[int, ...]:
    found = {_id(entry[2], GROUP) for entry in _lines(read(GROUP), 4) if user and user in entry[3].split(",")}
    return tuple(sorted(found - {gid}))


def _lines(data: bytes | None, fields: int) -> Iterator[list[str]]:
    """The entries that have enough fields; others are passed over, as libc passes over them."""
    for line in (data or b"").decode(errors="surrogateescape").split("\n"):  # and at nothing else: a name may have a form feed
        entry = line.strip().split(":")
        if not line.startswith("#") and len(entry) >= fields and entry[0]:
            yield entry


def _id(text: str, where: str) -> int:
    number = _number(text)
    if not number or len(number) > len(str(LARGEST)) or int(number) > LARGEST:
        raise PlanError(f"{text[:40]!r} is not an id ({where})")
    return int(number)


def _number(text: str) -> str:
    """Digits without zeros before them; "" for what is no number."""
    return (text.lstrip("0") or "0") if text.isascii() and text.isdigit() else ""
