"""Images with plain tars as layers, for programs that read no other layers: docker before 23 reads no zstd."""

from __future__ import annotations

import io
from contextlib import ExitStack

from ...base.frozen import frozen, replace
from .. import media
from ..descriptor import Descriptor
from ..digest import CHUNK, Digest, Readable, Verifier
from ..errors import Missing
from ..layer import Layer
from .blob_union import BlobUnion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..image import Image

__all__ = ["plain"]


def plain(image: Image) -> Image:
    """Return the image with the same layers, uncompressed while they are read.  Its id stays, its manifest changes.

    Each layer is read once to learn its size.

    :raises ImageError: a layer cannot be read
    """
    layers = {layer.diff_id: layer for layer in image.layers if media.compression(layer.media_type) != "none"}
    kind = media.layer("none", docker=media.is_docker(image.media_type))
    made = {diff_id: Descriptor(kind, diff_id, _size(layer)) for diff_id, layer in layers.items()}
    pairs = zip(image.manifest.layers, image.config.diff_ids, strict=True)
    manifest = replace(image.manifest, layers=tuple(made.get(diff_id, stored) for stored, diff_id in pairs), data=b"")
    opened = _Opened(layers)
    return type(image)(manifest, image.config_data, BlobUnion(dict.fromkeys(layers, opened), image.source))


def _size(layer: Layer) -> int:
    with layer.uncompressed() as tar:
        return sum(map(len, iter(lambda: tar.read(CHUNK), b"")))


@frozen
class _Opened:
    """Layers by their diff_id, decompressed while they are read."""

    layers: dict[Digest, Layer]

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        if descriptor.digest not in self.layers:
            raise Missing(f"there is no layer {descriptor.digest}")
        with ExitStack() as held:
            tar = held.enter_context(self.layers[descriptor.digest].uncompressed())
            return Verifier(_Held(tar, held.pop_all()), descriptor.digest, descriptor.size)

    def has(self, digest: Digest, /) -> bool:
        return digest in self.layers


class _Held:
    """A stream whose `close` also closes the objects it depends on."""

    def __init__(self, stream: Readable, held: ExitStack) -> None:
        self.read, self.close = stream.read, held.close
