"""Blobs: bytes by digest, verified before they are trusted.

    Blobs                  the protocol: open(descriptor), has(digest)
    MemoryBlobs()          in memory          .add(data, media_type) -> Descriptor
    FileBlobs(directory)   blobs/sha256/...   .add(...), and .writer() for streams
    TemporaryBlobs()       the same in a temporary directory
    read(blobs, descriptor)                   a small blob as bytes

A stream from `open` checks size and digest while it is read: a reader that reaches the end has read the right bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
import time
import weakref
from collections.abc import Iterator, Mapping

from ..base.protocols import Protocol, runtime_checkable
from .descriptor import Descriptor
from .digest import CHUNK, Digest, Readable, Verifier
from .documents import LIMIT
from .errors import LimitExceeded, Mismatch, Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, NoReturn

__all__ = ["BlobWriter", "Blobs", "FileBlobs", "MemoryBlobs", "TemporaryBlobs", "is_local", "read"]

StrPath = str | os.PathLike[str]
PART, GRACE = ".part-", 60.0  # the prefix of an unfinished blob, and its age in seconds before it may count as abandoned


@runtime_checkable
class Blobs(Protocol):
    """A source of blobs."""

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        """Open the blob; its bytes are verified while they are read.  The caller closes the stream.

        :raises Missing: the blob is absent
        :raises Mismatch: its size is known to differ
        """

    def has(self, digest: Digest, /) -> bool:
        """Return whether the blob is present, as far as can be told without reading it."""


def read(blobs: Blobs, descriptor: Descriptor, *, limit: int = LIMIT) -> bytes:
    """Return all bytes of a small blob, verified.

    :param limit: the most bytes it may have
    :raises LimitExceeded: the blob is larger
    :raises Mismatch: the bytes do not match `descriptor`
    :raises Missing: the blob is absent
    """
    if descriptor.size > limit:
        raise LimitExceeded(f"blob {descriptor.digest.short}", limit)
    if descriptor.data is not None:
        return descriptor.data
    with contextlib.closing(blobs.open(descriptor)) as stream:
        return stream.read()


def is_local(blobs: Blobs, digest: Digest) -> bool:
    """Return whether a blob is present and can be read without asking another machine; False when `blobs` cannot tell."""
    asked = getattr(blobs, "is_local", None)
    return bool(asked and asked(digest))


class MemoryBlobs:
    """Blobs in memory.

    :param blobs: digest -> bytes to begin with; they are verified when they are read
    """

    def __init__(self, blobs: Mapping[Digest, bytes] | None = None) -> None:
        self._blobs = dict(blobs or {})

    def add(self, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        """Keep `data`, and return its descriptor."""
        descriptor = Descriptor.of(data, media_type)
        self._blobs[descriptor.digest] = bytes(data)
        return descriptor

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        if descriptor.digest not in self._blobs:
            raise Missing(f"there is no blob {descriptor.digest}")
        return Verifier(io.BytesIO(self._blobs[descriptor.digest]), descriptor.digest, descriptor.size)

    def has(self, digest: Digest, /) -> bool:
        return digest in self._blobs

    is_local = has

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._blobs)


class FileBlobs:
    """Blobs as files, laid out as in an OCI image layout: ``DIRECTORY/blobs/sha256/HEX``.

    :param directory: the parent of `blobs`; made when the first blob is added
    """

    def __init__(self, directory: StrPath) -> None:
        self.directory = os.fspath(directory)

    def path(self, digest: Digest) -> str:
        """Return the path that the blob has, or would have."""
        return os.path.join(self.directory, "blobs", digest.algorithm, digest.hex)

    def has(self, digest: Digest, /) -> bool:
        try:
            return stat.S_ISREG(os.lstat(self.path(digest)).st_mode)
        except OSError:
            return False

    is_local = has

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        file = _regular(self.path(descriptor.digest))
        size = os.fstat(file.fileno()).st_size
        if size != descriptor.size:
            file.close()
            raise Mismatch(f"size of blob {descriptor.digest.short}", f"{descriptor.size} bytes", f"{size} bytes")
        return Verifier(file, descriptor.digest, descriptor.size)

    def add(self, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        """Keep `data`, and return its descriptor."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit(media_type)

    @contextlib.contextmanager
    def writer(self, algorithm: str = "sha256") -> Iterator[BlobWriter]:
        """Give a writer of a new blob.  The blob appears with the writer's `commit`; without a commit nothing is left of it."""
        parent = os.path.join(self.directory, "blobs", algorithm)
        os.makedirs(parent, exist_ok=True)
        writer = BlobWriter(parent, algorithm)
        try:
            yield writer
        finally:
            writer.close()

    def __iter__(self) -> Iterator[Digest]:
        """Yield the digests of the blobs, by their names.  A file whose name is no digest is skipped."""
        for algorithm in ("sha256", "sha512"):
            with contextlib.suppress(FileNotFoundError):
                for name in sorted(os.listdir(os.path.join(self.directory, "blobs", algorithm))):
                    with contextlib.suppress(ValueError):
                        yield Digest(f"{algorithm}:{name}")


class TemporaryBlobs(FileBlobs):
    """Blobs in temporary files, for layers too large for memory.  The files are removed with the last value that refers to them."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("the layers of this image are in temporary files of the process that made them: save() it, or put it in a Store")

    def __copy__(self) -> TemporaryBlobs:
        return self

    def __deepcopy__(self, memo: object) -> TemporaryBlobs:
        return self

    def __init__(self) -> None:
        from ..state.scratch import Scratch

        scratch = Scratch("blobs")
        super().__init__(scratch.path)
        weakref.finalize(self, scratch.close)  # in a forked child it does nothing


class BlobWriter:
    """A blob that is being written to a file.  Its digest is computed meanwhile."""

    def __init__(self, parent: str, algorithm: str) -> None:
        from ..state.files import Unfinished

        self._parent, self._hasher, self.size = parent, Digest.of(b"", algorithm).hasher(), 0
        self._unfinished = Unfinished(parent, PART)
        self._file = os.fdopen(self._unfinished.fd, "wb", buffering=0, closefd=False)

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data)
        self._hasher.update(view)
        self.size += len(view)
        while view:
            view = view[self._file.write(view) :]
        return len(data)

    def copy(self, stream: Readable) -> None:
        """Write all bytes of `stream`."""
        while data := stream.read(CHUNK):
            self.write(data)

    def commit(self, media_type: str = "application/octet-stream", *, expected: Descriptor | None = None, sync: bool = False) -> Descriptor:
        """Give the blob its final name.

        :param expected: the descriptor that it must match
        :param sync: wait until the bytes are on the disk
        :raises Mismatch: the blob does not match `expected`; it is removed
        """
        digest = Digest.finish(self._hasher)
        if expected and (expected.digest, expected.size) != (digest, self.size):
            raise Mismatch("blob being written", f"{expected.digest} of {expected.size} bytes", f"{digest} of {self.size} bytes")
        self._unfinished.finish(os.path.join(self._parent, digest.hex), sync=sync)
        return expected or Descriptor(media_type, digest, self.size)

    def close(self) -> None:
        self._file.close()
        self._unfinished.close()


def is_abandoned(path: StrPath) -> bool:
    """Return whether an unfinished blob has no writer.  Version 0.1 locked one a moment after it was begun."""
    from ..state.locks import is_held

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if time.time() - os.fstat(fd).st_mtime < GRACE or is_held(fd):
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def _regular(path: str) -> BinaryIO:
    """Open a regular file.  A link is refused because it could lead anywhere, a fifo because it never ends."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Missing(f"there is no blob {path}") from None
    except OSError as error:
        raise Missing(f"the blob {path} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Missing(f"the blob {path} is not a file")
    return os.fdopen(fd, "rb", buffering=0)
