"""What points at a manifest: signatures, attestations, lists of what is in it.

A registry of the specification 1.1 keeps count itself.  For an older one the list is an index with a tag made of the digest,
and whoever pushes something with a subject adds it there.
:see: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

from ..image import media
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.documents import dump
from ..image.errors import ImageError, LimitExceeded
from ..image.index import Index
from ..image.manifest import Manifest
from . import _documents
from ._endpoint import Endpoint
from ._lists import pages
from .errors import NotFound, ProtocolError, RegistryError, is_refusal

__all__ = ["add", "listed", "of", "remove", "subject", "tag"]

ATTEMPTS = 5  # others may write the same index
MOST = 100_000  # that point at one manifest


def tag(digest: Digest) -> str:
    """The tag of the index that lists what points at a digest, where the registry does not."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def listed(endpoint: Endpoint, repository: str, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
    """What points at a digest.

    :param artifact_type: only what is of this kind
    :raises ProtocolError: the registry's list cannot be read;  :raises LimitExceeded: it does not end
    """
    from urllib.parse import quote

    path = endpoint.path(repository, "referrers", digest) + (f"?artifactType={quote(artifact_type, safe='/')}" if artifact_type else "")
    found: dict[Digest, Descriptor] = {}
    try:
        for response, page in pages(endpoint, path, endpoint.scopes(repository), "referrers", media.OCI_INDEX):
            if response.headers.get("Content-Type", media.OCI_INDEX).partition(";")[0].strip() != media.OCI_INDEX:
                raise ProtocolError(f"{path}: the list of referrers is no index")
            found |= {each.digest: each for each in _manifests(page)}
            if len(found) > MOST:
                raise LimitExceeded(f"referrers of {digest.short} at {endpoint.base}", MOST, "of them")
    except RegistryError as error:
        if not is_refusal(error):
            raise
        # a registry that knows nothing of referrers, and has one of many ways to say so
        found = {each.digest: each for each in _tagged(endpoint, repository, digest).manifests}
    return tuple(each for each in found.values() if artifact_type in (None, each.artifact_type))


def _manifests(page: dict[str, object]) -> tuple[Descriptor, ...]:
    try:
        return Index.parse(dump(page), media.OCI_INDEX).manifests
    except ImageError as error:
        raise ProtocolError(f"referrers: {error}") from error


def _tagged(endpoint: Endpoint, repository: str, digest: Digest) -> Index:
    """The index with the tag, or an empty one."""
    try:
        descriptor, data = _documents.fetch(endpoint, repository, tag(digest))
        return Index.parse(data, descriptor.media_type)
    except NotFound:
        return Index(())
    except ImageError as error:
        raise ProtocolError(f"{endpoint.base}: the index of referrers {tag(digest)} of {repository}: {error}") from error


def subject(data: bytes, media_type: str) -> Descriptor | None:
    """What a manifest or an index points at."""
    return (Manifest.parse(data, media_type) if media.kind(media_type) == "manifest" else Index.parse(data, media_type)).subject


def of(data: bytes, media_type: str) -> Descriptor:
    """How a manifest is listed: with its kind and its annotations."""
    if media.kind(media_type) == "manifest":
        manifest = Manifest.parse(data, media_type)
        return Descriptor.of(data, media_type, artifact_type=manifest.kind, annotations=manifest.annotations)
    index = Index.parse(data, media_type)
    return Descriptor.of(data, media_type, artifact_type=index.artifact_type, annotations=index.annotations)


def add(endpoint: Endpoint, repository: str, digest: Digest, referrer: Descriptor) -> None:
    """Lists a manifest as one that points at `digest`."""
    _change(endpoint, repository, digest, referrer, there=True)


def remove(endpoint: Endpoint, repository: str, digest: Digest, referrer: Descriptor) -> None:
    """Lists it no more."""
    _change(endpoint, repository, digest, referrer, there=False)


def _change(endpoint: Endpoint, repository: str, digest: Digest, referrer: Descriptor, *, there: bool) -> None:
    """Registries have no way to change a tag only if nobody else did meanwhile; so it is read again, and done again."""
    for _ in range(ATTEMPTS):
        index = _tagged(endpoint, repository, digest)
        if any(each.digest == referrer.digest for each in index.manifests) == there:
            return
        others = tuple(each for each in index.manifests if each.digest != referrer.digest)
        changed = Index((*others, referrer) if there else others, annotations=index.annotations, extra=index.extra)
        _documents.put(endpoint, repository, tag(digest), changed.data, changed.media_type)
    raise ProtocolError(f"{endpoint.base}: the index of referrers {tag(digest)} of {repository} is not kept")
