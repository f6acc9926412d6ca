"""An OCI image layout: blobs by digest, and an index.json that names some of them, as a directory or as a tar of one.

    with Layout.open("busybox.oci") as layout:
        layout.names, layout.find("latest"), layout.manifest("latest", Platform.parse("arm64"))
    write("copy.tar", [(named(layout.find(), "app:1"), layout.blobs)])       a new one, or more images into an old directory
    layout.save("copy.oci")                                                  a whole copy, byte for byte

:see: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from ...state.locks import locked
from .. import media
from ..blobs import Blobs, FileBlobs
from ..content import Found, below, opened, reach
from ..descriptor import Descriptor
from ..digest import Digest, Verifier
from ..documents import LIMIT, Fields, dump, parse
from ..errors import InvalidDocument, LimitExceeded, Mismatch, Missing, Unsupported
from .named_images import NamedImages, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from ..tar.tarball import Tarball

__all__ = ["Layout", "TarBlobs", "write"]

StrPath = str | os.PathLike[str]
Items = Iterable[tuple[Descriptor, Blobs]]
VERSION = "1.0.0"
OCI_LAYOUT, INDEX_JSON = "oci-layout", "index.json"


class TarBlobs:
    """Blobs in a tarball, below ``blobs``.

    :param tarball: the tar with the blobs
    :param places: digest -> name, for blobs with another name in the tar
    """

    def __init__(self, tarball: Tarball, places: dict[Digest, str] | None = None) -> None:
        self.tarball, self.places = tarball, {} if places is None else places

    def _place(self, digest: Digest) -> str:
        return self.places.get(digest) or f"blobs/{digest.algorithm}/{digest.hex}"

    def has(self, digest: Digest, /) -> bool:
        return self._place(digest) in self.tarball

    is_local = has

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        member = self.tarball.find(self._place(descriptor.digest))
        if member.size != descriptor.size:
            raise Mismatch(f"size of blob {descriptor.digest.short}", f"{descriptor.size} bytes", f"{member.size} bytes")
        return Verifier(self.tarball.open(self._place(descriptor.digest)), descriptor.digest, descriptor.size)


class Layout(NamedImages):
    """An OCI image layout that exists.

    :ivar index: the bytes of its index.json
    :ivar marker: the bytes of its oci-layout
    """

    entries: tuple[Descriptor, ...] = ()

    def __init__(self, blobs: Blobs, index: bytes, marker: bytes, tarball: Tarball | None = None) -> None:
        _check_marker(marker)
        self.blobs, self.index, self.marker, self._tarball = blobs, index, marker, tarball
        self.entries = tuple(below(Descriptor.of(index, media.OCI_INDEX), index))

    @classmethod
    def open(cls, path: StrPath) -> Layout:
        """Open an OCI image layout.

        :param path: a directory, or a tar of one, which may be compressed
        :raises Missing: `path` is not a layout
        :raises ImageError: the layout cannot be read; the subclass says why
        """
        from ..tar.tarball import Tarball

        if os.path.isdir(path):
            return cls(FileBlobs(path), _small(Path(path, INDEX_JSON)), _small(Path(path, OCI_LAYOUT)))
        with Tarball(path).closed_on_error() as tarball:
            return cls(TarBlobs(tarball), tarball.read(INDEX_JSON), tarball.read(OCI_LAYOUT), tarball)

    def save(self, path: StrPath, *, tar: bool | None = None) -> None:
        """Copy all blobs behind the index, and the layout's own files byte for byte.

        :param tar: write a tar rather than a directory; by default a path that ends in ``.tar`` gets a tar
        :raises FileExistsError: the directory is a layout already
        """
        found = reach(self.blobs, *self.entries)
        if _is_tar(path, tar):
            from ..tar.blobs_tar import tar_file

            tar_file(path, {OCI_LAYOUT: self.marker, INDEX_JSON: self.index}, ((f, self.blobs) for f in found))
            return
        if Path(path, INDEX_JSON).exists():
            raise FileExistsError(f"{path} is a layout already: write() adds to it")
        _fill(Path(path), ((f, self.blobs) for f in found))
        _replace(Path(path, OCI_LAYOUT), self.marker)
        _replace(Path(path, INDEX_JSON), self.index)

    def close(self) -> None:
        """Close the file.  Blobs cannot be opened any more."""
        if self._tarball:
            self._tarball.close()

    def __enter__(self) -> Layout:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


def write(path: StrPath | BinaryIO, items: Items, *, tar: bool | None = None) -> None:
    """Write images with all blobs behind them, byte for byte.

    A directory that is a layout already gets the images added; an entry of the same name is replaced.  A tar is written anew, and
    appears complete.

    :param path: a directory, a file, or an open file for a tar, which need not be seekable
    :param items: the entries for index.json, with their annotations, each with its blobs
    :param tar: write a tar rather than a directory; by default a path that ends in ``.tar`` gets a tar
    :raises ImageError: a blob is missing, or does not match its digest; index.json is unchanged
    """
    from ..tar.blobs_tar import tar_file

    items = list(items)
    found = ((f, blobs) for entry, blobs in items for f in reach(blobs, entry))
    entries = [entry for entry, _ in items]
    own = {OCI_LAYOUT: marker(), INDEX_JSON: index_of(entries)}
    if not isinstance(path, str | os.PathLike):
        from ..tar.blobs_tar import tar_stream

        tar_stream(path, own, found)
    elif _is_tar(path, tar):
        tar_file(path, own, found)
    else:
        _fill(Path(path), found)
        _name(Path(path), own, entries)


def _name(directory: Path, own: Mapping[str, bytes], entries: list[Descriptor]) -> None:
    """Name the blobs that are there by digest already."""
    with locked(directory):
        if (directory / INDEX_JSON).exists():
            old = Layout.open(directory)
            _replace(directory / INDEX_JSON, old.index if _all_in(entries, old.entries) else _merged(old, entries))
        else:
            for name, data in own.items():
                _replace(directory / name, data)


def index_of(entries: Iterable[Descriptor], **more: Any) -> bytes:
    """Return an index.json.

    :param more: fields of another one to keep
    """
    return dump({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [e.to_json() for e in entries], **more})


def _all_in(entries: Iterable[Descriptor], old: Iterable[Descriptor]) -> bool:
    there = [entry.to_json() for entry in old]
    return all(entry.to_json() in there for entry in entries)


def _merged(old: Layout, entries: list[Descriptor]) -> bytes:
    new = {(name_of(entry) or entry.digest) for entry in entries}
    kept = [entry for entry in old.entries if (name_of(entry) or entry.digest) not in new]
    more = {key: value for key, value in parse(old.index, INDEX_JSON).items() if key not in ("schemaVersion", "mediaType", "manifests")}
    return index_of([*kept, *entries], **more)


def marker() -> bytes:
    """Return the content of oci-layout."""
    return dump({"imageLayoutVersion": VERSION})


def _check_marker(data: bytes) -> None:
    version = Fields(parse(data, OCI_LAYOUT), OCI_LAYOUT).text("imageLayoutVersion")
    if version.split(".")[0] != VERSION.split(".")[0]:
        raise Unsupported(f"an OCI layout of version {version[:20]!r}: only {VERSION} is read")


def _is_tar(path: StrPath, tar: bool | None) -> bool:
    return os.fspath(path).endswith(".tar") and not os.path.isdir(path) if tar is None else tar


def _fill(directory: Path, found: Iterable[tuple[Found, Blobs]]) -> None:
    """Write the blobs that the directory does not have yet."""
    directory.mkdir(parents=True, exist_ok=True)
    target = FileBlobs(directory)
    for each, blobs in found:
        if not _whole(target.path(each.descriptor.digest), each.descriptor.size):
            with opened(blobs, each.descriptor) as stream, target.writer(each.descriptor.digest.algorithm) as writer:
                writer.copy(stream)
                writer.commit(expected=each.descriptor)


def _whole(path: str, size: int) -> bool:
    try:
        return os.lstat(path).st_size == size
    except OSError:
        return False


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}-{os.getpid()}")
    new.write_bytes(data)
    new.rename(path)


def _small(path: Path) -> bytes:
    """Read a small file of an untrusted directory; links and fifos are refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Missing(f"{path.parent} is not an OCI layout: {path.name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidDocument(f"{path} is not a file")
    with open(fd, "rb") as file:
        if len(data := file.read(LIMIT + 1)) > LIMIT:
            raise LimitExceeded(str(path), LIMIT)
        return data
