"""Lists that a registry returns page by page: tags, repositories, referrers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..image.documents import Fields
from ..image.errors import ImageError, LimitExceeded
from ._auth import Scopes
from ._endpoint import Endpoint
from ._http import Response
from ._origins import Origin, bare, target
from .errors import ProtocolError, Refused

__all__ = ["names", "pages"]

PAGES = 10_000
NAMES = 1_000_000
_NAME = re.compile(r"[\w./-]{1,255}", re.ASCII)  # only characters that are safe on a terminal
_LINK = re.compile(r"\s*+<([^<>]*+)>\s*+((?:;\s*+[A-Za-z*-]++\s*+(?:=\s*+(?:\"[^\"]*+\"|[^\s,;\"]++)\s*+)?+)*+)(?:,|$)", re.ASCII)
_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next)\s*(?:;|$)", re.ASCII | re.IGNORECASE)


def pages(
    endpoint: Endpoint, path: str, scopes: Scopes, name: str, accept: str = "application/json"
) -> Iterator[tuple[Response, dict[str, Any]]]:
    """Yield every page of a list, with its answer.

    :raises ProtocolError: a page leads to an earlier page, or to another host
    """
    seen = {url := target(endpoint.base, path)}
    for _ in range(PAGES):
        response, page = endpoint.read(url, lambda response: response.json(name), scopes=scopes, accept=accept)
        yield response, page
        if not (following := _next(response)):
            return
        url = target(response.url, following)
        if Origin.of(url) != Origin.of(endpoint.base) or "/v2/" not in url:
            raise ProtocolError(f"{endpoint.base}: the link to the next page of {name} leads to another host: {bare(url)}")
        if url in seen:
            raise ProtocolError(f"{endpoint.base}: the pages of {name} lead in a circle")
        seen.add(url)
    raise LimitExceeded(f"{name} of {endpoint.base}", PAGES, "pages")


def names(endpoint: Endpoint, path: str, scopes: Scopes, name: str) -> tuple[str, ...]:
    """Return all names of a list, from all pages.

    :param name: the JSON field of the names
    :raises ProtocolError: a name is malformed
    """
    try:
        return _names(endpoint, path, scopes, name)
    except Refused:
        if "?" not in path:
            raise
        return _names(endpoint, path.partition("?")[0], scopes, name)  # let the registry choose the size of its pages


def _names(endpoint: Endpoint, path: str, scopes: Scopes, name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for _, page in pages(endpoint, path, scopes, name):
        try:
            some = Fields(page, name).texts(name)
        except ImageError as error:
            raise ProtocolError(str(error)) from error
        if wrong := [each for each in some if not _NAME.fullmatch(each)]:
            raise ProtocolError(f"{endpoint.base}: {wrong[0][:100]!r} cannot be one of the {name}")
        found.update(dict.fromkeys(some))
        if len(found) > NAMES:
            raise LimitExceeded(f"{name} of {endpoint.base}", NAMES, "names")
    return tuple(found)


def _next(response: Response) -> str:
    """Return the URL of the next page, or "".  :see: rfc8288"""
    for value in response.all("Link")[:20]:
        at = 0
        while match := _LINK.match(value, at):
            if _NEXT.search(match[2]):
                return match[1]
            at = match.end()
            if at >= len(value):
                break
    return ""
