"""Endpoint: a host that answers for a registry, either the registry itself or a mirror."""

from __future__ import annotations

import functools
import os
import re
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from ..base.log import Log
from ..image.errors import InvalidReference
from ._auth import Authority, Scopes
from ._http import HOPS, Body, Http, Response, follows
from ._origins import Origin, bare, is_loopback, target
from ._tls import context
from .credentials import Login
from .errors import Absent, ProtocolError
from .patience import Retries, Timeouts, insist

__all__ = ["Endpoint"]

LOG = Log(__name__)

Result = TypeVar("Result")
HUB, HUB_HOST = "docker.io", "registry-1.docker.io"
PROBE = 3.0  # seconds for a TLS handshake with this machine itself
_ADDRESS = re.compile(r"(?:(https?)://)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::([0-9]{1,5}))?(/[A-Za-z0-9._/-]*)?", re.ASCII)


class Endpoint:
    """A host that answers for a registry.

    :param address: host, host:port; a mirror's may have a scheme before it, and a path after it
    :param plain_http: without TLS; False for never; None for only on this machine, and only if it has no TLS there
    :param verify: whether the certificate must be one of a trusted authority
    :param ca: a file of more certificates to trust
    :param find: returns the credentials for a repository
    """

    def __init__(
        self, address: str, *, plain_http: bool | None, verify: bool, ca: str | os.PathLike[str] | None,
        find: Callable[[str], Login], retries: Retries, timeouts: Timeouts, connections: int,
    ) -> None:  # fmt: skip
        if not (match := _ADDRESS.fullmatch(address)):
            raise InvalidReference(f"{address[:200]!r} is not a registry")
        scheme, host, port, path = match.groups()
        if port and not 0 < int(port) < 1 << 16:  # the C library would read 99999 as 34463
            raise InvalidReference(f"{address[:200]!r} is not a registry: a port from 1 to 65535 was expected")
        self._plain = True if scheme == "http" else False if scheme == "https" else plain_http
        self._host, self._port = HUB_HOST if host == HUB else host, int(port) if port else None
        self.prefix = path.strip("/") + "/" if path and path.strip("/") else ""
        self._context = functools.cache(lambda: context(verify, ca, f"{host}:{port}" if port else host))
        self.http = Http(self._context, timeouts, connections)
        self.retries, self.timeouts = retries, timeouts
        self.authority = Authority(find, self.http, self.may_go, retries)
        self._lock, self._base = threading.Lock(), ""

    @property
    def base(self) -> str:
        """The endpoint's URL.  For a host on this machine, the first use probes whether it has TLS."""
        with self._lock:
            if not self._base:
                plain = self._plain if self._plain is not None else is_loopback(self._host) and not self._has_tls()
                port = f":{self._port}" if self._port else ""
                self._base = f"{'http' if plain else 'https'}://{self._host}{port}"
        return self._base

    def _has_tls(self) -> bool:
        """Probe for TLS.  :raises Absent: nothing listens there"""
        import socket

        try:
            address = (self._host.strip("[]"), self._port or 443)
            with socket.create_connection(address, min(PROBE, self.timeouts.connect)) as sock:
                sock.settimeout(min(PROBE, self.timeouts.connect))
                with self._context().wrap_socket(sock, server_hostname=address[0]):
                    return True
        except ssl.SSLCertVerificationError:
            return True
        except ConnectionRefusedError as error:
            if self._port:
                raise Absent(f"{self._host}:{self._port}: {error.strerror}") from error
            return False
        except OSError:
            return False

    def may_go(self, origin: Origin) -> bool:
        """Whether this registry may redirect there: to TLS always; to plain HTTP only if the caller allowed it, or on this machine."""
        own = Origin.of(self.base)
        return origin.scheme == "https" or (own.scheme == "http" and (self._plain is True or is_loopback(origin.host)))

    def path(self, repository: str, *parts: str) -> str:
        """Return the URL's path of a resource in a repository."""
        return "/".join((f"/v2/{self.prefix}{repository}", *parts))

    def scopes(self, repository: str, actions: str = "pull") -> Scopes:
        """Return the scopes that a token needs."""
        return (f"repository:{self.prefix}{repository}:{actions}",)

    def request(
        self, method: str, path: str, *, scopes: Scopes = (), headers: Mapping[str, str] | None = None, body: Body = None,
        ok: Collection[int] = (200,), again: bool = True, wait: float | None = None,
    ) -> Response:  # fmt: skip
        """Send a request, with authorization, redirects and retries.

        :param path: below this endpoint, or a URL that the endpoint gave
        :param ok: the statuses that are answers; all others are errors
        :param again: whether the request may be repeated
        :param wait: seconds for the answer
        :raises RegistryError: there is no such answer
        """

        def once() -> Response:
            LOG.debug("%s %s", method, target(self.base, path).partition("?")[0])  # the query may be a signature
            response = self._authorized(method, target(self.base, path), scopes, headers or {}, body, wait)
            if response.status not in ok:
                raise response.refusal()
            return response

        return insist(once, self.retries) if again else once()

    def read(self, path: str, read: Callable[[Response], Result], *, scopes: Scopes, accept: str) -> tuple[Response, Result]:
        """Send a GET and read a small answer whole.  If the connection is cut, ask again.

        :param read: reads the answer
        :raises RegistryError: there is no answer
        """

        def once() -> tuple[Response, Result]:
            response = self.request("GET", path, scopes=scopes, headers={"Accept": accept}, again=False)
            return response, read(response)

        return insist(once, self.retries)

    def _authorized(self, method: str, url: str, scopes: Scopes, headers: Mapping[str, str], body: Body, wait: float | None) -> Response:
        shown = self.authority.header(scopes)
        response = self._followed(method, url, headers, body, shown, wait)
        for _ in range(2):  # a token may have expired, and its successor may lack a scope
            if response.status != 401 or Origin.of(response.url) != Origin.of(self.base):
                break
            shown = self.authority.answer(response, scopes, shown)
            response = self._followed(method, url, headers, body, shown, wait)
        return response

    def _followed(self, method: str, url: str, headers: Mapping[str, str], body: Body, shown: str, wait: float | None) -> Response:
        """Follow redirects one by one, with the body.  Only the registry itself gets the Authorization header."""
        own = Origin.of(self.base)
        for _ in range(HOPS + 1):
            if not self.may_go(origin := Origin.of(url)):
                raise ProtocolError(f"{self.base} leads to {bare(url)}, which is not safe to contact")
            mine = {"Authorization": shown} if shown and origin == own else {}
            response = self.http.send(method, url, {**headers, **mine}, body, wait=wait)
            if not follows(response, method):
                return response
            response.finish()
            url = target(url, response.headers["Location"])
        raise ProtocolError(f"{method} {self.base}: more than {HOPS} redirects")

    def close(self) -> None:
        self.http.close()
