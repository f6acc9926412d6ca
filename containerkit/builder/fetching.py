"""ADD from a URL: http and https.

    path = fetch("https://example.org/a.tar", directory, checksum="sha256:...")

The file gets the last part of the URL's path as its name, is readable for its owner only, and has the server's modification time.
Its bytes must arrive with a minimal speed and within a total time: see `Limits`.
:see: https://docs.docker.com/reference/dockerfile/#add
"""

from __future__ import annotations

import os
import posixpath
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ..errors import Unavailable
from ..image.digest import CHUNK, Digest
from ..image.errors import LimitExceeded
from ..image.limits import Limits
from .errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fetch", "is_git", "is_url", "name_of"]

CONNECT, READ, WINDOW = 30.0, 60.0, 30.0  # seconds
REDIRECTS = 10


def is_url(source: str) -> bool:
    """Return whether a source is fetched over HTTP."""
    return source.lower().startswith(("http://", "https://"))


def is_git(source: str) -> bool:
    """Return whether a source is a git repository."""
    if source.startswith(("git@", "git://", "ssh://")):
        return True
    return is_url(source) and re.search(r"\.git(#.*)?$", source) is not None


def name_of(url: str) -> str:
    """Return the file name in a URL; "" when it has none."""
    import urllib.parse

    return posixpath.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))


def fetch(url: str, directory: Path, *, checksum: str = "", limits: Limits | None = None) -> Path:
    """Fetch a file.

    :param directory: an empty one
    :param checksum: the digest that the file must have
    :param limits: the largest size, the lowest speed, and the longest time
    :raises BuildError: the file cannot be fetched, or has another digest
    """
    limits = limits or Limits.default()
    try:
        name = name_of(url)
    except ValueError as error:
        raise BuildError(f"{url} cannot be fetched: {error}") from error
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        name = "download"
    wanted = _digest(checksum)
    path = directory / name
    with _response(url, limits) as response:
        hasher = Digest.of(b"", wanted.algorithm if wanted else "sha256").hasher()
        _save(response, path, hasher, limits, url)
        found = Digest.finish(hasher)
        if wanted and found != wanted:
            raise BuildError(f"{url} is {found}, and --checksum says {wanted}")
        _stamp(path, response.headers.get("Last-Modified"))
    return path


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text) if text else None
    except ValueError as error:
        raise BuildError(f"--checksum: {error}") from error


@contextmanager
def _response(url: str, limits: Limits) -> Iterator[Any]:
    """Open a response over the connections that registries are asked over, whose timeouts bound every wait."""
    from ..registry.patience import Timeouts
    from ..registry.wire import SlowAnswer, library, pools

    try:
        urllib3 = library()
    except Unavailable as error:
        raise Unavailable("ADD of a URL", probed=error.probed, remedy=error.remedy) from error
    retries = urllib3.Retry(connect=2, read=2, redirect=REDIRECTS, other=0)
    timeouts = Timeouts(connect=CONNECT, read=READ, window=WINDOW, speed=limits.speed)
    waits = urllib3.Timeout(connect=CONNECT, read=READ)
    with pools(timeouts, None, 1) as pool, ExitStack() as opened:
        try:
            response = pool.request("GET", url, preload_content=False, decode_content=False, retries=retries, timeout=waits)
            opened.callback(response.close)
            if response.status != 200:
                raise BuildError(f"{url} cannot be fetched: the server answers {response.status} {response.reason or ''}".rstrip())
            yield response
        except (urllib3.exceptions.HTTPError, SlowAnswer, TimeoutError, ConnectionError) as error:
            slow = isinstance(error, SlowAnswer) or "SlowAnswer" in repr(error)
            raise BuildError(f"{url} cannot be fetched: {error}" + (SLOW if slow else "")) from error


SLOW = " (see Limits.speed; --limit speed=none lifts it)"


def _save(response: Any, path: Path, hasher: Any, limits: Limits, url: str) -> None:
    count, last = 0, time.monotonic() + min(limits.seconds, 1 << 30)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        while piece := _piece(response):
            count += len(piece)
            limits.check("bytes", count, url)
            if time.monotonic() > last:
                raise LimitExceeded(f"the time for {url}", limits.seconds, "seconds", setting="Limits.seconds")
            hasher.update(piece)
            file.write(piece)
    length = response.headers.get("Content-Length")
    if length is not None and length.isdecimal() and int(length) != count:
        raise BuildError(f"{url} was cut short: {count} bytes of {length}")


def _piece(response: Any) -> bytes:
    """Return the bytes that have arrived, so that the speed of a slow server is measured while it sends."""
    response.expect(CHUNK)
    data: bytes = response.read1(CHUNK)
    return data


def _stamp(path: Path, modified: str | None) -> None:
    """Set the file's time to the server's, or to 1970 when it gives none, so that two builds do not differ."""
    moment = 0.0
    if modified:
        import email.utils

        try:
            moment = email.utils.parsedate_to_datetime(modified).timestamp()
        except (TypeError, ValueError):
            moment = 0.0
    os.utime(path, (moment, moment))
