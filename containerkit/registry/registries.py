"""Many registries, each with its own settings: whoever has a reference finds the client for it here.

registries = Registries(Registry("127.0.0.1:5000", plain_http=True), Registry("docker.io", mirrors=["mirror.example.com"]))
registries["docker.io"]           one that was given, or one made with the usual settings
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
    """Clients by the host they are for.

    :param known: those with settings of their own; who made them closes them
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
        """Closes those that were made here."""
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
    """The caller's; or some of our own, closed at the end."""
    if isinstance(registries, Registries):
        yield registries
    else:
        with Registries(*filter(None, [registries])) as own:
            yield own
