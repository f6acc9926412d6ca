"""The document of `docker inspect` about an image, with more fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..image import Descriptor, Image, Reference

__all__ = ["document"]


def document(image: Image, entry: Descriptor, names: Iterable[str], size: int) -> dict[str, Any]:
    """Describe one image as JSON values.

    :param entry: the store's entry: the image's own descriptor, or that of the index that contains it
    :param names: the full names of the image
    :param size: bytes of the files in the image's layers
    """
    references = [Reference.parse(name) for name in names]
    tagged = [reference.familiar for reference in references if reference.tag]
    exact = dict.fromkeys(reference.with_digest(entry.digest).familiar for reference in references)
    return {
        "Id": str(image.id), "RepoTags": tagged, "RepoDigests": list(exact), "Created": image.config.created,
        "Author": image.config.author, "Architecture": image.platform.architecture, "Variant": image.platform.variant,
        "Os": image.platform.os, "Size": size, "CompressedSize": image.size, "Config": _config(image),
        "RootFS": {"Type": "layers", "Layers": [str(diff_id) for diff_id in image.config.diff_ids]},
        "Digest": str(image.digest), "MediaType": image.media_type, "Annotations": dict(image.annotations),
        "Index": None if entry.digest == image.digest else str(entry.digest), "Layers": _layers(image),
    }  # fmt: skip


def _config(image: Image) -> dict[str, Any]:
    """Return the config, with the most used fields present even if empty, as docker does."""
    usual: dict[str, Any] = {"User": "", "Env": [], "Cmd": None, "Entrypoint": None, "WorkingDir": "", "Labels": {}}
    return usual | dict(image.config.to_json().get("config", {}))


def _layers(image: Image) -> list[dict[str, Any]]:
    """Describe the layers, the lowest first.  An artifact has blobs instead, without diff ids."""
    pairs = [("", "")] * len(image.manifest.layers)
    if not image.manifest.is_artifact:
        pairs = [(str(layer.diff_id), str(chain)) for layer, chain in zip(image.layers, image.chain_ids, strict=True)]
    return [
        {"Digest": str(each.digest), "DiffID": diff_id, "ChainID": chain, "Size": each.size, "MediaType": each.media_type}
        for each, (diff_id, chain) in zip(image.manifest.layers, pairs, strict=True)
    ]
