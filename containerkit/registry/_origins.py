"""Who is talked to, where a registry may lead, and what is in between."""

from __future__ import annotations

import re
import urllib.request
from ipaddress import ip_address

from ..base.frozen import frozen
from .errors import ProtocolError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["Origin", "bare", "is_loopback", "proxy", "target"]

PORTS = {"http": 80, "https": 443}
LONGEST = 16384  # characters of a URL


@frozen
class Origin:
    """Who is talked to: what a password is for."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """:raises ProtocolError: not a URL of http or https, or one with a password in it"""
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ProtocolError(f"not a URL: {bare(url)!r}: {error}") from None
        if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or parts.password is not None:
            raise ProtocolError(f"not a URL to go to: {bare(url)!r}")
        return cls(parts.scheme, parts.hostname.lower(), port if port is not None else PORTS[parts.scheme])


def target(base: str, location: str) -> str:
    """Where a Location or a Link leads, seen from `base`.  Without a fragment.

    :raises ProtocolError: nowhere: not http, longer than any URL, with characters that none has
    """
    from urllib.parse import urljoin, urlsplit

    if not location or len(location) > LONGEST or not location.isascii() or any(ord(c) <= 32 or ord(c) == 127 for c in location):
        raise ProtocolError(f"not a place to go to: {bare(location)!r}")
    try:
        found: SplitResult = urlsplit(urljoin(base, location))
    except ValueError as error:
        raise ProtocolError(f"not a place to go to: {bare(location)!r}: {error}") from None
    url = found._replace(fragment="").geturl()
    Origin.of(url)
    return url


def bare(url: str) -> str:
    """A URL as an error may show it: without what lets its owner in, a password before the host or a signature in the query."""
    return re.sub(r"(//)[^/]*@", r"\1", url.partition("?")[0][:LONGEST])[:300]


def is_loopback(host: str) -> bool:
    """Whether what is sent there never leaves this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def proxy(origin: Origin) -> str:
    """The proxy to go through, as $https_proxy, $http_proxy and $no_proxy say; "" for none.  This machine is reached without.

    :raises ProtocolError: it is none
    """
    from urllib.parse import urlsplit

    if is_loopback(origin.host) or urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return ""
    found = urllib.request.getproxies_environment().get(origin.scheme, "")
    found = found if not found or "://" in found else f"http://{found}"
    if found and urlsplit(found).scheme not in PORTS:
        raise ProtocolError(f"the proxy for {origin.scheme} is none of http: {printable(found)[:100]}")
    return found
