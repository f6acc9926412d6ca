"""Media types: what the bytes of a blob are said to be, and what their first bytes show.

    kind(type)          "manifest", "index", "config", "layer", "empty" or "" for one not known here
    compression(type)   "none", "gzip" or "zstd": what a layer's type says
    sniff(head)         the same by magic, also "xz" (and the older lzma), "bzip2", "lz4"; "none" for all else
    layer(compression)  the type to give a layer

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
    """What a blob of this type is: manifest, index, config, layer or empty; "" for a type not known here."""
    return _KINDS.get(media_type, "")


def is_docker(media_type: str) -> bool:
    """Whether it is one of docker's own types (schema 2), rather than OCI's."""
    return media_type.startswith("application/vnd.docker.")


def is_foreign(media_type: str) -> bool:
    """Whether a layer of this type may not be pushed: it is fetched from its descriptor's urls."""
    return media_type in _FOREIGN


def compression(media_type: str) -> str:
    """How a layer of this type is compressed: "none", "gzip" or "zstd".

    :raises Unsupported: not a layer's type
    """
    if media_type not in _LAYERS:
        raise Unsupported(f"{media_type!r} is not the type of a layer")
    return _LAYERS[media_type]


def sniff(head: bytes) -> str:
    """How a stream is compressed, by its first 6 bytes.  "none" when they are no magic that is known here."""
    if _SKIPPABLE.match(head):
        return "zstd"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")


def layer(compression: str, *, docker: bool = False) -> str:
    """The type to give a layer.

    :param compression: "none", "gzip" or "zstd"
    :raises Unsupported: another compression
    """
    for name, found in _LAYERS.items():
        if found == compression and is_docker(name) == docker:
            return name
    raise Unsupported(f"no layer is compressed with {compression!r}: there are none, gzip and zstd")


def well_formed(media_type: str) -> bool:
    """Whether it has the form type/subtype.  :see: rfc6838 section 4.2"""
    return bool(_GRAMMAR.fullmatch(media_type))


def refuse_schema1(media_type: str) -> None:
    """Docker's first format, gone since 2019.

    :raises Unsupported: it is that
    """
    if media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED):
        raise Unsupported(
            "docker schema 1 is not read: its layers are not named by what is in them; push the image again with docker >= 1.10"
        )
