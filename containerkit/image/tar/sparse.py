"""Sparse files in a tar: the map of their pieces, which four forms write down.

:see: https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import InvalidLayer
from ..limits import Limits
from . import pax as _pax

Extents = tuple[tuple[int, int], ...]
BLOCK = 512
WHAT = "the map of a sparse file"


def map_of_header(tail: bytes, block: Callable[[], bytes], limits: Limits) -> tuple[int, Extents]:
    """Read the map in the old GNU form: four pieces in the header (`tail` is its byte 345 and after), 21 in each block that follows."""
    pairs, more = _pairs(tail[41:137]), tail[137]
    size = _pax.number(tail[138:150], "the size of a sparse file")
    while more:
        data = block()
        pairs += _pairs(data[:504])
        more = data[504]
        limits.check("extents", len(pairs), WHAT, "pieces")
    return size, tuple(pairs)


def _pairs(data: bytes) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(data) - 23, 24):
        if not data[at]:
            break
        found.append((_pax.number(data[at : at + 12], WHAT), _pax.number(data[at + 12 : at + 24], WHAT)))
    return found


def map_of_pax(pax: Mapping[bytes, bytes], records: _pax.Records, limits: Limits) -> tuple[bytes, int, Extents | None] | None:
    """Return name, size and map of a PAX header; None for a map that begins the body; nothing for a file that is not sparse."""
    if b"GNU.sparse.major" in pax:
        if (pax[b"GNU.sparse.major"], pax.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise InvalidLayer("a sparse file of a form that is not known")
        return pax.get(b"GNU.sparse.name", b""), _integer(pax, b"GNU.sparse.realsize"), None
    if b"GNU.sparse.size" not in pax:
        return None
    if b"GNU.sparse.map" in pax:
        numbers = pax[b"GNU.sparse.map"].split(b",") if pax[b"GNU.sparse.map"] else []
    else:
        numbers = [value for key, value in records if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
    return pax.get(b"GNU.sparse.name", b""), _integer(pax, b"GNU.sparse.size"), _from_numbers(numbers, limits)


def _integer(pax: Mapping[bytes, bytes], key: bytes) -> int:
    return _pax.integer(pax.get(key, b""), key.decode())


def _from_numbers(numbers: list[bytes], limits: Limits) -> Extents:
    limits.check("extents", len(numbers) // 2, WHAT, "pieces")
    if len(numbers) % 2:
        raise InvalidLayer("the map of a sparse file ends in the middle of a piece")
    values = [_pax.integer(number, WHAT) for number in numbers]
    return tuple(zip(values[::2], values[1::2], strict=True))


def read_map_1_0(read: Callable[[int], bytes], limits: Limits) -> Extents:
    """Read the map in the newest form: numbers in lines at the beginning of the body, up to a whole block."""
    data = read(BLOCK)
    count = _lines(data, 1)
    wanted = 1 + 2 * _pax.integer(count[0], WHAT) if count else 0
    limits.check("extents", wanted // 2, WHAT, "pieces")
    blocks, have = [data], data.count(b"\n")
    while wanted and have < wanted and (data := read(BLOCK)):
        blocks.append(data)
        have += data.count(b"\n")
    if not wanted or have < wanted:
        raise InvalidLayer("the map of a sparse file is cut short")
    return _from_numbers(_lines(b"".join(blocks), wanted)[1:], limits)


def _lines(data: bytes, count: int) -> list[bytes]:
    return data.split(b"\n", count)[:count] if data.count(b"\n") >= count else []


def check(extents: Extents, size: int, stored: int) -> None:
    """Check a map.  :raises InvalidLayer: the pieces overlap, are out of order, or differ from the stored ones"""
    end = 0
    for offset, length in extents:
        if offset < end or offset + length > size or length < 0:
            raise InvalidLayer("the pieces of a sparse file overlap, or lie outside of it")
        end = offset + length
    if sum(length for _, length in extents) != stored:
        raise InvalidLayer("a sparse file does not have the bytes its map speaks of")
