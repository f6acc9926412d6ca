"""Time per byte: a parser of foreign bytes takes four times as long for four times the input, and not sixteen times.

    growth(CASES["json: one key twice"])        the factor by which four times the input takes longer

The time is the processor time of this thread, the least of several tries, so that other load on the machine does not count.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from containerkit.dockerfile.ignore import Ignore
from containerkit.dockerfile.parser import parse
from containerkit.errors import ContainerKitError
from containerkit.image import documents
from containerkit.image.compression.compression import Decompressed
from containerkit.image.limits import NONE, Limits
from containerkit.image.merge import Stack
from containerkit.image.reference import Reference
from containerkit.image.tar import Entry, Reader, Writer, pax
from containerkit.image.unpack.meaning import Meaning
from containerkit.layers import accounts

__all__ = ["CASES", "Case", "growth"]

MORE, TRIES, LEAST = 4, 5, 0.004  # factor of the sizes; tries; seconds that the smaller size takes at least
LARGEST = 1 << 22
NOTHING = Limits(**dict.fromkeys(("bytes", "entries", "pax", "xattrs", "extents", "path"), NONE))


@dataclass(frozen=True, slots=True)
class Case:
    """A parser and its input.

    :param make: returns an input of a size
    :param read: parses it, or refuses it
    """

    make: Callable[[int], Any]
    read: Callable[[Any], object]


def took(case: Case, size: int) -> float:
    """Return the seconds of processor time that one parse took in this thread."""
    given = case.make(size)
    began = time.thread_time()
    with contextlib.suppress(ContainerKitError, ValueError, LookupError):
        case.read(given)
    return time.thread_time() - began


def growth(case: Case) -> float:
    """Return the factor by which `MORE` times the input takes longer.

    The size grows until the clock can measure it.  The factor of an input that is refused at once at any size is near 0.
    """
    size = 512
    while (few := took(case, size)) < LEAST and size < LARGEST:
        size *= 2
    few = min(few, *(took(case, size) for _ in range(TRIES - 1)))
    return min(took(case, MORE * size) for _ in range(TRIES)) / max(few, LEAST)


# Bytes -----------------------------------------------------------------------------------------------------------


def tar(*entries: tuple[Entry, bytes]) -> bytes:
    made = io.BytesIO()
    writer = Writer(made.write)
    for entry, data in entries:
        writer.add(entry, data)
    writer.close()
    return made.getvalue()


def extended(records: list[tuple[bytes, bytes]]) -> bytes:
    """Build a file with a PAX header of these records."""
    body = pax.write(records)
    header = bytearray(tar((Entry(b"pax", size=len(body)), body))[:-1024])
    header[156:157] = b"x"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 256)
    return bytes(header) + tar((Entry(b"f"), b""))


def read_tar(data: bytes, limits: Limits = NOTHING) -> None:
    for _ in Reader(io.BytesIO(data), limits):
        pass


def decide(entries: list[Entry]) -> None:
    meaning = Meaning(NOTHING)
    for entry in entries:
        meaning.decide(entry)
    meaning.finish()


def lay(entries: list[Entry]) -> None:
    stack = Stack(limits=NOTHING)
    for place in range(2):
        stack.lay(place, entries)


def tree(size: int, kind: str) -> list[Entry]:
    """Build layers in which a naive reader would process each entry again and again."""
    count = size // 64
    low = [Entry(b"d/%d" % number) for number in range(count)]
    match kind:
        case "replaced":
            return [*low, *[entry for _ in range(count) for entry in (Entry(b"x", "directory"), Entry(b"x"))]]
        case "whiteouts":
            return [*low, *[Entry(b"d/.wh.%d" % number) for number in range(count)], *[Entry(b"d/.wh..wh..opq")] * count]
        case "borrowed":
            return [Entry(b"h%d" % number, "hardlink", linkname=b"low/%d" % number) for number in range(count)]
    links = [Entry(b"l%d" % number, "symlink", linkname=b"/".join([b"d"] * 20)) for number in range(20)]
    return [Entry(b"/".join([b"d"] * 20), "directory"), *links, *[Entry(b"l%d/%d" % (n % 20, n)) for n in range(count)]]


def passwd(data: bytes) -> None:
    accounts.account("last:none", {"/etc/passwd": data, "/etc/group": data}.get)


def challenge(text: str) -> None:
    from containerkit.registry._auth import challenges

    challenges([text])


def link(text: str) -> None:
    from containerkit.registry import _lists

    for each in _lists._LINK.finditer(text):
        _lists._NEXT.search(each[2])


def ignored(text: str) -> None:
    Ignore.parse(text).excludes("a/b")


document = partial(documents.parse, what="a document", limit=1 << 30)
dockerfile = parse
DOCUMENTS: dict[str, Callable[[int], bytes]] = {
    "one key twice": lambda n: ("{" + ",".join(f'"{i:x}":1' for i in range(n // 8)) + f',"{n // 8 - 1:x}":2}}').encode(),
    "each key twice": lambda n: ("{" + ",".join(f'"{i // 2:x}":1' for i in range(n // 8)) + "}").encode(),
    "open brackets": lambda n: b'{"a":' + b"[" * n,
    "objects": lambda n: b'{"a":[' + b",".join([b'{"a":{}}'] * (n // 9)) + b"]}",
    "one number": lambda n: b'{"a":' + b"9" * n + b"}",
    "one string": lambda n: b'{"a":"' + b"\\u00e9" * (n // 6) + b'"}',
    "spaces": lambda n: b" " * n + b"x",
}
TARS: dict[str, Callable[[int], bytes]] = {
    "entries": lambda n: tar(*[(Entry(b"%d" % i), b"") for i in range(n // 512)]),
    "PAX records": lambda n: extended([(b"k%d" % i, b"v") for i in range(n // 12)]),
    "attributes": lambda n: extended([(b"SCHILY.xattr.user.k%d" % i, b"v") for i in range(n // 32)]),
    "one long record": lambda n: extended([(b"path", b"n" * n)]),
    "numbers of a map": lambda n: extended([
        (b"GNU.sparse.size", b"9" * 12), (b"GNU.sparse.map", b",".join(b"%d,1" % (2 * i) for i in range(n // 10))),
    ]),
    "pieces": lambda n: tar((Entry(b"s", size=NONE, sparse=tuple((2 * i, 1) for i in range(n // 8)), stored=n // 8), bytes(n // 8))),
}  # fmt: skip
TEXTS: dict[str, tuple[Callable[[int], Any], Callable[[Any], object]]] = {
    "Dockerfile: continued lines": (lambda n: b"FROM a\nRUN " + b"a \\\n" * (n // 4) + b"b\n", dockerfile),
    "Dockerfile: comments between": (lambda n: b"FROM a\nRUN a \\\n" + b"# b\n" * (n // 4) + b"b\n", dockerfile),
    "Dockerfile: words": (lambda n: b"FROM a\nENV " + b"a=b " * (n // 4), dockerfile),
    "Dockerfile: open quotes": (lambda n: b"FROM a\nENV a=" + b"'\"" * (n // 2), dockerfile),
    "Dockerfile: variables": (lambda n: b"FROM a\nENV a=" + b"${a}" * (n // 4), dockerfile),
    "Dockerfile: braces": (lambda n: b"FROM a\nENV a=" + b"${a:-" * (n // 5), dockerfile),
    "Dockerfile: an array": (lambda n: b'FROM a\nCMD [' + b'"a",' * (n // 4) + b"1]", dockerfile),
    "Dockerfile: heredocs": (lambda n: b"FROM a\nRUN <<a\n" + b"b\n" * (n // 2) + b"a\n", dockerfile),
    "Dockerfile: announced": (lambda n: b"FROM a\nRUN " + b"<<a " * (n // 4) + b"\na\n", dockerfile),
    "Dockerfile: flags": (lambda n: b"FROM a\nRUN " + b"--a=b " * (n // 6), dockerfile),
    "Dockerfile: stages": (lambda n: b"FROM a\n" * (n // 7), dockerfile),
    "Dockerfile: spaces": (lambda n: b"FROM a\nRUN" + b" " * n + b"\\", dockerfile),
    ".dockerignore: lines": (lambda n: "a*\n!b\n" * (n // 6), ignored),
    ".dockerignore: stars": (lambda n: ("**/" * 1000 + "\n") * (n // 3000), ignored),
    ".dockerignore: one line": (lambda n: "/ " * (n // 2), ignored),
    ".dockerignore: dots": (lambda n: ("./ " * 1000 + "a\n") * (n // 3000), ignored),
    "reference: slashes": (lambda n: "a/" * (n // 2), Reference.parse),
    "reference: separators": (lambda n: "a" + "_-." * (n // 3), Reference.parse),
    "reference: registry": (lambda n: "a." * (n // 2) + "b/c", Reference.parse),
    "reference: colons": (lambda n: ":" * n, Reference.parse),
    "passwd and group": (lambda n: b"a:x:1:1:::\n" * (n // 11) + b"last:x:5:5:::\n", passwd),
    "passwd: colons": (lambda n: b":" * n, passwd),
    "challenge: schemes": (lambda n: "a " * (n // 2), challenge),
    "challenge: open quotes": (lambda n: 'a b="' + "\\" * n, challenge),
    "challenge: quotes": (lambda n: 'a b="c", ' * (n // 9), challenge),
    "challenge: spaces": (lambda n: "a b" + " " * n, challenge),
    "link: parameters": (lambda n: "<a>" + "; a=b" * (n // 5) + '"', link),
    "link: names": (lambda n: "<a>;" + "a" * n + '"', link),
    "link: next": (lambda n: '<a>; rel="' + " next" * (n // 5) + 'x"', link),
    "link: open": (lambda n: "<" * n, link),
}  # fmt: skip


def packed(kind: str, size: int) -> bytes:
    """Build many nearly empty compressed streams, one after the other."""
    import bz2
    import gzip
    import lzma

    one = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}[kind](b"x")
    return one * (size // len(one))


def unpacked(data: bytes) -> None:
    stream = Decompressed(io.BytesIO(data))
    while stream.read(1 << 20):
        pass


CASES = {
    **{f"json: {name}": Case(make, document) for name, make in DOCUMENTS.items()},
    **{f"tar: {name}": Case(make, read_tar) for name, make in TARS.items()},
    **{f"layer: {kind}": Case(partial(tree, kind=kind), decide) for kind in ("replaced", "whiteouts", "borrowed", "links")},
    **{f"stack: {kind}": Case(partial(tree, kind=kind), lay) for kind in ("replaced", "whiteouts", "links")},
    **{f"many streams: {kind}": Case(partial(packed, kind), unpacked) for kind in ("gzip", "xz", "bzip2")},
    **{name: Case(*pair) for name, pair in TEXTS.items()},
}
