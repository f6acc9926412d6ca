"""Pulling: an image out of a registry, into a store.

    image = pull("docker.io/library/nginx:1.27", Store())
    index = pull("example.com/app:1", store, all_platforms=True)

Blobs come several at a time; each is verified while it is written, and one the store has does not come at all.  The name is
given last: whatever goes wrong, it leads to what it led to before.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from typing import Literal, overload

from ..image import media
from ..image.blobs import read
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.errors import Mismatch, Missing
from ..image.image import Image
from ..image.index import Index
from ..image.manifest import Manifest
from ..image.platform import Platform
from ..image.reference import Reference
from ..image.store import Session, Store
from ._kept import Kept
from ._work import Work
from .client import Registry
from .progress import Callback, Reporter
from .registries import Registries, using

__all__ = ["WORKERS", "pull"]

WORKERS = 4


@overload
def pull(
    reference: str | Reference, store: Store, *, platform: Platform | str | None = None, all_platforms: Literal[False] = False,
    unpack: bool = False, progress: Callback | None = None, registries: Registries | Registry | None = None, workers: int = WORKERS,
) -> Image: ...  # fmt: skip
@overload
def pull(
    reference: str | Reference, store: Store, *, platform: Platform | str | None = None, all_platforms: Literal[True],
    unpack: bool = False, progress: Callback | None = None, registries: Registries | Registry | None = None, workers: int = WORKERS,
) -> Image | Index: ...  # fmt: skip
def pull(
    reference: str | Reference, store: Store, *, platform: Platform | str | None = None, all_platforms: bool = False,
    unpack: bool = False, progress: Callback | None = None, registries: Registries | Registry | None = None, workers: int = WORKERS,
) -> Image | Index:  # fmt: skip
    """Brings an image into a store, and gives it the name it was asked for by; none where it was asked for by digest.

    :param platform: which image of an index; this machine's unless given
    :param all_platforms: the whole index
    :param unpack: the layers too, as `Store.layers` does
    :param progress: is told how far it is
    :param registries: how registries are talked to
    :param workers: blobs at a time
    :return: the image in the store; the index, where all of it was asked for and it is one
    :raises RegistryError: the registry does not give it;  :raises ImageError: what it gives is not what it should be
    :raises Missing: there is nothing for that platform
    """
    wanted = Reference.parse(str(reference))
    tell = Reporter(progress)
    with using(registries) as known, store.session() as session, Work(workers) as work:
        tell(str(wanted), "waiting")
        source = Kept(known[wanted.registry].blobs(wanted.repository))
        root, data = known[wanted.registry].manifest(wanted)
        source.keep(root, data)
        chosen = _chosen(source, root, Platform.parse(platform) if isinstance(platform, str) else platform, all_platforms)
        _bring(chosen, source, session, work, tell)
        session.name(root, [] if wanted.digest else [str(wanted)])
    leaf = Image.load(store.blobs, chosen[0]) if chosen else None
    for image in (Image.load(store.blobs, each) for each in chosen) if unpack else ():
        store.layers(image)
    tell(str(wanted), "done")
    return Index.load(store.blobs, root) if leaf is None or (all_platforms and chosen[0].digest != root.digest) else leaf


def _chosen(source: Kept, root: Descriptor, platform: Platform | None, everything: bool) -> list[Descriptor]:
    """The manifests to bring.  What leads to them was read, and so is in `source.documents`."""
    if media.kind(root.media_type) == "index":
        index = Index.load(source, root)
        return list(index.leaves()) if everything else [index.match(platform)]
    image = Image.load(source, root)
    if platform and not image.manifest.is_artifact and not platform.match(image.platform):
        raise Missing(f"the image is for {image.platform}, and not for {platform}")
    return [root]


def _bring(chosen: list[Descriptor], source: Kept, session: Session, work: Work, tell: Reporter) -> None:
    """Configs and layers, several at a time; then manifests, then what names them."""
    needed: dict[Digest, Descriptor] = {}
    for manifest in (Manifest.parse(read(source, each), each.media_type) for each in chosen):
        for blob in (manifest.config, *manifest.layers):
            if (known := needed.setdefault(blob.digest, blob)).size != blob.size:
                raise Mismatch(f"size of blob {blob.digest.short}, which is there twice", known.size, blob.size)
    for blob in needed.values():
        tell(blob, "waiting")
    work.run([functools.partial(_blob, blob, source, session, tell) for blob in needed.values()])
    for each in reversed(source.documents.values()):
        session.add(each, io.BytesIO(read(source, each)))


def _blob(blob: Descriptor, source: Kept, session: Session, tell: Reporter) -> None:
    if session.has(blob):
        tell(blob, "exists", blob.size)
        return
    if blob.data is not None:
        session.add(blob, io.BytesIO(blob.data))
    else:
        tell(blob, "downloading")
        with contextlib.closing(source.open(blob)) as stream:
            session.add(blob, Counted(stream, tell.counter(blob, "downloading")))
    tell(blob, "done", blob.size)


class Counted:
    """A stream that tells how far it is."""

    def __init__(self, stream: io.BufferedIOBase, count: Callable[[int], None]) -> None:
        self._stream, self._count, self._done = stream, count, 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read1(size)
        self._done += len(data)
        self._count(self._done)
        return data
