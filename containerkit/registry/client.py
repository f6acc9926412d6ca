"""Registry: a client that reads a registry, uploads to it, and deletes from it.

    with Registry("example.com") as registry:
        registry.tags("team/app")
        descriptor, data = registry.manifest("team/app:1")
        registry.blobs("team/app").open(descriptor)         verified while it is read
        registry.delete("team/app:1")

A `Registry` may be used by many threads at once.
:see: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TypeVar

from ..base.pickling import OneProcess
from ..image.blobs import Blobs
from ..image.content import opened
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.documents import LIMIT
from ..image.errors import ImageError, InvalidReference, LimitExceeded, Mismatch
from ..image.reference import Reference
from . import _documents, _lists, _referrers
from ._endpoint import Endpoint
from ._uploads import Outcome, Upload, exists, known
from .credentials import Keyring, Login
from .errors import Cancelled, RegistryError
from .patience import Retries, Timeouts
from .remote import RemoteBlobs

__all__ = ["Auth", "Registry"]

Result = TypeVar("Result")
Auth = Login | tuple[str, str] | Callable[[str, str], Login]


class Registry(OneProcess):
    """The client of one registry.

    :param host: as in a reference: "docker.io", "127.0.0.1:5000"
    :param plain_http: without TLS.  None means never, except on this machine itself, where https is tried, and then http
    :param verify: whether the registry's certificate must be one of a trusted authority
    :param ca: a file of more certificates to trust
    :param auth: `Login`, name and password, or a function of host and repository; by default the credentials of docker and podman
    :param mirrors: hosts that a read asks first, in this order: "mirror.example.com", "http://10.0.0.1:5000/hub".  A mirror gets its
        own credentials, never those of the registry
    :param retries: how often a failed request is repeated
    :param timeouts: how long a request waits, in seconds
    :param connections: number of connections kept for each host
    :raises InvalidReference: `host` is no host;  :raises Unavailable: urllib3 is not installed
    """

    stays = "it holds connections and credentials; make a Registry there"

    def __init__(
        self, host: str, *, plain_http: bool | None = None, verify: bool = True, ca: str | os.PathLike[str] | None = None,
        auth: Auth | None = None, mirrors: Iterable[str] = (), retries: Retries | None = None, timeouts: Timeouts | None = None,
        connections: int = 8,
    ) -> None:  # fmt: skip
        self.host = Reference(host, "a/a").registry
        retries, timeouts, keyring = retries or Retries(), timeouts or Timeouts(), Keyring().find

        def endpoint(address: str, plain: bool | None, sure: bool, find: Callable[[str], Login]) -> Endpoint:
            return Endpoint(
                address, plain_http=plain, verify=sure, ca=ca, find=find, retries=retries, timeouts=timeouts, connections=connections
            )

        own = _finder(self.host, auth, keyring)
        self.endpoints = [endpoint(each, None, True, _finder(_host(each), None, keyring)) for each in mirrors]
        self.endpoints.append(endpoint(self.host, plain_http, verify, own))

    @property
    def endpoint(self) -> Endpoint:
        """The registry itself, not a mirror."""
        return self.endpoints[-1]

    def reading(self, action: Callable[[Endpoint], Result]) -> Result:
        """Run an action at the first endpoint that succeeds.  A mirror's failure does not count: the registry may still have the blob."""
        for each in self.endpoints[:-1]:
            try:
                if found := action(each):
                    return found
            except Cancelled:
                raise
            except (RegistryError, ImageError):
                continue
        return action(self.endpoint)

    def reference(self, text: str | Reference) -> Reference:
        """Parse a name of this registry: "app:1", "example.com/app:1".  :raises InvalidReference: a name of another registry"""
        found = Reference.parse(text)
        if isinstance(text, str) and "docker.io" not in (self.host, text.partition("/")[0]) and found.registry == "docker.io":
            found = Reference.parse(f"{self.host}/{text}")  # the text names no registry
        if found.registry != self.host:
            raise InvalidReference(f"{found} is not at {self.host}")
        return found

    def _repository(self, name: str) -> str:
        return Reference(self.host, name).repository

    # --- reading -------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Check that the registry answers, speaks the protocol, and accepts the credentials.

        :raises Unauthorized: the registry refuses the credentials;  :raises Unreachable: there is no answer
        :raises ProtocolError: the server is no registry
        """
        self.endpoint.request("GET", "/v2/").finish()

    def catalog(self) -> tuple[str, ...]:
        """Return the registry's repositories.  :raises RegistryError: the registry does not list them"""
        return _lists.names(self.endpoint, "/v2/_catalog?n=1000", ("registry:catalog:*",), "repositories")

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return the tags of a repository.  :raises NotFound: there is no such repository"""
        name = self._repository(repository)
        return self.reading(lambda e: _lists.names(e, e.path(name, "tags", "list") + "?n=1000", e.scopes(name), "tags"))

    def manifest(self, reference: str | Reference) -> tuple[Descriptor, bytes]:
        """Return the descriptor and the bytes of a manifest or an index.

        :raises NotFound: there is none;  :raises Mismatch: its digest is not the requested one
        :raises Unsupported: docker schema 1
        """
        wanted = self.reference(reference)
        return self.reading(lambda e: _documents.fetch(e, wanted.repository, wanted.digest or wanted.tag))

    def resolve(self, reference: str | Reference) -> Digest | None:
        """Return the digest of a tag as the registry reports it, without fetching the manifest; None if there is no such tag."""
        wanted = self.reference(reference)
        return self.reading(lambda e: _documents.head(e, wanted.repository, wanted.digest or wanted.tag))

    def document(self, repository: str, descriptor: Descriptor) -> bytes:
        """Return the bytes of a manifest or an index.  :raises Mismatch: they do not match the descriptor"""
        if descriptor.size > LIMIT:
            raise LimitExceeded(f"manifest {descriptor.digest.short}", LIMIT)
        name = self._repository(repository)
        found, data = self.reading(lambda e: _documents.fetch(e, name, descriptor.digest))
        if found.size != descriptor.size:
            raise Mismatch(f"size of the manifest {descriptor.digest.short}", descriptor.size, found.size)
        return data

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Whether a repository has a blob."""
        return exists(self.endpoint, self._repository(repository), digest)

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        """Whether a repository has a manifest or an index of this digest."""
        return _documents.head(self.endpoint, self._repository(repository), digest) is not None

    def blobs(self, repository: str) -> RemoteBlobs:
        """Return a repository's blobs, for reading: ``Image.load(registry.blobs("app"), descriptor)``."""
        return RemoteBlobs(self, self._repository(repository))

    def referrers(self, reference: str | Reference, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """Return the manifests that point at a manifest: signatures, attestations.

        :param artifact_type: only referrers of this kind
        """
        wanted = self.reference(reference)
        digest = wanted.digest or self.manifest(wanted)[0].digest
        return self.reading(lambda e: _referrers.listed(e, wanted.repository, digest, artifact_type))

    # --- uploading -----------------------------------------------------------------------------------------------

    def push_blob(
        self, repository: str, descriptor: Descriptor, blobs: Blobs, *, mount_from: str = "", chunk: int | None = None,
        count: Callable[[int], None] = lambda done: None,
    ) -> Outcome:  # fmt: skip
        """Upload a blob, unless the registry has it.

        :param blobs: the blob's source
        :param mount_from: a repository of this registry that has the blob already
        :param chunk: bytes of a part; by default the blob goes in one piece, unless the registry refuses that
        :param count: is called with the number of bytes sent
        :return: "exists", "mounted" or "done"
        :raises Mismatch: the bytes do not match the descriptor;  :raises RegistryError: the registry does not accept the blob
        """
        name = self._repository(repository)
        if known(self.endpoint, name, descriptor.digest):
            return "exists"
        source = self._repository(mount_from) if mount_from else ""
        return Upload(self.endpoint, name, descriptor, lambda: opened(blobs, descriptor), source, chunk, count).run()

    def push_manifest(self, reference: str | Reference, data: bytes, media_type: str) -> Descriptor:
        """Upload a manifest or an index, whose parts must be there already.  A referrer is added to the list of its subject.

        :param reference: a tag, or the digest of `data`
        :raises Mismatch: the reference has another digest
        """
        wanted, subject = self.reference(reference), _referrers.subject(data, media_type)
        algorithm = wanted.digest.algorithm if wanted.digest else "sha256"
        descriptor = Descriptor.of(data, media_type, algorithm=algorithm)
        if wanted.digest not in (None, descriptor.digest):
            raise Mismatch(f"digest of the manifest for {wanted}", wanted.digest, descriptor.digest)
        if len(data) > LIMIT:
            raise LimitExceeded("a manifest", LIMIT)
        kept = _documents.put(self.endpoint, wanted.repository, wanted.tag or descriptor.digest, data, media_type)
        if subject and not kept:
            _referrers.add(self.endpoint, wanted.repository, subject.digest, _referrers.of(data, media_type))
        return descriptor

    def delete(self, reference: str | Reference) -> None:
        """Delete a tag, or, by its digest, a manifest with all its tags.  Blobs stay until the registry collects them.

        :raises NotFound: there is none
        :raises Refused: the registry does not do that.  Many refuse to delete a tag: delete the digest that `resolve` returns instead
        """
        wanted = self.reference(reference)
        subject = self._subject(wanted) if wanted.digest else None
        which = wanted.digest or wanted.tag
        path, scopes = self.endpoint.path(wanted.repository, "manifests", which), self._deleting(wanted.repository)
        self.endpoint.request("DELETE", path, scopes=scopes, ok=(200, 202, 204)).finish()
        if subject:
            self._forget(wanted.repository, *subject)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Delete a blob from a repository.  :raises NotFound: there is none;  :raises Refused: the registry does not do that"""
        name = self._repository(repository)
        path = self.endpoint.path(name, "blobs", digest)
        self.endpoint.request("DELETE", path, scopes=self._deleting(name), ok=(200, 202, 204)).finish()

    def _deleting(self, repository: str) -> tuple[str, ...]:
        return self.endpoint.scopes(repository, "delete,pull")

    def _subject(self, wanted: Reference) -> tuple[Digest, Descriptor] | None:
        """Return the digest that a manifest points at, and the manifest's own descriptor; None without a subject."""
        try:
            descriptor, data = _documents.fetch(self.endpoint, wanted.repository, wanted.digest or wanted.tag)
            found = _referrers.subject(data, descriptor.media_type)
        except ImageError:  # a malformed manifest may be deleted too
            return None
        return (found.digest, descriptor) if found else None

    def _forget(self, repository: str, digest: Digest, descriptor: Descriptor) -> None:
        """Remove a deleted referrer from the index that this client keeps at a registry without the referrers API."""
        if _documents.head(self.endpoint, repository, _referrers.tag(digest)):
            _referrers.remove(self.endpoint, repository, digest, descriptor)

    def close(self) -> None:
        """Close the registry's connections."""
        for each in self.endpoints:
            each.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Registry {self.host}>"


def _finder(host: str, auth: Auth | None, keyring: Callable[[str, str], Login]) -> Callable[[str], Login]:
    """Return a function from a repository to its credentials, for one registry."""
    if isinstance(auth, Login):
        return lambda repository: auth
    if isinstance(auth, tuple):
        said = Login(*auth)
        return lambda repository: said
    chosen = auth or keyring
    return lambda repository: chosen(host, repository)


def _host(mirror: str) -> str:
    """Return the host by which a mirror's credentials are stored."""
    return mirror.partition("://")[2].partition("/")[0] if "://" in mirror else mirror.partition("/")[0]
