"""A digest: the name of bytes, computed from the bytes.

    Digest.of(b"...")              sha256:9a78...
    Digest("sha256:9a78...")       checked; a str, equal to its text
    Verifier(stream, digest, size) reads `stream`, and delivers its last bytes only if all bytes match

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
    """Any object with `read`, which may return fewer bytes than asked for, and returns b"" only at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Digest(str):
    """``sha256:`` or ``sha512:`` and lower-case hex.  A digest is a str, so it can be written to JSON as it is.

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
        """Return the digest of `data`."""
        import hashlib

        return cls.finish(hashlib.new(_trusted(algorithm), data))

    @classmethod
    def finish(cls, hasher: Any) -> Digest:
        """Return the digest that a hashlib object has computed."""
        return str.__new__(cls, f"{hasher.name}:{hasher.hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hex digits, as docker shows an image.  For display only."""
        return self.hex[:12]

    def hasher(self) -> Any:
        """Return a new hashlib object of this digest's algorithm."""
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
    """A stream that verifies another one, and delivers the last bytes only if all bytes match.

    It never asks the stream for more than one byte over `size`.  Closing it closes the stream without a check: only reading to
    the end, or `drain`, verifies.

    :param stream: the stream to read; `read` may return fewer bytes than asked for
    :param digest: the digest of all bytes
    :param size: their number; None when only the digest is known
    :param what: the stream's name in errors
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
        """Whether all bytes were read and match."""
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
        """Return the result of one read of the stream, CHUNK bytes at most."""
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
        """Read the rest without keeping it, so that all bytes are verified, and return the size."""
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
