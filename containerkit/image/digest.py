"""A digest: the name that bytes give themselves.

    Digest.of(b"...")              sha256:9a78...
    Digest("sha256:9a78...")       checked; a str, equal to its text
    Verifier(stream, digest, size) reads `stream`, and hands out its last bytes only if all were the right ones

:see: https://github.com/opencontainers/image-spec/blob/main/descriptor.md
"""

from __future__ import annotations

import io
import re

from ..base import late
from ..base.protocols import Protocol
from .errors import InvalidDigest, Mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CHUNK", "Digest", "Readable", "Verifier"]

CHUNK = 1 << 20
LENGTHS = {"sha256": 64, "sha512": 128}
GRAMMAR = late.pattern(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
HEX = late.pattern(r"[0-9a-f]+", re.ASCII)


class Readable(Protocol):
    """Anything that bytes can be read from.  `read` may give fewer than asked for, and b"" only at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Digest(str):
    """``sha256:`` or ``sha512:`` and lower-case hex.  A str, so that it is its own JSON.

    :raises InvalidDigest: another algorithm, a wrong length, upper case
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        if isinstance(text, Digest):
            return text
        if not isinstance(text, str) or not GRAMMAR.fullmatch(text):
            raise InvalidDigest(f"not a digest: {str(text)[:140]!r} (expected sha256: and 64 hex digits)")
        algorithm, _, value = text.partition(":")
        if algorithm not in LENGTHS:
            raise InvalidDigest(f"the digest {text[:140]} is of {algorithm!r}: only {' and '.join(LENGTHS)} are trusted")
        if len(value) != LENGTHS[algorithm] or not HEX.fullmatch(value):
            raise InvalidDigest(f"{text[:140]!r} is no {algorithm} digest: it takes {LENGTHS[algorithm]} hex digits in lower case")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of `data`."""
        import hashlib

        return cls.finish(hashlib.new(_trusted(algorithm), data))

    @classmethod
    def finish(cls, hasher: Any) -> Digest:
        """What a hashlib object has come to."""
        return str.__new__(cls, f"{hasher.name}:{hasher.hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hex digits, as docker shows an image.  For eyes only."""
        return self.hex[:12]

    def hasher(self) -> Any:
        """A new hashlib object of this digest's algorithm."""
        import hashlib

        return hashlib.new(self.algorithm)

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"

    def __reduce__(self) -> tuple[type[Digest], tuple[str]]:
        return Digest, (str(self),)


def _trusted(algorithm: str) -> str:
    if algorithm not in LENGTHS:
        raise InvalidDigest(f"{algorithm!r} is not trusted: only {' and '.join(LENGTHS)} are")
    return algorithm


class Verifier(io.BufferedIOBase):
    """Reads a stream, and hands out its last bytes only if all of them were the right ones.

    Never asks the stream for more than one byte over `size`.  Closing it closes the stream, and checks nothing: read to
    the end, or call `drain`.

    :param stream: what to read; `read` may give fewer bytes than asked for
    :param digest: what all bytes together must come to
    :param size: how many there must be; None when only the digest is known
    :param what: how errors call it
    :raises Mismatch: while reading: too few, too many or the wrong bytes; every later read raises it again
    """

    def __init__(self, stream: Readable, digest: Digest, size: int | None = None, *, what: str = "") -> None:
        self._stream, self._digest, self._size = stream, digest, size
        self._what = what or f"blob {digest.algorithm}:{digest.short}"
        self._hasher, self._count = digest.hasher(), 0
        self._done = False
        self._fault: Mismatch | None = None

    @property
    def verified(self) -> bool:
        """Whether everything was read, and was right."""
        return self._done

    @property
    def count(self) -> int:
        """How many bytes were read so far."""
        return self._count

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def read1(self, size: int | None = -1, /) -> bytes:
        """What one read of the stream gives, CHUNK bytes at most."""
        if self._fault:
            raise self._fault
        if self.closed:
            raise ValueError("read of a closed file")
        wanted = CHUNK if size is None or size < 0 else min(size, CHUNK)
        if self._done or not wanted:
            return b""
        left = wanted if self._size is None else min(wanted, self._size - self._count)
        return self._took(self._stream.read(left) if left else b"")

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and 0 <= size <= CHUNK and len(first := self.read1(size)) in (0, size):
            return first
        wanted = None if size is None or size < 0 else size
        pieces = [first] if wanted is not None and wanted <= CHUNK else []
        have = sum(map(len, pieces))
        while (wanted is None or have < wanted) and (piece := self.read1(-1 if wanted is None else wanted - have)):
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def drain(self) -> int:
        """Read and forget the rest, so that all of it is checked.  Gives the size."""
        while self.read1():
            pass
        return self._count

    def close(self) -> None:
        if not self.closed and hasattr(self._stream, "close"):
            self._stream.close()
        super().close()

    def _took(self, data: bytes) -> bytes:
        self._hasher.update(data)
        self._count += len(data)
        if self._size is not None and self._count == self._size:
            self._finish(more=bool(self._stream.read(1)))
        elif not data:
            self._finish(more=False)
        return data

    def _finish(self, more: bool) -> None:
        if more:
            self._fail("size", f"{self._size} bytes", "more")
        if self._size is not None and self._count != self._size:
            self._fail("size", f"{self._size} bytes", f"{self._count} bytes")
        if (found := Digest.finish(self._hasher)) != self._digest:
            self._fail("digest", self._digest, found)
        self._done = True

    def _fail(self, kind: str, expected: object, found: object) -> None:
        self._fault = Mismatch(f"{kind} of {self._what}", expected, found)
        raise self._fault
