"""Read and write the numbers and the extended headers of tar.

:see: pax(1), section "pax Interchange Format";  https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache

from ..errors import InvalidLayer
from ..limits import Limits

SCHILY, LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
SECOND = 1_000_000_000
Records = list[tuple[bytes, bytes]]


@lru_cache(maxsize=4096)  # modes, owners and times are the same again and again
def number(field: bytes, what: str) -> int:
    """Return a number of a header: octal digits, or binary where the first bit is set.

    :raises InvalidLayer: neither
    """
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        return value - (1 << bits) if first & 0x40 else value & ~(1 << (bits - 1))
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise InvalidLayer(f"{what} in a tar header is {field!r}, which is no octal number")
    return int(digits, 8)


def octal(value: int, width: int) -> bytes | None:
    """Return the field for a number, or None where it does not fit."""
    return b"%0*o\0" % (width - 1, value) if 0 <= value < 8 ** (width - 1) else None


def records(data: bytes) -> Records:
    """Return the records of a PAX header, in their order.

    :raises InvalidLayer: one is not ``LENGTH KEY=VALUE\\n``
    """
    found, at = [], 0
    while at < len(data):
        space = data.find(b" ", at, at + 21)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        if not space < end <= len(data) or data[end - 1] != 0x0A or b"=" not in data[space:end]:
            raise InvalidLayer(f"a PAX record at byte {at} of its header is malformed")
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        found.append((key, value))
        at = end
    return found


def write(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the body of a PAX header."""
    return b"".join(_record(key, value) for key, value in pairs)


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    size = rest + len(str(size))
    return b"%d %s=%s\n" % (size, key, value)


def integer(value: bytes, key: str) -> int:
    """Return a whole number of a PAX record."""
    if not value.isdigit() or len(value) > 20:
        raise InvalidLayer(f"the PAX record {key} is {value[:40]!r}, which is no number")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """Return a time of a PAX record, rounded down."""
    sign, digits = (-1, value[1:]) if value[:1] == b"-" else (1, value)
    whole, _, fraction = digits.partition(b".")
    if not (whole or b"0").isdigit() or not (fraction or b"0").isdigit() or not digits or len(value) > 80:
        raise InvalidLayer(f"the PAX record mtime is {value[:40]!r}, which is no time")
    part = int(fraction[:9].ljust(9, b"0"))
    below = 1 if sign < 0 and fraction[9:].strip(b"0") else 0
    return sign * (int(whole or b"0") * SECOND + part) - below


def time(value: int) -> bytes:
    """Return the PAX form of a time in nanoseconds."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{value // SECOND}.{value % SECOND:09}".rstrip("0").rstrip(".").encode()


def xattrs(pax: Mapping[bytes, bytes], limits: Limits) -> dict[bytes, bytes]:
    """Return the extended attributes of an entry.  The form of star and GNU tar has precedence over that of libarchive."""
    from urllib.parse import unquote_to_bytes

    found = {}
    for key, value in pax.items():
        if key.startswith(LIBARCHIVE):
            found[unquote_to_bytes(key.removeprefix(LIBARCHIVE))] = _base64(value)
    found |= {key.removeprefix(SCHILY): value for key, value in pax.items() if key.startswith(SCHILY)}
    limits.check("xattrs", len(found), "extended attributes of one entry", "of them")
    if any(not name or b"\0" in name for name in found):
        raise InvalidLayer("an extended attribute without a proper name")
    return found


def _base64(value: bytes) -> bytes:
    import base64

    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise InvalidLayer(f"an extended attribute that is not base64: {error}") from None
