"""Connections that do not wait for ever: urllib3's, over sockets that measure the server's speed.

A read timeout alone only ends silence: a server that sends a byte a minute never exceeds it.  Here the headers of an answer have
a limit of time and size, and the body has a least speed, measured over the time spent waiting: a slow reader does not count
against the server.
"""

from __future__ import annotations

import functools
import http.client
import io
import ssl
import time
from typing import Any

from ..base import extras
from ..errors import Unavailable
from . import task_group
from .errors import ProtocolError, RegistryError, TooSlow, printable
from .patience import Timeouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

__all__ = ["library", "pools"]

HEADERS = 256 << 10  # bytes of one answer's status line and headers
BUFFER = 64 << 10
CUT = (http.client.RemoteDisconnected, http.client.IncompleteRead)


def library() -> Any:
    """Return the module urllib3.  :raises Unavailable: it is not installed, or too old"""
    try:
        import urllib3
    except ImportError as error:
        raise Unavailable("talking to a registry", probed=f"import urllib3: {error}", remedy=extras.command("registry")) from error
    if not hasattr(urllib3.HTTPResponse, "read1"):
        from importlib.metadata import version

        remedy = extras.command("registry", newer=True)
        raise Unavailable("talking to a registry", probed=f"urllib3 {version('urllib3')}, older than 2.2", remedy=remedy)
    return urllib3


class TooMuch(OSError):
    """More bytes of headers or trailers than allowed.  An OSError, so that it passes through http.client unchanged."""


class SlowAnswer(OSError):
    """A server that is too slow.  Not a TimeoutError, which a socket raises when it receives nothing at all."""


class ThrottleCheckedReader(io.RawIOBase):
    """The bytes of a connection as they arrive, with limits on time and size.

    :param stream: of a socket, not buffered
    """

    def __init__(self, stream: Any, timeouts: Timeouts) -> None:
        self._stream, self._timeouts = stream, timeouts
        self._deadline, self._heading, self._count, self._waited = 0.0, True, 0, 0.0
        self._left = 0

    def readable(self) -> bool:
        return True

    def body(self) -> None:
        """Switch from the limits of headers to those of the body."""
        self._heading, self._count, self._waited = False, 0, 0.0
        self.expect(0)

    def expect(self, size: int) -> None:
        """Allow `size` bytes of the body.  Chunk sizes and trailers may add as much as headers may have."""
        self._left = size + HEADERS + BUFFER

    def readinto(self, buffer: Any, /) -> int:
        started = time.monotonic()
        count: int = self._stream.readinto(buffer)
        now = time.monotonic()
        self._count += count
        if self._heading:
            self._check_headers(now, count)
        else:
            self._check_body(now - started, count)
        return count

    def _check_headers(self, now: float, count: int) -> None:
        """Check the headers from their first byte on: before it, the timeout of the socket counts."""
        if not count:
            raise ConnectionResetError("closed before the end of the headers")  # http.client takes this for the end of the headers
        self._deadline = self._deadline or now + self._timeouts.read
        if now > self._deadline:
            raise SlowAnswer(f"{self._timeouts.read:g} s were not enough for the headers of one answer")
        if self._count > HEADERS + BUFFER:  # the buffer may hold bytes of the body
            raise TooMuch(f"more than {HEADERS} bytes of headers")

    def _check_body(self, waited: float, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise TooMuch(f"more than {HEADERS} bytes between two parts of a body, or after it")
        self._waited += waited
        if self._waited < self._timeouts.window:
            return
        if self._count < self._waited * self._timeouts.speed:
            raise SlowAnswer(f"{self._count} bytes in {self._waited:.0f} s of waiting")
        self._count, self._waited = 0, 0.0

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class DeadlineSocket:
    """A socket with limits on its answers.  All other attributes are those of the socket."""

    def __init__(self, sock: socket.socket, timeouts: Timeouts) -> None:
        self._sock, self._timeouts = sock, timeouts
        self.paced: ThrottleCheckedReader | None = None
        self.reader: io.BufferedReader | None = None
        self.work: task_group.TaskGroup | None = None

    def makefile(self, mode: str, *args: Any, **options: Any) -> io.BufferedReader:
        """Return the file from which http.client reads an answer.  It closes the socket if it is the last to hold it."""
        self.paced = ThrottleCheckedReader(self._sock.makefile("rb", buffering=0), self._timeouts)
        self.reader = io.BufferedReader(self.paced, BUFFER)
        return self.reader

    def sendall(self, data: Any) -> None:
        """Send all data within `timeouts.read`; urllib3 would apply the timeout of the connection."""
        self._sock.settimeout(self._timeouts.read)
        self._sock.sendall(data)

    def cut(self) -> None:
        """Shut the connection down from another thread; a thread that waits for it sees the end."""
        task_group.cut(self._sock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Mixin:
    """The changes to urllib3's connections."""

    timeouts: Timeouts
    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock = DeadlineSocket(self.sock, self.timeouts)
        self.is_verified = True  # if it is not, the caller chose so; urllib3 would warn about each connection
        self._join()

    def request(self, *args: Any, **options: Any) -> None:
        self._join()
        super().request(*args, **options)  # type: ignore[misc]

    def getresponse(self) -> Any:
        sock = self.sock
        try:
            response = super().getresponse()  # type: ignore[misc]
        except BaseException:
            if sock.reader:  # urllib3 rejected the headers: close the file, or the socket would stay open
                sock.reader.close()
            raise
        if sock.paced:
            sock.paced.body()
            response.expect = sock.paced.expect
        return response

    def _join(self) -> None:
        """Register the connection with the group of this thread, and leave an earlier group."""
        if self.sock is None:
            return
        if work := task_group.current():
            work.hold(self.sock)
        else:
            self.sock.work = None


@functools.cache
def _classes() -> dict[str, tuple[type, type]]:
    """Return a pool class and a connection class for each scheme."""
    urllib3 = library()
    pooled = {"http": urllib3.HTTPConnectionPool, "https": urllib3.HTTPSConnectionPool}
    return {scheme: (pool, type("Connection", (_Mixin, pool.ConnectionCls), {})) for scheme, pool in pooled.items()}


def pools(timeouts: Timeouts, context: ssl.SSLContext | None, connections: int, proxy: str = "") -> Any:
    """Return a PoolManager of such connections.

    :param proxy: the URL of a proxy for all of them
    :raises Unavailable: urllib3 is not installed
    """
    urllib3 = library()
    options: dict[str, Any] = {"num_pools": 16, "maxsize": connections, "block": False, "retries": False}
    options |= {"ssl_context": context} if context else {}
    if proxy:
        from urllib.parse import unquote

        parsed = urllib3.util.parse_url(proxy)
        who = unquote(parsed.auth) if parsed.auth else None
        headers = urllib3.util.make_headers(proxy_basic_auth=who)
        manager = urllib3.ProxyManager(parsed._replace(auth=None).url, proxy_headers=headers, proxy_ssl_context=context, **options)
    else:
        manager = urllib3.PoolManager(**options)
    made = {}
    for scheme, (pool, connection) in _classes().items():
        made[scheme] = type("Pool", (pool,), {"ConnectionCls": type("Connection", (connection,), {"timeouts": timeouts})})
    manager.pool_classes_by_scheme = made
    return manager


def meaning(error: BaseException, what: str) -> Exception | None:
    """Return our own error behind an error of urllib3's, or None."""
    seen: BaseException | None = error
    while seen is not None:
        for each in (seen, *seen.args):
            if isinstance(each, RegistryError):  # of the other registry, from a body that is being copied
                return each
            if isinstance(each, SlowAnswer):
                return TooSlow(f"{what}: too slow: {each}")
            if isinstance(each, TooMuch) or (isinstance(each, http.client.HTTPException) and not isinstance(each, CUT)):
                return ProtocolError(f"{what}: no HTTP: {printable(each)}")
        seen = seen.__cause__ or seen.__context__
    return None
