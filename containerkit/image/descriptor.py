"""A descriptor: media type, size and digest of a blob.

    Descriptor(media_type, digest, size)          Descriptor.of(b"...", media_type)

:see: https://github.com/opencontainers/image-spec/blob/main/descriptor.md
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

from ..base.frozen import FrozenDict, field, frozen, replace
from . import media
from .digest import Digest
from .documents import Fields
from .errors import InvalidDocument, Mismatch
from .platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Descriptor", "Platform"]


@frozen
class Descriptor:
    """Media type, size and digest of a blob.

    :param media_type: of the bytes, as type/subtype
    :param digest: of the bytes as they are stored
    :param size: bytes
    :param annotations: remarks of the document that holds the descriptor
    :param platform: the platform an image is for; used in an index
    :param artifact_type: the kind of an artifact; used in an index
    :param urls: other addresses that serve the blob
    :param data: the bytes themselves, when the descriptor embeds them
    :param extra: fields that are not known here, unchanged
    :raises InvalidDocument: the media type is malformed, or the size is negative
    :raises Mismatch: `data` does not match `digest` and `size`
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    artifact_type: str = ""
    urls: tuple[str, ...] = ()
    data: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", Digest(self.digest))
        object.__setattr__(self, "annotations", FrozenDict(self.annotations))
        object.__setattr__(self, "extra", FrozenDict(self.extra))
        if not media.well_formed(self.media_type):
            raise InvalidDocument(f"descriptor of {self.digest.short}: {self.media_type!r} is not a media type")
        if self.size < 0:
            raise InvalidDocument(f"descriptor of {self.digest.short}: a size of {self.size}")
        if self.data is not None:
            self._check(self.data)

    def _check(self, data: bytes) -> None:
        if len(data) != self.size:
            raise Mismatch(f"size of the data in the descriptor of {self.digest.short}", self.size, len(data))
        if (found := Digest.of(data, self.digest.algorithm)) != self.digest:
            raise Mismatch("digest of the data in a descriptor", self.digest, found)

    @classmethod
    def of(cls, data: bytes, media_type: str, *, algorithm: str = "sha256", **more: Any) -> Descriptor:
        """Make the descriptor of `data`.

        :param more: other fields of the descriptor
        """
        return cls(media_type, Digest.of(data, algorithm), len(data), **more)

    @classmethod
    def empty(cls) -> Descriptor:
        """Make the descriptor of ``{}``, the empty config of an artifact."""
        return replace(cls.of(media.EMPTY_DATA, media.EMPTY), data=media.EMPTY_DATA)

    @classmethod
    def from_json(cls, value: Any, where: str = "descriptor") -> Descriptor:
        """Read a descriptor from a JSON object.  Unknown fields are kept.

        :param where: the object's path in its document, for errors
        :raises ImageError: `value` is not a descriptor; the subclass says why
        """
        fields = Fields(value, where)
        platform, encoded = fields.take("platform", dict, None), fields.text("data", "")
        return cls(
            media_type=fields.text("mediaType"),
            digest=Digest(fields.text("digest")),
            size=fields.number("size"),
            annotations=fields.strings("annotations"),
            platform=Platform.from_json(platform, f"{where}.platform") if platform else None,
            artifact_type=fields.text("artifactType", ""),
            urls=fields.texts("urls"),
            data=_decoded(encoded, where) if encoded else None,
            extra=fields.rest(),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as a JSON object in the specification's order, without empty fields."""
        import base64

        found: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        optional: Mapping[str, Any] = {
            "urls": list(self.urls),
            "annotations": dict(self.annotations),
            "data": base64.b64encode(self.data).decode() if self.data is not None else "",
            "artifactType": self.artifact_type,
            "platform": self.platform.to_json() if self.platform else None,
        }
        return found | {name: value for name, value in optional.items() if value} | dict(self.extra)

    def with_(self, **changes: Any) -> Descriptor:
        """Return the descriptor with some fields changed."""
        return replace(self, **changes)

    def bare(self) -> Descriptor:
        """Return the descriptor with only media type, digest and size."""
        return Descriptor(self.media_type, self.digest, self.size)

    def __str__(self) -> str:
        return f"{self.digest.algorithm}:{self.digest.short} ({self.media_type}, {self.size} bytes)"


def _decoded(text: str, where: str) -> bytes:
    import base64

    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidDocument(f"{where}.data: not base64") from None
