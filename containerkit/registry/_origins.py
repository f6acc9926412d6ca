"""Origins of URLs, the URLs a registry may lead to, and the proxies in between."""

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
    """A scheme, host and port: the server that a password is for."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Return the origin of a URL.  :raises ProtocolError: not a URL of http or https, or one with a password in it"""
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ProtocolError(f"not a URL: {bare(url)!r}: {error}") from None
        if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or parts.password is not None:
            raise ProtocolError(f"not a URL to follow: {bare(url)!r}")
        return cls(parts.scheme, parts.hostname.lower(), port if port is not None else PORTS[parts.scheme])


def target(base: str, location: str) -> str:
    """Resolve a Location or Link header against `base`, without the fragment.

    :raises ProtocolError: not http, longer than any URL, or with characters that no URL has
    """
    from urllib.parse import urljoin, urlsplit

    if not location or len(location) > LONGEST or not location.isascii() or any(ord(c) <= 32 or ord(c) == 127 for c in location):
        raise ProtocolError(f"not a URL to follow: {bare(location)!r}")
    try:
        found: SplitResult = urlsplit(urljoin(base, location))
    except ValueError as error:
        raise ProtocolError(f"not a URL to follow: {bare(location)!r}: {error}") from None
    url = found._replace(fragment="").geturl()
    Origin.of(url)
    return url


def bare(url: str) -> str:
    """Return a URL that an error may show: without a password before the host, and without the query, which may be a signature."""
    return re.sub(r"(//)[^/]*@", r"\1", url.partition("?")[0][:LONGEST])[:300]


def is_loopback(host: str) -> bool:
    """Whether data sent to the host stays on this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def proxy(origin: Origin) -> str:
    """Return the proxy for an origin, by $https_proxy, $http_proxy and $no_proxy; "" for none, and for this machine.

    :raises ProtocolError: the proxy's URL is not http or https
    """
    from urllib.parse import urlsplit

    if is_loopback(origin.host) or urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return ""
    found = urllib.request.getproxies_environment().get(origin.scheme, "")
    found = found if not found or "://" in found else f"http://{found}"
    if found and urlsplit(found).scheme not in PORTS:
        raise ProtocolError(f"the proxy for {origin.scheme} is not an HTTP proxy: {printable(found)[:100]}")
    return found
