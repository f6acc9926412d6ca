"""The lower layers of a `LayerFS`: directories, and objects that have layers of their own, as an image has.

An object of the second kind says where its layers are when it is asked, and keeps them there for as long as it is held.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache

from ..base import checks
from ..base.protocols import Protocol, runtime_checkable
from ..errors import PlanError, WrongType
from ..linux import syscalls
from ..linux.facts import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Layered", "Lower", "Lowers"]

MOST = 500  # layers of one overlay


@runtime_checkable
class Layered(Protocol):
    """An object that has layers and can say where they are, as an `Image` does."""

    def hold(self, *, xattrs: str | None = None) -> AbstractContextManager[Sequence[Path]]:
        """Return the directories, the lowest first, which stay as they are for as long as the ``with`` lasts.

        :param xattrs: which attributes say "opaque" in them
        """


#: One layer below: a directory, or an object that has layers of its own.
Lower = str | os.PathLike[str] | Layered


class Lowers:
    """The layers below.  Making it looks at directories only; `Layered` objects are held from the first look at `paths`.

    :param sources: the lowest first
    :param xattrs: which attributes the layers have
    :raises PlanError: none, too many, or one that is no directory
    """

    def __init__(self, sources: Iterable[Lower], xattrs: str) -> None:
        self.sources = tuple(map(_source, sources))
        self._xattrs, self._lock = xattrs, threading.Lock()
        self._paths: tuple[str, ...] | None = None
        self._held = ExitStack()
        weakref.finalize(self, _let_go, os.getpid(), self._held)
        if not any(_is_layered(source) for source in self.sources):
            self._paths = _checked(self.sources)  # type: ignore[arg-type]

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories, the lowest first.  :raises ImageError: an image cannot be unpacked"""
        with self._lock:
            if self._paths is None:
                with ExitStack() as held:
                    self._paths = _checked([path for source in self.sources for path in self._of(source, held)])
                    self._held.push(held.pop_all())
            return self._paths

    def _of(self, source: str | Layered, held: ExitStack) -> Sequence[str | Path]:
        return held.enter_context(source.hold(xattrs=self._xattrs)) if _is_layered(source) else [source]  # type: ignore[union-attr,list-item]

    def close(self) -> None:
        """Close the held directories.  The next look at `paths` opens them again."""
        with self._lock:
            self._held.close()
            if any(_is_layered(source) for source in self.sources):
                self._paths = None

    def __str__(self) -> str:
        return f"{len(self._paths)} layers" if self._paths is not None else "an image, not unpacked"


def _is_layered(lower: object) -> bool:
    return _has_layers(type(lower))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _has_layers(kind: type) -> bool:
    """Whether a source is `Layered`.  The class is asked, because asking a protocol takes long."""
    return issubclass(kind, Layered)


def _source(lower: Lower) -> str | Layered:
    if _is_layered(lower) and not isinstance(lower, type):
        return lower  # type: ignore[return-value]
    if not checks.is_path(lower):
        hint = ": give layers one by one, as *layers" if isinstance(lower, list | tuple) else ""
        raise WrongType(f"a layer is a directory's path, an Image or a LayerFS, not {checks.said(lower)}{hint}")
    path = os.fsdecode(syscalls.text(checks.path(lower, "a layer")))
    return os.path.normpath(path if path.startswith("/") else os.path.join(ask(os.getcwd), path))


def _let_go(pid: int, held: ExitStack) -> None:
    """Release the held layers, except in a forked child: there they are the parent's."""
    if os.getpid() == pid:
        held.close()


def _checked(found: Iterable[str | Path]) -> tuple[str, ...]:
    paths = tuple(os.fspath(path) for path in found)
    if not 0 < len(paths) <= MOST:
        raise PlanError(f"an overlay has 1 to {MOST} layers, not {len(paths)}")
    for path in paths:
        if not ask(os.path.isdir, path):
            raise PlanError(f"a layer is a directory, and {path} is not")
        if paths.count(path) > 1:
            raise PlanError(f"{path} is named twice: a layer is in an overlay once")
    return paths
