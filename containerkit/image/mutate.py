"""New images from old ones.  The bytes of layers never change, so shared layers stay shared.

    append   with_config   with_annotations   with_platform      add layers, or change fields
    rebase                                                       replace the layers of the base
    squash   flatten                                             merge layers
    plain                                                        the same layers without compression

The functions are also methods of `Image`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..base import checks
from ..base.frozen import replace
from ..errors import WrongType
from . import media
from .blobs import Blobs, FileBlobs, MemoryBlobs
from .config import ImageConfig
from .descriptor import Descriptor
from .digest import Digest
from .errors import ImageError, InvalidDocument, Unsupported
from .files.blob_union import BlobUnion
from .files.plain import plain
from .history import History, matched, now
from .limits import Limits
from .manifest import Manifest
from .platform import Platform

if TYPE_CHECKING:
    from .image import Image
    from .layer import Layer

__all__ = ["append", "assemble", "flatten", "plain", "rebase", "squash", "with_annotations", "with_config", "with_platform"]

BASE_DIGEST, BASE_NAME = "org.opencontainers.image.base.digest", "org.opencontainers.image.base.name"


def assemble(kind: type[Image], config: ImageConfig, layers: tuple[Layer, ...], like: Manifest | None, fields: Mapping[str, Any]) -> Image:
    """Make an image of these layers; media types and other fields are those of `like`."""
    docker = like is not None and media.is_docker(like.media_type)
    data = replace(config, diff_ids=tuple(layer.diff_id for layer in layers)).dump()
    said = Descriptor.of(data, media.DOCKER_CONFIG if docker else media.OCI_CONFIG)
    if like is not None:
        said = said.with_(annotations=like.config.annotations)
    descriptors = tuple(_translated(layer.descriptor, docker) for layer in layers)
    old = like or Manifest(said, (), media.DOCKER_MANIFEST if docker else media.OCI_MANIFEST)
    manifest = replace(old, **{"config": said, "layers": descriptors, "data": b"", **fields})
    places: dict[Digest, Blobs] = {layer.descriptor.digest: layer.blobs for layer in layers}
    return kind(manifest, data, BlobUnion(places))


def append(image: Image, *layers: Layer, history: Iterable[History] | History | str = ()) -> Image:
    """Return `image` with more layers on top.

    :param history: an entry for each layer, or one text for all; entries for empty layers may be among them
    :raises InvalidDocument: the number of entries with a layer differs from the number of layers
    """
    from .layer import Layer

    if wrong := [layer for layer in layers if not isinstance(layer, Layer)]:
        raise WrongType(f"append wants layers, as Layer.from_directory makes them, not {checks.said(wrong[0])}")
    entries = _entries(history, len(layers))
    if (count := sum(not entry.empty_layer for entry in entries)) != len(layers):
        raise InvalidDocument(f"history: {count} entries with a layer for {len(layers)} layers")
    before = tuple(entry for entry, _ in _history(image)) if image.history or not image.config.diff_ids else ()
    known = bool(before) or not image.config.diff_ids
    config = image.config.with_(history=before + entries if known else (), created=now())
    return _again(image, config, image.layers + layers)


def with_config(image: Image, **changes: Any) -> Image:
    """Return `image` with changed fields of its `ImageConfig`.  `diff_ids` follow from the layers and cannot be set.

    :raises InvalidDocument: no field has that name, or a value is of another type
    """
    if "diff_ids" in changes:
        raise InvalidDocument("diff_ids follow from the layers: append, squash or rebase them")
    return _again(image, image.config.with_(**changes), image.layers)


def with_annotations(image: Image, annotations: Mapping[str, str | None]) -> Image:
    """Return `image` with more annotations in its manifest; a value of None removes one.

    :raises Unsupported: the image is docker's, whose manifests have no annotations
    """
    if media.is_docker(image.media_type):
        raise Unsupported("a docker schema 2 manifest has no annotations: only OCI's has")
    together = {name: value for name, value in {**image.annotations, **annotations}.items() if value is not None}
    if not all(isinstance(text, str) for pair in together.items() for text in pair):
        raise InvalidDocument("annotations: names and values are strings")
    return type(image)(replace(image.manifest, annotations=together, data=b""), image.config_data, image.source)


def with_platform(image: Image, platform: Platform | str) -> Image:
    """Return `image` declared for another platform.  Its files stay the same."""
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    return with_config(image, platform=wanted)


def rebase(image: Image, old: Image, new: Image) -> Image:
    """Return `image` with the layers of `new` in place of those of `old`.  Its own layers and its own config stay.

    The platform becomes that of `new`.  An annotation with the base's digest is updated; the base's name is updated too, or
    removed when `new` has none.

    :raises ImageError: the layers of `old` are not the lowest ones of `image`
    """
    below, own = old.config.diff_ids, image.config.diff_ids
    if own[: len(below)] != below:
        raise ImageError("rebase: the old base is not the base of this image: its layers are not the lowest ones here")
    config = image.config.with_(platform=new.platform, history=_rebased(image, old, new))
    found = _again(image, config, new.layers + image.layers[len(below) :])
    if BASE_DIGEST not in image.annotations:
        return found
    return with_annotations(found, {BASE_DIGEST: str(new.digest), BASE_NAME: new.annotations.get("org.opencontainers.image.ref.name")})


def _rebased(image: Image, old: Image, new: Image) -> tuple[History, ...]:
    """Return the history of the new base, followed by the part of `image` after its old base; () when either has no history."""
    if not (image.history or not image.config.diff_ids) or not (new.history or not new.config.diff_ids):
        return ()
    shared = len(old.history) if image.history[: len(old.history)] == old.history else 0
    if not shared:
        shared = _after(image, len(old.config.diff_ids))
    return new.history + image.history[shared:]


def _after(image: Image, layers: int) -> int:
    """Return how many entries describe the lowest layers."""
    return next((place + 1 for place, (_, layer) in enumerate(_history(image)) if layer is not None and layer + 1 == layers), 0)


def squash(
    image: Image, keep: int = 0, *, blobs: FileBlobs | MemoryBlobs | None = None, compression: str = "gzip",
    limits: Limits | None = None,
) -> Image:  # fmt: skip
    """Return `image` with all layers above the lowest `keep` merged into one.  Files that a higher layer hides are left out.

    :param keep: how many layers stay as they are
    :param blobs: where the new layer is kept; in memory unless given
    :param compression: of the new layer: "none", "gzip" or "zstd"
    :param limits: the most that each layer may use
    :raises ImageError: the image has fewer than `keep` layers
    """
    from . import merge
    from .layer import Layer

    layers = image.layers
    if not 0 <= keep <= len(layers):
        raise ImageError(f"squash: there are {len(layers)} layers, so {keep} of them cannot stay")
    if len(layers) - keep < (1 if not keep else 2):
        return image
    made = Layer.written(lambda sink: merge.write(layers[keep:], sink, below=layers[:keep], limits=limits), blobs, compression)
    config = image.config.with_(history=_squashed(image, keep))
    return _again(image, config, (*layers[:keep], made))


def flatten(
    image: Image, *, blobs: FileBlobs | MemoryBlobs | None = None, compression: str = "gzip", limits: Limits | None = None
) -> Image:
    """Return `image` with a single layer, which holds only visible files: no whiteouts, no hidden files."""
    return squash(image, 0, blobs=blobs, compression=compression, limits=limits)


def _squashed(image: Image, keep: int) -> tuple[History, ...]:
    """Return the history after a squash: entries of merged layers stay as empty ones, except the last, which has the new layer."""
    if not image.history:
        return ()
    pairs = _history(image)
    last = max(place for place, (_, layer) in enumerate(pairs) if layer is not None)
    return tuple(
        replace(entry, empty_layer=True) if layer is not None and layer >= keep and place != last else entry
        for place, (entry, layer) in enumerate(pairs)
    )


def _history(image: Image) -> list[tuple[History, int | None]]:
    return matched(image.history, len(image.config.diff_ids))


def _again(image: Image, config: ImageConfig, layers: tuple[Layer, ...]) -> Image:
    """Return `image` with another config and other layers.  A layer that was there before keeps its descriptor."""
    kept = {descriptor.digest: descriptor for descriptor in image.manifest.layers}
    same = tuple(replace(layer, descriptor=kept.get(layer.digest, layer.descriptor)) for layer in layers)
    return assemble(type(image), config, same, image.manifest, {})


def _entries(history: Iterable[History] | History | str, layers: int) -> tuple[History, ...]:
    if isinstance(history, str):
        return tuple(History(history, created=now()) for _ in range(layers))
    given = (history,) if isinstance(history, History) else tuple(history)
    return given or tuple(History("containerkit", created=now()) for _ in range(layers))


def _translated(descriptor: Descriptor, docker: bool) -> Descriptor:
    """Return the descriptor with the media type that the other family has for the same bytes."""
    if media.kind(descriptor.media_type) != "layer" or media.is_docker(descriptor.media_type) == docker:
        return descriptor
    if media.is_foreign(descriptor.media_type):
        raise Unsupported(f"a layer that may not be pushed ({descriptor.media_type}) cannot be put into the other family's manifest")
    return descriptor.with_(media_type=media.layer(media.compression(descriptor.media_type), docker=docker))
