"""Pull: copy an image from a registry into a store.

    image = pull("docker.io/library/nginx:1.27", Store())
    index = pull("example.com/app:1", store, all_platforms=True)

Several blobs are fetched at a time; each is verified while it is written, and a blob that the store has is not fetched.  The name
is set last: after an error it still leads to the old image.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterable
from typing import Literal, overload

from ..base.frozen import frozen
from ..image import media
from ..image.blobs import read
from ..image.descriptor import Descriptor
from ..image.digest import Digest, Readable
from ..image.errors import Mismatch, Missing
from ..image.image import Image
from ..image.index import Index
from ..image.layer import Layer
from ..image.limits import Limits
from ..image.platform import Platform
from ..image.reference import Reference
from ..store.session import Session
from ..store.store import Store
from .client import Registry
from .manifest_cache import CachingBlobs
from .progress import Callback, Reporter
from .registries import Registries, using
from .task_group import TaskGroup

__all__ = ["WORKERS", "pull"]

WORKERS = 4
Tree = tuple[Layer, Digest]  # a layer and its chain id


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
    """Fetch an image into a store, and name it by its reference; an image fetched by digest gets no name.

    :param platform: the image to take from an index; this machine's unless given
    :param all_platforms: whether to take the whole index
    :param unpack: whether to unpack the layers too, as `Store.layers` does
    :param progress: is called with each `Progress`
    :param registries: the clients, or one client, with their settings
    :param workers: blobs at a time
    :return: the image in the store; or the index, with `all_platforms`
    :raises RegistryError: the registry does not give the image;  :raises ImageError: a document or a blob is malformed
    :raises Missing: there is no image for that platform;  :raises LimitExceeded: more than the `Limits` of the store allow
    """
    wanted = Reference.parse(reference)
    tell = Reporter(progress)
    with using(registries) as known, store.session() as session, TaskGroup(workers) as work:
        tell(str(wanted), "waiting")
        source = CachingBlobs(known[wanted.registry].blobs(wanted.repository))
        root, data = known[wanted.registry].manifest(wanted)
        source.keep(root, data)
        chosen = _chosen(source, root, Platform.parse(platform) if isinstance(platform, str) else platform, all_platforms)
        images = work.run([functools.partial(Image.load, source, each) for each in chosen])
        needed, bring = _needed(images, unpack).values(), _Bring(source, session, tell)
        limits = store.trees.limits or Limits.default()
        for blob, _ in needed:
            limits.check("bytes", blob.size, f"blob {blob.digest.short}")
            tell(blob, "waiting")
        work.run([functools.partial(bring.blob, *each) for each in needed])
        for each in reversed(source.documents.values()):
            session.add(each, io.BytesIO(read(source, each)))
        session.name(root, [] if wanted.digest else [str(wanted)])
        store.origins.add((blob.digest for blob, _ in needed), wanted)
    tell(str(wanted), "done")
    if all_platforms and media.kind(root.media_type) == "index":
        return Index.load(store.blobs, root)
    return Image.load(store.blobs, chosen[0])


def _chosen(source: CachingBlobs, root: Descriptor, platform: Platform | None, everything: bool) -> list[Descriptor]:
    """Return the manifests to fetch.  The indexes that lead to them were read, and so are in `source.documents`."""
    if media.kind(root.media_type) == "index":
        index = Index.load(source, root)
        return list(index.leaves()) if everything else [index.match(platform)]
    image = Image.load(source, root)
    if platform and not image.manifest.is_artifact and not platform.match(image.platform):
        raise Missing(f"the image is for {image.platform}, and not for {platform}")
    return [root]


def _needed(images: Iterable[Image], unpack: bool) -> dict[Digest, tuple[Descriptor, list[Tree]]]:
    """Return configs and layers, each once, with the trees that each is unpacked to."""
    found: dict[Digest, tuple[Descriptor, list[Tree]]] = {}
    for image in images:
        for blob in (image.manifest.config, *image.manifest.layers):
            known, _ = found.setdefault(blob.digest, (blob, []))
            if known.size != blob.size:
                raise Mismatch(f"size of blob {blob.digest.short}, which is listed with two sizes", known.size, blob.size)
        if unpack and not image.manifest.is_artifact:
            for layer, chain in zip(image.layers, image.chain_ids, strict=True):
                found[layer.digest][1].append((layer, chain))
    return found


@frozen
class _Bring:
    """Fetches blobs from a registry into a store."""

    source: CachingBlobs
    session: Session
    tell: Reporter

    def blob(self, blob: Descriptor, trees: list[Tree]) -> None:
        """Fetch one blob.  A layer is unpacked while its bytes arrive."""
        first = trees[0] if trees else None
        if self.session.has(blob):
            self.tell(blob, "exists", blob.size)
        elif data := self.source.known(blob):
            self.session.add(blob, io.BytesIO(data))
        else:
            self.tell(blob, "downloading")
            with contextlib.closing(self.source.raw(blob)) as stream:  # the session verifies
                self.session.add(blob, _Counted(stream, self.tell.counter(blob, "downloading")), first)
        for layer, chain in trees:
            if not self.session.has_tree(chain):
                self.tell(blob, "unpacking", blob.size)
                self.session.unpack(layer, chain)
        self.tell(blob, "done", blob.size)


class _Counted:
    """A stream that reports how many bytes were read."""

    def __init__(self, stream: Readable, count: Callable[[int], None]) -> None:
        self._stream, self._count, self._done = stream, count, 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._done += len(data)
        self._count(self._done)
        return data
