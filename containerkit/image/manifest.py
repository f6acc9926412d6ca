"""A manifest: the config and the layers of an image, or the blobs of an artifact.

    Manifest.parse(data, media_type)       OCI 1.1 or docker schema 2; the bytes are kept as they are
    manifest.config, manifest.layers       descriptors

:see: https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

from __future__ import annotations

from collections.abc import Mapping

from ..base.frozen import FrozenDict, field, frozen
from ..base.protocols import Protocol
from . import media
from .descriptor import Descriptor
from .digest import Digest
from .documents import Fields, dump, parse
from .errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Manifest", "common", "media_type_of", "opened", "written"]

MOST_LAYERS = 4096  # far more than an overlay can stack; a hostile list is far longer


@frozen
class Manifest:
    """The config and the layers of an image, or the blobs of an artifact.

    :param config: describes the image; OCI's empty descriptor when an artifact needs no config
    :param layers: bottom first
    :param media_type: OCI's or docker's
    :param artifact_type: the kind of an artifact; "" for an image
    :param subject: the manifest that this one describes
    :param extra: fields that are not known here, unchanged
    :param data: the stored bytes; unless given, made of the other fields
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = media.OCI_MANIFEST
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    data: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "annotations", FrozenDict(self.annotations))
        object.__setattr__(self, "extra", FrozenDict(self.extra))
        if not self.data:
            object.__setattr__(self, "data", dump(self.to_json()))

    @classmethod
    def parse(cls, data: bytes, media_type: str = "") -> Manifest:
        """Parse the bytes of a manifest.

        :param media_type: the type in the descriptor that names the manifest; the document must not declare another one
        :raises InvalidDocument: `data` is not a manifest, or can be read in two ways
        :raises Unsupported: `data` is docker schema 1
        :raises LimitExceeded: `data` is over 4 MiB, or nested too deep
        """
        fields, media_type = opened(data, media_type, "manifest")
        layers = fields.objects("layers")
        if len(layers) > MOST_LAYERS:
            raise InvalidDocument(f"manifest.layers: {len(layers)} layers, more than {MOST_LAYERS}")
        config = Descriptor.from_json(fields.take("config", dict), "manifest.config")
        parts = tuple(Descriptor.from_json(value, where) for value, where in layers)
        return cls(config, parts, media_type, **common(fields), data=bytes(data))

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON object in the specification's order, without empty fields."""
        return written(self, {"config": self.config.to_json(), "layers": [layer.to_json() for layer in self.layers]})

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def is_artifact(self) -> bool:
        """Whether the manifest describes an artifact rather than an image."""
        return media.kind(self.config.media_type) != "config"

    @property
    def kind(self) -> str:
        """The kind of an artifact: its declared type, or the media type of its config, as OCI 1.0 had it."""
        return self.artifact_type or self.config.media_type


# The common part of manifest and index ---------------------------------------------------------------------------


class _Described(Protocol):
    """A manifest or an index."""

    @property
    def media_type(self) -> str: ...
    @property
    def artifact_type(self) -> str: ...
    @property
    def subject(self) -> Descriptor | None: ...
    @property
    def annotations(self) -> Mapping[str, str]: ...
    @property
    def extra(self) -> Mapping[str, Any]: ...


def opened(data: bytes, media_type: str, what: str) -> tuple[Fields, str]:
    """Return the fields of a "manifest" or an "index", and its media type.

    :raises ImageError: `data` is no such document
    """
    document = parse(data, what)
    media_type = media_type_of(document, media_type, what)
    fields = Fields(document, what)
    fields.take("schemaVersion", int)
    fields.text("mediaType", "")
    return fields, media_type


def common(fields: Fields) -> dict[str, Any]:
    """Read the fields that manifest and index share, after their own fields were taken."""
    subject = fields.take("subject", dict, None)
    found = {"annotations": fields.strings("annotations"), "artifact_type": fields.text("artifactType", "")}
    about = Descriptor.from_json(subject, f"{fields.where}.subject") if subject else None
    return {**found, "subject": about, "extra": fields.rest()}


def written(value: _Described, parts: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest or an index as a JSON object.

    :param parts: the fields that only one of the two has
    """
    found: dict[str, Any] = {"schemaVersion": 2, "mediaType": value.media_type}
    found |= {"artifactType": value.artifact_type} if value.artifact_type else {}
    found |= parts
    found |= {"subject": value.subject.to_json()} if value.subject else {}
    found |= {"annotations": dict(value.annotations)} if value.annotations else {}
    return found | dict(value.extra)


def media_type_of(document: Mapping[str, Any], said: str, what: str) -> str:
    """Return the media type of a manifest or an index, after checking it against its descriptor.

    :param said: the type in the descriptor that names the document; "" when no descriptor does
    :param what: the required kind: "manifest" or "index"
    :raises InvalidDocument: the two types differ, or the document is of both kinds, or of neither
    :raises Unsupported: the document is docker schema 1
    """
    own = Fields(document, what).text("mediaType", "")
    for name in (own, said):
        media.refuse_schema1(name)
    if document.get("schemaVersion") == 1:
        media.refuse_schema1(media.DOCKER_SCHEMA1)
    if document.get("schemaVersion") != 2 or isinstance(document["schemaVersion"], bool):
        raise InvalidDocument(f"{what}.schemaVersion: expected 2, found {document.get('schemaVersion')!r}")
    if own and said and own != said:
        raise InvalidDocument(f"{what}.mediaType: {own!r}, but its descriptor says {said!r}")
    _one_meaning(document, what)
    found = own or said or (media.OCI_MANIFEST if what == "manifest" else media.OCI_INDEX)
    if media.kind(found) != what:
        raise InvalidDocument(f"{what}.mediaType: {found!r} is not the type of {_a(what)}")
    return found


def _one_meaning(document: Mapping[str, Any], what: str) -> None:
    """Refuse a document that can be read as a manifest and as an index: one digest would then stand for two things.

    :see: CVE-2021-41190
    """
    names = {name.casefold() for name in document}
    wrong = names & ({"manifests", "fslayers", "history"} if what == "manifest" else {"config", "layers", "fslayers", "history"})
    if wrong:
        raise InvalidDocument(f"{what}.{min(wrong)}: {_a(what)} has none; this can be read as two different things")


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"
