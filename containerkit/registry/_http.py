"""One HTTP exchange: a request, and an answer that is read only as far as the caller asks.

This module follows no redirect, repeats no request and trusts no answer.
"""

from __future__ import annotations

import contextlib
import io
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from ..image import documents
from ..image.digest import CHUNK
from ..image.errors import ImageError, LimitExceeded
from . import task_group
from ._origins import Origin, bare, proxy
from .errors import Absent, Fault, ProtocolError, RegistryError, Unreachable, Untrusted, printable, refusal
from .patience import Timeouts, seconds_after
from .wire import library, meaning, pools

__all__ = ["HOPS", "Body", "Http", "Response", "follows"]

Body = bytes | Callable[[], Iterable[bytes]] | None
VERSION = "0.1.0"
AGENT = f"containerkit/{VERSION}"
REDIRECTS = (301, 302, 303, 307, 308)
HOPS = 5
ERROR_LIMIT = 64 << 10  # bytes read of an error's body


class Response:
    """An answer.  Close it, or use it in a ``with`` block; an answer that was read to its end returns its connection to the pool.

    :ivar status: the HTTP status
    :ivar url: the URL of the request
    :ivar headers: by name, in any case
    """

    def __init__(self, what: str, url: str, raw: Any) -> None:
        self._what, self.url, self._raw = what, url, raw
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers

    def all(self, name: str) -> list[str]:
        """Return every value of a header that may be repeated."""
        found: list[str] = self._raw.headers.getlist(name)
        return found

    @property
    def length(self) -> int | None:
        """Bytes of the body, or None if no header says so.  :raises ProtocolError: the header is no number"""
        text = self.headers.get("Content-Length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise ProtocolError(f"{self._what}: the Content-Length is {text[:60]!r}")
        return int(text)

    @property
    def is_open_ended(self) -> bool:
        """Whether only the end of the connection marks the end of the body, so that a cut connection looks complete."""
        return self.length is None and "chunked" not in self.headers.get("Transfer-Encoding", "").lower()

    def some(self, size: int = CHUNK) -> bytes:
        """Return the bytes of the body that have arrived, `size` at most; b"" at the end.

        :raises Unreachable: the connection was cut
        """
        self._raw.expect(size)
        with _errors(self._what):
            data: bytes = self._raw.read1(size)
        return data

    def read(self, limit: int, name: str = "an answer") -> bytes:
        """Read all of a small body.  :raises LimitExceeded: the body is larger than `limit` bytes"""
        found = io.BytesIO()
        with self:
            while found.tell() <= limit and (self.length or 0) <= limit and (data := self.some()):
                found.write(data)
        if max(found.tell(), self.length or 0) > limit:
            raise LimitExceeded(f"{name} from {bare(self.url)}", limit)
        return found.getvalue()

    def json(self, name: str, limit: int = documents.LIMIT) -> dict[str, Any]:
        """Parse the body as a JSON object.  :raises ProtocolError: it is none, or too large"""
        try:
            return documents.parse(self.read(limit, name), name)
        except ImageError as error:
            raise ProtocolError(f"{self._what}: {error}") from error

    def refusal(self) -> RegistryError:
        """Return the error for this answer.  Close the answer."""
        after = seconds_after(text) if (text := self.headers.get("Retry-After")) is not None else None
        return refusal(self._what, self.status, self._faults(), after=after)

    def _faults(self) -> list[Fault]:
        """Return the errors in the body, skipping a malformed one."""
        try:
            errors = documents.parse(self.read(ERROR_LIMIT), "errors").get("errors")
        except (RegistryError, ImageError):
            return []
        found = [each for each in errors[:20] if isinstance(each, dict)] if isinstance(errors, list) else []
        return [Fault(printable(each.get("code") or "UNKNOWN"), printable(each.get("message") or "")) for each in found]

    def finish(self) -> None:
        """Read the rest of an unneeded body if it is small, so that the connection can be used again, and close."""
        with contextlib.suppress(RegistryError, ImageError):
            self.read(ERROR_LIMIT)
        self.close()

    def close(self) -> None:
        self._raw.close()
        self._raw.release_conn()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


def follows(response: Response, method: str) -> bool:
    """Whether an answer is a redirect for the same method and body.  303 asks for a GET, so only GET and HEAD follow it.

    :see: rfc9110 section 15.4
    """
    redirects = REDIRECTS if method in ("GET", "HEAD") else tuple(each for each in REDIRECTS if each != 303)
    return response.status in redirects and bool(response.headers.get("Location"))


class Http:
    """Connections to any host, kept for the next request.

    :param context: returns the TLS context; called for the first TLS connection, as loading certificates takes long
    :param connections: number of connections kept for each host
    :raises Unavailable: urllib3 is not installed
    """

    def __init__(self, context: Callable[[], ssl.SSLContext], timeouts: Timeouts, connections: int = 8) -> None:
        library()
        self.timeouts, self._context, self._connections = timeouts, context, connections
        self._pools: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def _pool(self, origin: Origin) -> Any:
        with self._lock:
            if (key := (origin.scheme, proxy(origin))) not in self._pools:
                context = self._context() if "https" in (key[0], key[1].partition(":")[0]) else None
                self._pools[key] = pools(self.timeouts, context, self._connections, key[1])
            return self._pools[key]

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body = None, *, wait: float | None = None) -> Response:
        """Send one request.  The body of the answer is not read yet.

        :param wait: seconds for the first byte of the answer, `timeouts.read` unless given
        :raises Unreachable: there is no answer, or TLS does not trust the server
        """
        task_group.check()
        what = f"{method} {bare(url)}"
        timeout = library().Timeout(connect=self.timeouts.connect, read=wait or self.timeouts.read)
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity", **headers}
        with _errors(what):
            raw = self._pool(Origin.of(url)).urlopen(
                method, url, body=body() if callable(body) else body, headers=headers, timeout=timeout, redirect=False,
                preload_content=False, decode_content=False, assert_same_host=False,
            )  # fmt: skip
        return Response(what, url, raw)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            for manager in self._pools.values():
                for key in manager.pools.keys():  # noqa: SIM118 - urllib3's container cannot be iterated otherwise
                    manager.pools[key].close()
                manager.clear()


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turn urllib3's errors into ours."""
    try:
        yield
    except RegistryError:
        raise
    except (library().exceptions.HTTPError, OSError) as error:
        task_group.check()  # the connection may have been cut because another task failed
        if found := meaning(error, what):
            raise found from error
        text = f"{what}: {printable(error)}"
        raise _kind(error)(text) from error
    except ValueError as error:  # http.client's only error for a request that cannot be sent
        raise ProtocolError(f"{what}: {printable(error)}") from error


def _kind(error: BaseException) -> type[Unreachable]:
    """Return the kind of error, from the chain of causes."""
    import socket

    seen: BaseException | None = error
    while seen is not None:
        for each in (seen, *seen.args):
            if isinstance(each, ssl.SSLCertVerificationError):
                return Untrusted
            if isinstance(each, ConnectionRefusedError | socket.gaierror | library().exceptions.LocationValueError):
                return Absent
        seen = seen.__cause__ or seen.__context__
    return Unreachable
