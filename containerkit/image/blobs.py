"""Blobs: bytes by digest, never trusted before they were verified.

    Blobs                  the protocol: open(descriptor), has(digest)
    MemoryBlobs()          in memory          .add(data, media_type) -> Descriptor
    FileBlobs(directory)   blobs/sha256/...   .add(...), and .writer() for streams
    TemporaryBlobs()       the same in a temporary directory
    read(blobs, descriptor)                   a small blob as bytes

What `open` gives checks size and digest while it is read: whoever reads to the end has read the right bytes.
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
from ..state.files import Unfinished
from ..state.locks import is_held
from ..state.scratch import Scratch
from .descriptor import Descriptor
from .digest import CHUNK, Digest, Readable, Verifier
from .documents import LIMIT
from .errors import LimitExceeded, Mismatch, Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, NoReturn

__all__ = ["BlobWriter", "Blobs", "FileBlobs", "MemoryBlobs", "TemporaryBlobs", "is_local", "read"]

StrPath = str | os.PathLike[str]
PART, GRACE = ".part-", 60.0  # an unfinished blob, and how many seconds it may be one before anybody asks


@runtime_checkable
class Blobs(Protocol):
    """Where blobs come from."""

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        """The blob's bytes, verified while they are read.  The caller closes it.

        :raises Missing: not here;  :raises Mismatch: already known to be of another size
        """

    def has(self, digest: Digest, /) -> bool:
        """Whether the blob is here, as far as can be told without reading it."""


def read(blobs: Blobs, descriptor: Descriptor, *, limit: int = LIMIT) -> bytes:
    """All bytes of a small blob, verified.

    :param limit: how many bytes it may have
    :raises LimitExceeded: more;  :raises Mismatch: not the bytes of `descriptor`;  :raises Missing: not there
    """
    if descriptor.size > limit:
        raise LimitExceeded(f"blob {descriptor.digest.short}", limit)
    if descriptor.data is not None:
        return descriptor.data
    with contextlib.closing(blobs.open(descriptor)) as stream:
        return stream.read()


def is_local(blobs: Blobs, digest: Digest) -> bool:
    """Whether a blob is here, and reading it asks no other machine.  What does not say so does."""
    asked = getattr(blobs, "is_local", None)
    return bool(asked and asked(digest))


class MemoryBlobs:
    """Blobs in memory.

    :param blobs: digest -> bytes to begin with; not verified until they are read
    """

    def __init__(self, blobs: Mapping[Digest, bytes] | None = None) -> None:
        self._blobs = dict(blobs or {})

    def add(self, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        """Keep `data`, and give its descriptor."""
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
    """Blobs as files, in the way of an OCI image layout: ``DIRECTORY/blobs/sha256/HEX``.

    :param directory: the one that has `blobs` in it; made with the first blob that is added
    """

    def __init__(self, directory: StrPath) -> None:
        self.directory = os.fspath(directory)

    def path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
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
        """Keep `data`, and give its descriptor."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit(media_type)

    @contextlib.contextmanager
    def writer(self, algorithm: str = "sha256") -> Iterator[BlobWriter]:
        """A blob being written.  Nothing is there before its `commit`, and nothing is left of one that never came."""
        parent = os.path.join(self.directory, "blobs", algorithm)
        os.makedirs(parent, exist_ok=True)
        writer = BlobWriter(parent, algorithm)
        try:
            yield writer
        finally:
            writer.close()

    def __iter__(self) -> Iterator[Digest]:
        """What is there by its name.  A file whose name is no digest is passed over."""
        for algorithm in ("sha256", "sha512"):
            with contextlib.suppress(FileNotFoundError):
                for name in sorted(os.listdir(os.path.join(self.directory, "blobs", algorithm))):
                    with contextlib.suppress(ValueError):
                        yield Digest(f"{algorithm}:{name}")


class TemporaryBlobs(FileBlobs):
    """Blobs as files that are gone with the last value that refers to them: for what is too large for memory."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("the layers of this image are in temporary files of the process that made them: save() it, or put it in a Store")

    def __copy__(self) -> TemporaryBlobs:
        return self

    def __deepcopy__(self, memo: object) -> TemporaryBlobs:
        return self

    def __init__(self) -> None:
        scratch = Scratch("blobs")
        super().__init__(scratch.path)
        weakref.finalize(self, scratch.close)  # in a forked child it does nothing


class BlobWriter:
    """A blob being written to a file; its digest is taken on the way."""

    def __init__(self, parent: str, algorithm: str) -> None:

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
        """Write all that `stream` gives."""
        while data := stream.read(CHUNK):
            self.write(data)

    def commit(self, media_type: str = "application/octet-stream", *, expected: Descriptor | None = None, sync: bool = False) -> Descriptor:
        """Put the blob in its place.

        :param expected: what it has to be
        :param sync: wait until the disk has it
        :raises Mismatch: it is not what was expected; nothing is kept
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
    """Whether nobody writes this unfinished blob any more.  Version 0.1 locked one a moment after it was begun."""
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
    """A file that is one: a link could lead anywhere, and a fifo never ends."""
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
