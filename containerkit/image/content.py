"""All that a descriptor leads to: an index to manifests, a manifest to a config and layers."""

from __future__ import annotations

import io
from collections.abc import Iterator

from ..base.frozen import frozen
from . import media
from .blobs import Blobs, read
from .descriptor import Descriptor
from .digest import Digest, Verifier
from .documents import Fields, parse
from .errors import LimitExceeded, Missing
from .manifest import Manifest, media_type_of

__all__ = ["Found", "below", "manifests", "opened", "present", "reach"]

DEPTH = 8  # indexes in indexes
MOST = 100_000  # blobs that one name may lead to


@frozen
class Found:
    """A blob that was reached.

    :ivar data: its bytes, where it is a manifest or an index: read to find what is below it
    """

    descriptor: Descriptor
    data: bytes | None = None


def below(descriptor: Descriptor, data: bytes) -> list[Descriptor]:
    """What a manifest or an index points at, in order.  Its `subject` is another image, and not part of it.

    :raises InvalidDocument: it cannot be read;  :raises Unsupported: docker schema 1
    """
    if media.kind(descriptor.media_type) == "manifest":
        manifest = Manifest.parse(data, descriptor.media_type)
        return [manifest.config, *manifest.layers]
    document = parse(data, "index")
    media_type_of(document, descriptor.media_type, "index")
    return [Descriptor.from_json(value, where) for value, where in Fields(document, "index").objects("manifests")]


def reach(blobs: Blobs, *roots: Descriptor) -> Iterator[Found]:
    """What the roots lead to, themselves last: whoever keeps this order never has a manifest without what it names.

    Each blob comes once.  An index may name manifests that are not here: an image is often kept for one platform only.  A
    layer that is not to be distributed may be elsewhere.

    :raises Missing: any other blob is not there
    """
    seen: set[tuple[Digest, str]] = set()
    for root in roots:
        yield from _reach(blobs, root, seen, DEPTH)


def _reach(blobs: Blobs, descriptor: Descriptor, seen: set[tuple[Digest, str]], depth: int) -> Iterator[Found]:
    """One blob may be named with two types, so what was seen as a layer is not yet seen as a manifest."""
    kind = media.kind(descriptor.media_type)
    if (key := (descriptor.digest, kind if kind in ("index", "manifest") else "")) in seen:
        return
    if len(seen) >= MOST or not depth:
        raise LimitExceeded(f"what {descriptor.digest.short} leads to", MOST if depth else DEPTH, "blobs" if depth else "levels")
    seen.add(key)
    media.refuse_schema1(descriptor.media_type)
    if kind not in ("index", "manifest"):
        yield Found(descriptor)
        return
    data = read(blobs, descriptor)
    for child in below(descriptor, data):
        if not _may_lack(kind, child) or present(blobs, child):
            yield from _reach(blobs, child, seen, depth - 1)
    yield Found(descriptor, data)


def _may_lack(kind: str, child: Descriptor) -> bool:
    return kind == "index" or media.is_foreign(child.media_type)


def present(blobs: Blobs, descriptor: Descriptor) -> bool:
    """Whether the blob is here, or in the descriptor itself."""
    return descriptor.data is not None or blobs.has(descriptor.digest)


def opened(blobs: Blobs, descriptor: Descriptor) -> io.BufferedIOBase:
    """The blob's bytes, verified while they are read.

    :raises Missing: not here
    """
    if descriptor.data is None or blobs.has(descriptor.digest):
        return blobs.open(descriptor)
    return Verifier(io.BytesIO(descriptor.data), descriptor.digest, descriptor.size)


def manifests(blobs: Blobs, root: Descriptor) -> list[Descriptor]:
    """The manifests that are here, however deep the index is.  With the platform that the index says."""
    found: list[Descriptor] = []
    seen: set[Digest] = set()
    level = [root]
    for _ in range(DEPTH):
        fresh = [d for d in level if d.digest not in seen and (d is root or present(blobs, d))]
        seen.update(d.digest for d in fresh)
        found += [d for d in fresh if media.kind(d.media_type) == "manifest"]
        level = [child for d in fresh if media.kind(d.media_type) == "index" for child in below(d, read(blobs, d))]
    if root.digest in seen and not present(blobs, root):
        raise Missing(f"there is no blob {root.digest}")
    return found
