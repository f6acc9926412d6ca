"""Referrers: manifests that point at another manifest, as signatures, attestations and lists of contents.

A registry of the specification 1.1 lists them itself.  For an older one the list is an index with a tag made of the digest,
and a client that pushes a referrer adds it to that index.
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

ATTEMPTS = 5  # other clients may write the same index
MOST = 100_000  # referrers of one manifest


def tag(digest: Digest) -> str:
    """Return the tag of the index that lists a digest's referrers at a registry without the referrers API."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def listed(endpoint: Endpoint, repository: str, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
    """List the referrers of a digest.

    :param artifact_type: only referrers of this kind
    :raises ProtocolError: the registry's list is malformed;  :raises LimitExceeded: the list is too long
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
                raise LimitExceeded(f"referrers of {digest.short} at {endpoint.base}", MOST, "referrers")
    except RegistryError as error:
        if not is_refusal(error):
            raise
        # a registry without the referrers API, in one of many ways to refuse it
        found = {each.digest: each for each in _tagged(endpoint, repository, digest).manifests}
    return tuple(each for each in found.values() if artifact_type in (None, each.artifact_type))


def _manifests(page: dict[str, object]) -> tuple[Descriptor, ...]:
    try:
        return Index.parse(dump(page), media.OCI_INDEX).manifests
    except ImageError as error:
        raise ProtocolError(f"referrers: {error}") from error


def _tagged(endpoint: Endpoint, repository: str, digest: Digest) -> Index:
    """Return the index with the tag, or an empty one."""
    try:
        descriptor, data = _documents.fetch(endpoint, repository, tag(digest))
        return Index.parse(data, descriptor.media_type)
    except NotFound:
        return Index(())
    except ImageError as error:
        raise ProtocolError(f"{endpoint.base}: the index of referrers {tag(digest)} of {repository}: {error}") from error


def subject(data: bytes, media_type: str) -> Descriptor | None:
    """Return the manifest that a manifest or an index points at, or None."""
    return (Manifest.parse(data, media_type) if media.kind(media_type) == "manifest" else Index.parse(data, media_type)).subject


def of(data: bytes, media_type: str) -> Descriptor:
    """Return the descriptor that lists a manifest: with its kind and its annotations."""
    if media.kind(media_type) == "manifest":
        manifest = Manifest.parse(data, media_type)
        return Descriptor.of(data, media_type, artifact_type=manifest.kind, annotations=manifest.annotations)
    index = Index.parse(data, media_type)
    return Descriptor.of(data, media_type, artifact_type=index.artifact_type, annotations=index.annotations)


def add(endpoint: Endpoint, repository: str, digest: Digest, referrer: Descriptor) -> None:
    """Add a manifest to the list of the referrers of `digest`."""
    _change(endpoint, repository, digest, referrer, there=True)


def remove(endpoint: Endpoint, repository: str, digest: Digest, referrer: Descriptor) -> None:
    """Remove a manifest from the list of the referrers of `digest`."""
    _change(endpoint, repository, digest, referrer, there=False)


def _change(endpoint: Endpoint, repository: str, digest: Digest, referrer: Descriptor, *, there: bool) -> None:
    """Change the list, and read it back until the change holds: a tag cannot be changed atomically, so another client may undo it."""
    for _ in range(ATTEMPTS):
        index = _tagged(endpoint, repository, digest)
        if any(each.digest == referrer.digest for each in index.manifests) == there:
            return
        others = tuple(each for each in index.manifests if each.digest != referrer.digest)
        changed = Index((*others, referrer) if there else others, annotations=index.annotations, extra=index.extra)
        _documents.put(endpoint, repository, tag(digest), changed.data, changed.media_type)
    raise ProtocolError(f"{endpoint.base}: the index of referrers {tag(digest)} of {repository} is overwritten by another client")
