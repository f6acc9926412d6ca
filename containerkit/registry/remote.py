"""RemoteBlobs: the blobs of a repository at a registry, opened when they are read, and resumed after a cut connection."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..base.log import Log
from ..image import media
from ..image.descriptor import Descriptor
from ..image.digest import CHUNK, Digest, Verifier
from ..image.errors import ImageError, Mismatch
from ..image.reference import Reference
from . import task_group
from ._endpoint import Endpoint
from ._http import Response
from ._origins import bare
from .errors import Cancelled, ProtocolError, RegistryError, Unreachable, is_refusal
from .patience import may_pass

if TYPE_CHECKING:
    from .client import Registry

__all__ = ["RemoteBlobs", "Stream"]

LOG = Log(__name__)

Result = TypeVar("Result")
ENOUGH = 4 << 20  # bytes after which a cut counts as a new failure
PART = 64 << 10  # bytes of a part that is not the last: a smaller part is a sign of a connection that is cut again and again
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)


class RemoteBlobs:
    """A repository's manifests, configs and layers, as `image.blobs.Blobs`.

    :param registry: the client
    :param repository: its name at the registry, "library/nginx"
    """

    def __init__(self, registry: Registry, repository: str) -> None:
        self.registry, self.repository = registry, repository

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        """Return the blob's bytes, verified while they are read.  The caller closes it.

        :raises NotFound: the registry does not have it;  :raises RegistryError: the registry does not answer
        :raises Mismatch: the bytes do not match the descriptor
        """
        if media.kind(descriptor.media_type) in ("manifest", "index"):
            data = self.registry.document(self.repository, descriptor)
            return Verifier(io.BytesIO(data), descriptor.digest, descriptor.size)
        return Verifier(self.raw(descriptor), descriptor.digest, descriptor.size)

    def raw(self, descriptor: Descriptor) -> Stream:
        """Return the bytes of a config or a layer, not verified.  The caller verifies and closes."""
        return Stream(self.registry.endpoints, self.repository, descriptor)

    def has(self, digest: Digest, /) -> bool:
        """Whether the repository has a blob or a manifest of this digest.  :raises RegistryError: the registry does not answer"""
        return self.registry.has_blob(self.repository, digest) or self.registry.has_manifest(self.repository, digest)

    def origins(self, digest: Digest, /) -> tuple[Reference, ...]:
        """Return this repository."""
        return (Reference(self.registry.host, self.repository),)

    def __repr__(self) -> str:
        return f"<RemoteBlobs {self.registry.host}/{self.repository}>"


class Stream:
    """The bytes of one blob, through as many connections to as many endpoints as necessary.

    :param endpoints: tried in turn
    """

    def __init__(self, endpoints: Sequence[Endpoint], repository: str, descriptor: Descriptor) -> None:
        self._endpoint, *self._others = endpoints
        self._repository, self._descriptor = repository, descriptor
        self._at, self._failures, self._failed_at = 0, 0, 0
        self._response: Response | None = None
        self._whole: Endpoint | None = None  # an endpoint that supports no Range
        self._end = 0  # the index at which the current part ends; 0 without parts
        self._insist(self._connect)

    def read(self, size: int = -1, /) -> bytes:
        """Return bytes that have arrived, `size` at most; b"" at the end."""
        return self._insist(lambda: self._some(CHUNK if size < 0 else min(size, CHUNK)))

    def _some(self, size: int) -> bytes:
        response = self._response or self._connect()
        data = response.some(size)
        if not data and 0 < self._end == self._at < self._descriptor.size:
            return self._next_part(response, size)
        if not data and self._at < self._descriptor.size and (response.is_open_ended or response.status == 206):
            raise Unreachable(f"{bare(response.url)}: the connection ended after {self._at} of {self._descriptor.size} bytes")
        self._at += len(data)
        return data

    def _next_part(self, response: Response, size: int) -> bytes:
        """Request the next part, after a part that was shorter than the requested range."""
        response.close()
        self._response = None
        return self._some(size)

    def _connect(self) -> Response:
        """Request the missing bytes.  An endpoint without ranges sends all of them, and the known ones are skipped."""
        self._end = 0
        if self._at and self._endpoint is not self._whole:
            try:
                return self._resume()
            except RegistryError as error:
                if not is_refusal(error) and not isinstance(error, ProtocolError):
                    raise
                self.close()
                self._whole = self._endpoint
        return self._all()

    def _ask(self, ok: tuple[int, ...], headers: dict[str, str]) -> Response:
        endpoint, path = self._endpoint, self._endpoint.path(self._repository, "blobs", self._descriptor.digest)
        scopes = endpoint.scopes(self._repository)
        self._response = endpoint.request("GET", path, scopes=scopes, headers=headers, ok=ok, again=False)
        return self._response

    def _resume(self) -> Response:
        response = self._ask((200, 206), {"Range": f"bytes={self._at}-"})
        if response.status == 206:
            end = self._check_range(response.headers.get("Content-Range", ""))
            self._end = end if end - self._at >= PART else 0
            return response
        return self._skipped(response)

    def _all(self) -> Response:
        return self._skipped(self._ask((200,), {}))

    def _skipped(self, response: Response) -> Response:
        """Skip the bytes of a whole blob that have arrived before."""
        endpoint, digest = self._endpoint, self._descriptor.digest
        if (length := response.length) not in (None, self._descriptor.size):
            raise Mismatch(f"size of blob {digest.short} at {endpoint.base}", f"{self._descriptor.size} bytes", f"{length} bytes")
        self._skip(response, self._at)
        return response

    def _skip(self, response: Response, count: int) -> None:
        while count:
            if not (data := response.some(min(count, CHUNK))):
                raise Unreachable(f"{bare(response.url)}: the connection ended again without a new byte")
            count -= len(data)

    def _check_range(self, text: str) -> int:
        """Return the index after the part.  :raises ProtocolError: the part is another one than requested"""
        match, size = _RANGE.fullmatch(text), self._descriptor.size
        if not match or int(match[1]) != self._at or match[3] not in ("*", str(size)) or not self._at <= int(match[2]) < size:
            raise ProtocolError(f"{self._endpoint.base}: asked for the bytes from {self._at} on, and got {text[:100]!r}")
        return int(match[2]) + 1

    def _insist(self, action: Callable[[], Result]) -> Result:
        while True:
            try:
                return action()
            except (RegistryError, ImageError) as error:
                self.close()
                self._after(error)

    def _after(self, error: RegistryError | ImageError) -> None:
        """Wait before another attempt, or turn to the next endpoint.  :raises RegistryError: no attempt is left"""
        if isinstance(error, Cancelled):
            raise error
        if self._at - self._failed_at >= ENOUGH:
            self._failures = 0
        self._failed_at = self._at
        passing = isinstance(error, RegistryError) and may_pass(error)
        pause = self._endpoint.retries.pause(self._failures, getattr(error, "after", None)) if passing else None
        if pause is not None:
            self._failures += 1
            LOG.debug("%s: the rest of %s is asked for in %.1f s", type(error).__name__, self._descriptor.digest.short, pause)
            task_group.sleep(pause)
        elif self._others:
            self._endpoint, self._failures = self._others.pop(0), 0
        else:
            raise error

    def close(self) -> None:
        if self._response:
            self._response.close()
            self._response = None
