"""A manifest: which config and which layers make an image, or which blobs make an artifact.

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

MOST_LAYERS = 4096  # no overlay has more; a hostile list is far longer


@frozen
class Manifest:
    """Which config and which layers make an image, or which blobs make an artifact.

    :param config: what describes the image; OCI's empty descriptor where an artifact needs none
    :param layers: bottom first
    :param media_type: OCI's or docker's
    :param artifact_type: what kind of artifact it is; "" for an image
    :param subject: the manifest this one is about
    :param extra: fields not known here, kept as they are
    :param data: the bytes as they were stored; made of the other fields where not given
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
        """From the bytes of a manifest.

        :param media_type: what whoever points at it says it is; what it says itself must be the same
        :raises InvalidDocument: not a manifest, or one that can be read in two ways
        :raises Unsupported: docker schema 1
        :raises LimitExceeded: over 4 MiB, or nested too deep
        """
        fields, media_type = opened(data, media_type, "manifest")
        layers = fields.objects("layers")
        if len(layers) > MOST_LAYERS:
            raise InvalidDocument(f"manifest.layers: {len(layers)} of them, more than {MOST_LAYERS}")
        config = Descriptor.from_json(fields.take("config", dict), "manifest.config")
        parts = tuple(Descriptor.from_json(value, where) for value, where in layers)
        return cls(config, parts, media_type, **common(fields), data=bytes(data))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, in the order the specification has; what is empty is left out."""
        return written(self, {"config": self.config.to_json(), "layers": [layer.to_json() for layer in self.layers]})

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def is_artifact(self) -> bool:
        """Whether it is something other than an image to run."""
        return media.kind(self.config.media_type) != "config"

    @property
    def kind(self) -> str:
        """What kind of artifact it is: its own word, or its config's type, as OCI 1.0 had it."""
        return self.artifact_type or self.config.media_type


# What a manifest and an index have in common ---------------------------------------------------------------------


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
    """The fields of a "manifest" or an "index", and its type.  :raises ImageError: it is none"""
    document = parse(data, what)
    media_type = media_type_of(document, media_type, what)
    fields = Fields(document, what)
    fields.take("schemaVersion", int)
    fields.text("mediaType", "")
    return fields, media_type


def common(fields: Fields) -> dict[str, Any]:
    """What both may say, once their own fields were taken."""
    subject = fields.take("subject", dict, None)
    found = {"annotations": fields.strings("annotations"), "artifact_type": fields.text("artifactType", "")}
    about = Descriptor.from_json(subject, f"{fields.where}.subject") if subject else None
    return {**found, "subject": about, "extra": fields.rest()}


def written(value: _Described, parts: dict[str, Any]) -> dict[str, Any]:
    """Either as a JSON object.  :param parts: its own fields"""
    found: dict[str, Any] = {"schemaVersion": 2, "mediaType": value.media_type}
    found |= {"artifactType": value.artifact_type} if value.artifact_type else {}
    found |= parts
    found |= {"subject": value.subject.to_json()} if value.subject else {}
    found |= {"annotations": dict(value.annotations)} if value.annotations else {}
    return found | dict(value.extra)


def media_type_of(document: Mapping[str, Any], said: str, what: str) -> str:
    """What a manifest or an index is, when pointer and pointee agree.

    :param said: the media type of whoever points at it; "" when nobody does
    :param what: "manifest" or "index": what it has to be
    :raises InvalidDocument: they disagree, or it is both, or neither;  :raises Unsupported: docker schema 1
    """
    own = Fields(document, what).text("mediaType", "")
    for name in (own, said):
        media.refuse_schema1(name)
    if document.get("schemaVersion") == 1:
        media.refuse_schema1(media.DOCKER_SCHEMA1)
    if document.get("schemaVersion") != 2 or isinstance(document["schemaVersion"], bool):
        raise InvalidDocument(f"{what}.schemaVersion: expected 2, found {document.get('schemaVersion')!r}")
    if own and said and own != said:
        raise InvalidDocument(f"{what}.mediaType: {own!r}, but it was pointed at as {said!r}")
    _one_meaning(document, what)
    found = own or said or (media.OCI_MANIFEST if what == "manifest" else media.OCI_INDEX)
    if media.kind(found) != what:
        raise InvalidDocument(f"{what}.mediaType: {found!r} is not the type of {_a(what)}")
    return found


def _one_meaning(document: Mapping[str, Any], what: str) -> None:
    """A document that can be read as two things has two owners of one digest.  :see: CVE-2021-41190"""
    names = {name.casefold() for name in document}
    wrong = names & ({"manifests", "fslayers", "history"} if what == "manifest" else {"config", "layers", "fslayers", "history"})
    if wrong:
        raise InvalidDocument(f"{what}.{min(wrong)}: {_a(what)} has none; this can be read as two different things")


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"
