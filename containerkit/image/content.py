"""The blobs behind a descriptor: an index leads to manifests, a manifest to a config and layers."""

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

DEPTH = 8  # nested indexes
MOST = 100_000  # blobs behind one name


@frozen
class Found:
    """A blob that was found behind a root.

    :ivar data: the bytes of a manifest or an index, which were read to find its children; None for other blobs
    """

    descriptor: Descriptor
    data: bytes | None = None


def below(descriptor: Descriptor, data: bytes) -> list[Descriptor]:
    """Return the descriptors in a manifest or an index, in order.  A `subject` is another image, so it is left out.

    :raises InvalidDocument: `data` is no such document
    :raises Unsupported: `data` is docker schema 1
    """
    if media.kind(descriptor.media_type) == "manifest":
        manifest = Manifest.parse(data, descriptor.media_type)
        return [manifest.config, *manifest.layers]
    document = parse(data, "index")
    media_type_of(document, descriptor.media_type, "index")
    return [Descriptor.from_json(value, where) for value, where in Fields(document, "index").objects("manifests")]


def reach(blobs: Blobs, *roots: Descriptor) -> Iterator[Found]:
    """Yield every blob behind the roots, each once, children before parents.

    A reader that copies blobs in this order never has a manifest without the blobs it names.  A manifest named by an index may be
    absent, because an image is often kept for one platform only.  So may a layer that must not be distributed.

    :raises Missing: any other blob is absent
    """
    seen: set[tuple[Digest, str]] = set()
    for root in roots:
        yield from _reach(blobs, root, seen, DEPTH)


def _reach(blobs: Blobs, descriptor: Descriptor, seen: set[tuple[Digest, str]], depth: int) -> Iterator[Found]:
    """Yield the blobs behind one descriptor.

    One blob may be named with two media types, so a blob seen as a layer still counts as new when it is named as a manifest.
    """
    kind = media.kind(descriptor.media_type)
    if (key := (descriptor.digest, kind if kind in ("index", "manifest") else "")) in seen:
        return
    if len(seen) >= MOST or not depth:
        raise LimitExceeded(f"the blobs behind {descriptor.digest.short}", MOST if depth else DEPTH, "blobs" if depth else "levels")
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
    """Return whether the blob is in `blobs`, or embedded in the descriptor."""
    return descriptor.data is not None or blobs.has(descriptor.digest)


def opened(blobs: Blobs, descriptor: Descriptor) -> io.BufferedIOBase:
    """Open a blob; its bytes are verified while they are read.

    :raises Missing: the blob is neither in `blobs` nor in the descriptor
    """
    if descriptor.data is None or blobs.has(descriptor.digest):
        return blobs.open(descriptor)
    return Verifier(io.BytesIO(descriptor.data), descriptor.digest, descriptor.size)


def manifests(blobs: Blobs, root: Descriptor) -> list[Descriptor]:
    """Return the manifests behind `root` that are present, at any depth, each with the platform that its index gives.

    :raises Missing: `root` itself is absent
    """
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
