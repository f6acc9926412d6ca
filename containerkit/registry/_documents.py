"""Read and write manifests and indexes at a registry: small documents, checked for their kind and their digest."""

from __future__ import annotations

from ..image import media
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.documents import LIMIT, parse
from ..image.errors import InvalidDigest, Mismatch, Unsupported
from ..image.manifest import media_type_of
from ._endpoint import Endpoint
from ._http import Response
from ._origins import bare
from .errors import NotFound, ProtocolError, RegistryError, is_refused_shortcut

__all__ = ["ACCEPT", "KEPT", "fetch", "head", "put"]

ACCEPT = ", ".join((media.OCI_INDEX, media.DOCKER_LIST, media.OCI_MANIFEST, media.DOCKER_MANIFEST))
KEPT = (200, 201, 202, 204)  # the specification has 201; other registries answer otherwise, and all clients accept these
GENERIC = (
    "",
    "application/json",
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
)  # plain file servers


def fetch(endpoint: Endpoint, repository: str, which: str) -> tuple[Descriptor, bytes]:
    """Fetch a manifest or an index.

    :param which: a tag or a digest
    :raises NotFound: there is none;  :raises Mismatch: its digest is not the requested or the announced one
    :raises Unsupported: docker schema 1, or no image at all;  :raises LimitExceeded: over 4 MiB
    """
    path = endpoint.path(repository, "manifests", which)
    scopes = endpoint.scopes(repository)
    response, data = endpoint.read(path, lambda response: response.read(LIMIT, "a manifest"), scopes=scopes, accept=ACCEPT)
    said = _said(response)
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    for expected in filter(None, (Digest(which) if ":" in which else None, said)):
        if (found := Digest.of(data, expected.algorithm)) != expected:
            raise Mismatch(f"digest of the manifest {which} from {endpoint.base}", expected, found)
    algorithm = Digest(which).algorithm if ":" in which else said.algorithm if said else "sha256"
    return Descriptor.of(data, _media_type(data, media_type), algorithm=algorithm), data


def head(endpoint: Endpoint, repository: str, which: str) -> Digest | None:
    """Return the digest of a manifest as the registry reports it; None if there is no such manifest.

    HEAD is a shortcut, and the header with the digest is optional: without them the manifest itself is fetched.
    """
    path = endpoint.path(repository, "manifests", which)
    try:
        response = endpoint.request("HEAD", path, scopes=endpoint.scopes(repository), headers={"Accept": ACCEPT}, ok=(200, 404))
    except RegistryError as error:
        if not is_refused_shortcut(error):
            raise
    else:
        response.finish()
        if response.status == 404:
            return None
        if (said := _said(response)) is not None or ":" in which:
            return said or Digest(which)
    try:
        return fetch(endpoint, repository, which)[0].digest
    except NotFound:
        return None


def put(endpoint: Endpoint, repository: str, which: str, data: bytes, media_type: str) -> bool:
    """Upload a manifest or an index.  Return whether the registry itself lists it as a referrer of its subject.

    :raises Mismatch: the registry reports another digest
    """
    response = endpoint.request(
        "PUT", endpoint.path(repository, "manifests", which), scopes=endpoint.scopes(repository, "pull,push"),
        headers={"Content-Type": media_type, "Content-Length": str(len(data))}, body=data, ok=KEPT,
    )  # fmt: skip
    response.finish()
    if (said := _said(response)) and said != (found := Digest.of(data, said.algorithm)):
        raise Mismatch(f"digest of the manifest {which} as {endpoint.base} reports it", found, said)
    return "OCI-Subject" in response.headers


def _said(response: Response) -> Digest | None:
    text = response.headers.get("Docker-Content-Digest", "")
    try:
        return Digest(text) if text else None
    except InvalidDigest as error:
        response.close()
        raise ProtocolError(f"{bare(response.url)}: Docker-Content-Digest: {error}") from error


def _media_type(data: bytes, said: str) -> str:
    """Return the media type of a document, after checking the header against the document."""
    media.refuse_schema1(said)
    if said not in GENERIC and media.kind(said) not in ("manifest", "index"):
        raise Unsupported(f"the registry answers with {said[:100]!r}, which is no manifest")
    document = parse(data, "manifest")
    own = document.get("mediaType")
    kind = media.kind(said) or (media.kind(own) if isinstance(own, str) else "") or ("index" if "manifests" in document else "manifest")
    return media_type_of(document, "" if said in GENERIC else said, kind)
