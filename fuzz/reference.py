"""Names: references, digests and platforms.  A parsed name is written and parses back equal; another text is refused with its own error."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from .engine import Fuzzer, instrumented, run

with instrumented(__name__):
    from containerkit.image.digest import Digest
    from containerkit.image.errors import InvalidDigest, InvalidDocument, InvalidReference
    from containerkit.image.platform import Platform
    from containerkit.image.reference import Reference

HEX = "0123456789abcdef" * 4
WORDS = (
    "docker.io/", "index.docker.io/", "library/", "localhost", "localhost:5000/", "127.0.0.1:5000/", "[::1]:443/", "@sha256:", "@sha512:",
    HEX, f"@sha256:{HEX}", "__", "..", ".", "--", "/", ":", "@", ":latest", "linux/", "arm64/v8", "x86_64", "%2f", "\u212a", "\u0131",
    "\n", "\0",
)  # fmt: skip
SEEDS = (
    "nginx", "nginx:1.27", "library/nginx", "docker.io/library/nginx:latest", "127.0.0.1:5000/lesson:1", "localhost/a/b/c", "[::1]:5000/x",
    f"ghcr.io/owner/name:tag@sha256:{HEX}", f"name@sha512:{HEX * 2}", "UPPER/case", "a__b/c-d--e.f_g:T.a-g_1", HEX,
    "xn--bcher-kva.example/a", f"sha256:{HEX}", "linux/arm64/v8", "arm/v7", "amd64", "windows/amd64",
)  # fmt: skip


def check(data: bytes) -> None:
    """Check the properties of any text."""
    text = data.decode("utf-8", "surrogateescape")
    of_reference(text)
    of_digest(text)
    of_platform(text)


def of_reference(text: str) -> None:
    try:
        found = Reference.parse(text)
    except InvalidReference:
        return
    full = str(found)
    assert Reference.parse(full) == found, f"{full!r} is read as something else than {found!r}"
    assert str(Reference.parse(full)) == full, f"{full!r} is written in another way when it is read"
    assert Reference.parse(found.familiar) == found, f"{found.familiar!r} is not {full!r}"
    assert full.isascii(), f"{full!r} goes into URLs and headers"
    assert full.isprintable(), f"{full!r} goes into URLs and headers"
    assert not {"", ".", ".."} & {*full.partition("@")[0].split("/")}, f"{full!r} has a part that leads elsewhere in a URL"
    assert found.tag or found.digest, f"{full!r} points at nothing"
    assert Reference(found.registry, found.repository, found.tag, found.digest) == found


def of_digest(text: str) -> None:
    try:
        found = Digest(text)
    except InvalidDigest:
        return
    assert found == text == f"{found.algorithm}:{found.hex}", "a digest is its own text"
    assert len(bytes.fromhex(found.hex)) * 8 == int(found.algorithm.removeprefix("sha")), f"{text!r} has not its length"
    assert found.hex == found.hex.lower(), "one digest has two names"


def of_platform(text: str) -> None:
    try:
        found = Platform.parse(text)
    except InvalidDocument:
        return
    assert Platform.parse(str(found)) == found, f"{str(found)!r} is read as something else than {found!r}"
    assert Platform.from_json(found.to_json()) == found
    assert found.normal.rank(found) == 0, f"{found} does not run itself"


def seeds() -> Iterator[bytes]:
    yield from (each.encode() for each in SEEDS)


def mutate(data: bytes, chance: random.Random, raw: Callable[[bytes], bytes]) -> bytes:
    """Remove or repeat parts, and insert words between them."""
    parts = [part for each in data.split(b"/") for part in (each, b"/")][:-1]
    place = chance.randrange(len(parts) + 1)
    match chance.randrange(4):
        case 0:
            parts.insert(place, chance.choice(WORDS).encode())
        case 1:
            parts[place:place] = parts[chance.randrange(len(parts)) :]
        case 2:
            del parts[place : place + chance.randint(1, 2)]
        case 3 if place < len(parts):
            parts[place] = raw(parts[place])
    return b"".join(parts)


FUZZER = Fuzzer(check, seeds, mutate, tuple(word.encode() for word in WORDS))

if __name__ == "__main__":
    run(FUZZER)
