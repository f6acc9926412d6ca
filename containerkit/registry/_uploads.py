"""Upload a blob to a registry: not at all if the registry has it, by a mount from another repository, in one piece, or in several.

:see: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from typing import Literal

from ..base.frozen import frozen
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.errors import Mismatch
from ._auth import Scopes
from ._endpoint import Endpoint
from ._http import Response
from ._origins import bare, target
from .errors import (
    Denied,
    NotFound,
    ProtocolError,
    Refused,
    RegistryError,
    ServerError,
    Unauthorized,
    Unreachable,
    is_refusal,
    is_refused_shortcut,
)
from .patience import insist, may_pass

__all__ = ["Upload", "exists", "known"]

PIECE = 256 << 10  # bytes sent at a time, and between two reports of progress
CHUNK = 16 << 20  # bytes of a part, if the registry refuses larger ones and the caller gave no size
LARGEST_CHUNK = 256 << 20  # a part is kept in memory
TAKEN = (200, 201, 202, 204)  # the specification has one status for each request; registries differ, and all clients accept these
OTHER_WAY = (400, 405, 411, 413, 415, 416, 422, 501)  # statuses of registries and proxies that accept only parts, or none
FINAL = frozenset({"DIGEST_INVALID", "SIZE_INVALID", "NAME_INVALID"})  # codes about the blob itself, so that another way would fail too
NOT_MOUNTED = (Denied, NotFound, ProtocolError, Refused, ServerError, Unauthorized)
BINARY = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})", re.ASCII)

Outcome = Literal["exists", "mounted", "done"]


def exists(endpoint: Endpoint, repository: str, digest: Digest) -> bool:
    """Whether a repository has a blob.  HEAD is a shortcut; if the registry refuses it, begin a GET of the blob.

    :raises RegistryError: the registry refuses both
    """
    path, scopes = endpoint.path(repository, "blobs", digest), endpoint.scopes(repository)
    try:
        response = endpoint.request("HEAD", path, scopes=scopes, ok=(200, 404))
        response.finish()
    except RegistryError as error:
        if not is_refused_shortcut(error):
            raise
        response = endpoint.request("GET", path, scopes=scopes, ok=(200, 404))
        response.close()  # close the connection without reading the blob
    return response.status == 200


def known(endpoint: Endpoint, repository: str, digest: Digest) -> bool:
    """Whether a repository reports that it has a blob.  False if it refuses to report: it may still accept an upload."""
    try:
        return exists(endpoint, repository, digest)
    except RegistryError as error:
        if not is_refusal(error):
            raise
        return False


@frozen
class Upload:
    """The upload of one blob.

    :param opened: returns the blob's bytes from their beginning, verified while they are read
    :param source: a repository of the same registry that has the blob
    :param chunk: bytes of a part; None for one piece
    :param count: is called with the number of bytes sent
    """

    endpoint: Endpoint
    repository: str
    descriptor: Descriptor
    opened: Callable[[], io.BufferedIOBase]
    source: str = ""
    chunk: int | None = None
    count: Callable[[int], None] = lambda done: None

    def run(self) -> Outcome:
        """Upload the blob.  :raises RegistryError: the registry does not accept it;  :raises Mismatch: the bytes do not match the digest"""
        return insist(self._attempt, self.endpoint.retries)

    def _attempt(self) -> Outcome:
        location, least = self._begin()
        if not location:
            return "mounted"
        first, second = (self._whole, self._parts) if self.chunk is None or least > LARGEST_CHUNK else (self._parts, self._whole)
        try:
            try:
                first(location, least)
            except _OtherWay as other:
                self._again(second, other)
        except (NotFound, _Lost) as error:
            raise Unreachable(f"{bare(location)}: the registry has forgotten the upload") from error
        except BaseException as error:
            if not isinstance(error, RegistryError) or not may_pass(error):
                self._abandon(location)
            raise
        return "done"

    def _again(self, send: Callable[[str, int], None], other: _OtherWay) -> None:
        """Begin another upload and send it the second way.

        :raises RegistryError: the refusal of the first way, if the second is refused too
        """
        location, least = self._begin(mount=False)
        try:
            send(location, least)
        except _OtherWay:
            self._abandon(location)
            raise other.error from None

    def _begin(self, *, mount: bool = True) -> tuple[str, int]:
        """Begin an upload.  Return its URL, and the least size of a part; the URL is "" if the registry mounted the blob."""
        if mount and self.source and self.source != self.repository:
            from urllib.parse import urlencode

            query = urlencode({"mount": self.descriptor.digest, "from": self.endpoint.prefix + self.source}, safe=":/")
            with contextlib.suppress(*NOT_MOUNTED):  # the user may push here without the right to pull there
                return self._asked(f"?{query}", self.endpoint.scopes(self.source))
        return self._asked()

    def _asked(self, query: str = "", more: Scopes = ()) -> tuple[str, int]:
        scopes = self.endpoint.scopes(self.repository, "pull,push") + more
        path = self.endpoint.path(self.repository, "blobs", "uploads") + f"/{query}"
        response = self.endpoint.request("POST", path, scopes=scopes, headers={"Content-Length": "0"}, ok=TAKEN, again=False)
        response.finish()
        if response.status == 201 and query:
            _same(response, self.descriptor.digest)
            return "", 0
        least = response.headers.get("OCI-Chunk-Min-Length", "0").strip()
        return _location(response), int(least) if re.fullmatch("[0-9]{1,18}", least, re.ASCII) else 0

    def _whole(self, location: str, least: int) -> None:
        """Send the blob in one piece.  :raises _OtherWay: the registry, or a proxy before it, refuses so much at once"""
        with contextlib.closing(_Opened(self.opened, self.count)) as body, _other_way():
            headers = BINARY | {"Content-Length": str(self.descriptor.size)}
            self._finish(location, headers, body.pieces)

    def _finish(self, location: str, headers: dict[str, str], body: Callable[[], Iterator[bytes]] | None = None) -> None:
        from urllib.parse import quote

        url = location + ("&" if "?" in location else "?") + "digest=" + quote(self.descriptor.digest, safe=":")
        response = self._send("PUT", url, headers, body, ok=TAKEN)
        _same(response, self.descriptor.digest)

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Iterator[bytes]] | None, *, ok: tuple[int, ...]
    ) -> Response:
        scopes = self.endpoint.scopes(self.repository, "pull,push")
        wait = self.endpoint.timeouts.commit if method in ("PUT", "PATCH") else None
        response = self.endpoint.request(method, url, scopes=scopes, headers=headers, body=body, ok=ok, again=False, wait=wait)
        response.finish()
        return response

    # --- in parts ------------------------------------------------------------------------------------------------

    def _parts(self, location: str, least: int) -> None:
        """Send the blob in parts.  Each part is kept until the registry has it, so that it can be sent again.

        :raises _OtherWay: the registry accepts no parts
        """
        at, size = 0, min(max(self.chunk or CHUNK, least, 1), LARGEST_CHUNK)
        with contextlib.closing(self.opened()) as stream:
            while part := stream.read(size):
                end = at + len(part)
                while at < end:
                    with _other_way() if at == 0 else contextlib.nullcontext():
                        location, now = self._part(location, part[at - end :], at)
                    if now < at:
                        raise _Lost(f"{bare(location)}: the registry has {now} bytes, and had {at}")
                    if not at < now <= end:
                        raise ProtocolError(f"{bare(location)}: the registry has {now} bytes, after those from {at} to {end} were sent")
                    at = now
                    self.count(at)
        self._finish(location, {"Content-Length": "0"})

    def _part(self, location: str, data: bytes, at: int) -> tuple[str, int]:
        """Send one part.  Return the URL for the next part, and the number of bytes that the registry has."""
        headers = BINARY | {"Content-Length": str(len(data)), "Content-Range": f"{at}-{at + len(data) - 1}"}
        trouble: RegistryError | None = None

        def once() -> tuple[str, int]:
            nonlocal location, trouble
            if trouble:  # a piece of the part may have arrived
                location, has = self._status(location)
                if has != at:
                    return location, has
            try:
                response = self._send("PATCH", location, headers, lambda: iter([data]), ok=TAKEN)
            except Refused as error:
                if error.status != 416 or trouble:
                    raise
                trouble = error  # the registry expects another part, and its status tells which
                return once()
            except RegistryError as error:
                trouble = error
                raise
            return _location(response, location), _has(response, at + len(data))

        return insist(once, self.endpoint.retries)

    def _status(self, location: str) -> tuple[str, int]:
        """Ask how many bytes the registry has.  :raises _Lost: the registry does not tell"""
        try:
            response = self._send("GET", location, {}, None, ok=TAKEN)
        except RegistryError as error:
            if is_refusal(error):
                raise _Lost(str(error)) from error
            raise
        return _location(response, location), _has(response, 0)

    def _abandon(self, location: str) -> None:
        """Tell the registry to drop the upload.  It would expire anyway."""
        with contextlib.suppress(RegistryError):
            self._send("DELETE", location, {}, None, ok=(202, 204))


class _Lost(RegistryError):
    """The registry's count of an upload's bytes is unknown, so the upload begins again."""


class _OtherWay(RegistryError):
    """The registry refuses this way of uploading.

    :ivar error: the registry's answer
    """

    def __init__(self, error: RegistryError) -> None:
        self.error = error
        super().__init__(str(error))


@contextlib.contextmanager
def _other_way() -> Iterator[None]:
    try:
        yield
    except (Refused, ServerError) as error:
        if error.status not in OTHER_WAY or error.codes & FINAL:
            raise
        raise _OtherWay(error) from error


class _Opened:
    """A blob as the body of a request, which may have to be sent twice."""

    def __init__(self, opened: Callable[[], io.BufferedIOBase], count: Callable[[int], None]) -> None:
        self._opened, self._count = opened, count
        self._stream: io.BufferedIOBase | None = None

    def pieces(self) -> Iterator[bytes]:
        self.close()
        self._stream, done = self._opened(), 0
        while piece := self._stream.read1(PIECE):
            yield piece
            done += len(piece)
            self._count(done)

    def close(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None


def _location(response: Response, default: str = "") -> str:
    """Return the URL in the Location header.  :raises ProtocolError: it is malformed"""
    return target(response.url, response.headers.get("Location") or default)


def _has(response: Response, default: int) -> int:
    """Return the number of bytes that a registry has.  Some registries send 0-0 both for none and for one."""
    text = response.headers.get("Range")
    if text is None:
        return default
    if not (match := _RANGE.fullmatch(text)):
        raise ProtocolError(f"{bare(response.url)}: the Range is {text[:60]!r}")
    return int(match[1]) + 1 if match[1] != "0" or default == 1 else 0


def _same(response: Response, digest: Digest) -> None:
    said = response.headers.get("Docker-Content-Digest", "")
    if said and said != digest:
        raise Mismatch("digest of the uploaded bytes as the registry reports it", digest, said[:140])
