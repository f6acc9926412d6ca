"""Media types: the declared type of a blob, and the compression that its first bytes show.

    kind(type)          "manifest", "index", "config", "layer", "empty", or "" for an unknown type
    compression(type)   "none", "gzip" or "zstd": the compression that a layer's type declares
    sniff(head)         the compression by magic number, also "xz" (and the older lzma), "bzip2", "lz4"; "none" for the rest
    layer(compression)  the type for a new layer

:see: https://github.com/opencontainers/image-spec/blob/main/media-types.md
"""

from __future__ import annotations

import re

from ..base import late
from .errors import Unsupported

__all__ = [
    "DOCKER_CONFIG", "DOCKER_FOREIGN_GZIP", "DOCKER_LAYER", "DOCKER_LAYER_GZIP", "DOCKER_LAYER_ZSTD", "DOCKER_LIST", "DOCKER_MANIFEST",
    "DOCKER_SCHEMA1", "DOCKER_SCHEMA1_SIGNED", "EMPTY", "EMPTY_DATA", "OCI_CONFIG", "OCI_INDEX", "OCI_LAYER", "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD", "OCI_MANIFEST", "compression", "is_docker", "is_foreign", "kind", "layer", "refuse_schema1", "sniff", "well_formed",
]  # fmt: skip

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER}+zstd"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_DATA = b"{}"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = f"{DOCKER_LAYER}.gzip"
DOCKER_LAYER_ZSTD = f"{DOCKER_LAYER}.zstd"
DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

_FOREIGN = {
    OCI_FOREIGN: "none", f"{OCI_FOREIGN}+gzip": "gzip", f"{OCI_FOREIGN}+zstd": "zstd",
    DOCKER_FOREIGN_GZIP.removesuffix(".gzip"): "none", DOCKER_FOREIGN_GZIP: "gzip",
}  # fmt: skip
_LAYERS = {
    OCI_LAYER: "none", OCI_LAYER_GZIP: "gzip", OCI_LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "none", DOCKER_LAYER_GZIP: "gzip", DOCKER_LAYER_ZSTD: "zstd", **_FOREIGN,
}  # fmt: skip
_KINDS = {
    OCI_MANIFEST: "manifest", DOCKER_MANIFEST: "manifest", OCI_INDEX: "index", DOCKER_LIST: "index",
    OCI_CONFIG: "config", DOCKER_CONFIG: "config", EMPTY: "empty", **dict.fromkeys(_LAYERS, "layer"),
}  # fmt: skip
_MAGIC = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz", b"\x5d\0\0": "xz", b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
_SKIPPABLE = late.pattern(rb"[\x50-\x5f]\x2a\x4d\x18")  # a zstd stream may begin with a frame that carries no data
_WORD = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_GRAMMAR = late.pattern(f"{_WORD}/{_WORD}", re.ASCII)


def kind(media_type: str) -> str:
    """Return the kind of blob that has this type: manifest, index, config, layer or empty; "" for an unknown type."""
    return _KINDS.get(media_type, "")


def is_docker(media_type: str) -> bool:
    """Return whether the type is one of docker's (schema 2) rather than OCI's."""
    return media_type.startswith("application/vnd.docker.")


def is_foreign(media_type: str) -> bool:
    """Return whether a layer of this type must not be pushed.  Such a layer is fetched from the urls of its descriptor."""
    return media_type in _FOREIGN


def compression(media_type: str) -> str:
    """Return the compression that a layer's type declares: "none", "gzip" or "zstd".

    :raises Unsupported: the type is not a layer's
    """
    if media_type not in _LAYERS:
        raise Unsupported(f"{media_type!r} is not the type of a layer")
    return _LAYERS[media_type]


def sniff(head: bytes) -> str:
    """Return the compression of a stream by its first 6 bytes, "none" when they are no known magic number."""
    if _SKIPPABLE.match(head):
        return "zstd"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")


def layer(compression: str, *, docker: bool = False) -> str:
    """Return the type for a new layer.

    :param compression: "none", "gzip" or "zstd"
    :param docker: docker's type rather than OCI's
    :raises Unsupported: another compression
    """
    for name, found in _LAYERS.items():
        if found == compression and is_docker(name) == docker:
            return name
    raise Unsupported(f"no layer is compressed with {compression!r}: use none, gzip or zstd")


def well_formed(media_type: str) -> bool:
    """Return whether a text has the form type/subtype.

    :see: rfc6838 section 4.2
    """
    return bool(_GRAMMAR.fullmatch(media_type))


def refuse_schema1(media_type: str) -> None:
    """Refuse docker's first manifest format, which registries dropped in 2019.

    :raises Unsupported: the type is that format's
    """
    if media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
        raise Unsupported(
            "docker schema 1 is not read: its layers are not named by their content; push the image again with docker >= 1.10"
        )
