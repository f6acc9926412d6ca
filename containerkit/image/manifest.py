"""A manifest: which config and which layers make an image, or which blobs make an artifact.

    Manifest.parse(data, media_type)       OCI 1.1 or docker schema 2; the bytes are kept as they are
    manifest.config, manifest.layers       descriptors

:see: https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from . import media
from .descriptor import Descriptor
from .digest import Digest
from .documents import Fields, dump, parse
from .errors import InvalidDocument

__all__ = ["Manifest", "media_type_of"]

MOST_LAYERS = 4096  # no overlay has more; a hostile list is far longer


@dataclass(frozen=True, slots=True)
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
        object.__setattr__(self, "annotations", MappingProxyType(dict(self.annotations)))
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))
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
        document = parse(data, "manifest")
        media_type = media_type_of(document, media_type, "manifest")
        fields = Fields(document, "manifest")
        fields.take("schemaVersion", int)
        fields.text("mediaType", "")
        layers = fields.objects("layers")
        if len(layers) > MOST_LAYERS:
            raise InvalidDocument(f"manifest.layers: {len(layers)} of them, more than {MOST_LAYERS}")
        subject = fields.take("subject", dict, None)
        return cls(
            config=Descriptor.from_json(fields.take("config", dict), "manifest.config"),
            layers=tuple(Descriptor.from_json(value, where) for value, where in layers),
            media_type=media_type,
            annotations=fields.strings("annotations"),
            artifact_type=fields.text("artifactType", ""),
            subject=Descriptor.from_json(subject, "manifest.subject") if subject else None,
            extra=fields.rest(),
            data=bytes(data),
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, in the order the specification has; what is empty is left out."""
        found: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        found |= {"artifactType": self.artifact_type} if self.artifact_type else {}
        found |= {"config": self.config.to_json(), "layers": [layer.to_json() for layer in self.layers]}
        found |= {"subject": self.subject.to_json()} if self.subject else {}
        found |= {"annotations": dict(self.annotations)} if self.annotations else {}
        return found | dict(self.extra)

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
