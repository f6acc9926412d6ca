"""Registries: a client for each registry, each with its own settings, found by host.

registries = Registries(Registry("127.0.0.1:5000", plain_http=True), Registry("docker.io", mirrors=["mirror.example.com"]))
registries["docker.io"]           the given client, or a new one with the usual settings
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from .client import Registry

__all__ = ["Registries", "using"]


class Registries:
    """Clients by their hosts.

    :param known: clients with settings of their own; their maker closes them
    :param usual: arguments of `Registry` for all others
    """

    def __init__(self, *known: Registry, **usual: Any) -> None:
        self._known, self._usual = {registry.host: registry for registry in known}, usual
        self._made: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def __getitem__(self, host: str) -> Registry:
        with self._lock:
            if host not in self._known and host not in self._made:
                self._made[host] = Registry(host, **self._usual)
            return self._known.get(host) or self._made[host]

    def close(self) -> None:
        """Close the clients that this object made."""
        with self._lock:
            for registry in self._made.values():
                registry.close()
            self._made.clear()

    def __enter__(self) -> Registries:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


@contextlib.contextmanager
def using(registries: Registries | Registry | None) -> Iterator[Registries]:
    """Yield the caller's registries; or new ones, closed at the end."""
    if isinstance(registries, Registries):
        yield registries
    else:
        with Registries(*filter(None, [registries])) as own:
            yield own
