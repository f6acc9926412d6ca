"""From a Dockerfile to an image.

    image = build(".", tags=["kubia"])

Only the stages that the target needs are built, those that do not need each other at the same time.  Nothing has a name before
all of it is there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from ..base import checks
from ..dockerfile import parse
from ..errors import WrongType
from ..image.errors import Missing
from ..image.history import now
from ..image.image import Image
from ..image.platform import Platform
from ..image.reference import Reference
from ..store.names import full_name
from ..store.store import Store
from .cache import DIRECTORY, Cache
from .context import Context, directory_of, ignore_of, read_inside
from .digests import Digests
from .errors import BuildError
from .progress import Progress
from .session import BuildSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .mounting import SecretSource

__all__ = ["Resolve", "build"]

NAMES = ("Dockerfile", "Containerfile")
COMPRESSIONS = ("none", "gzip", "zstd")
LATEST = "253402300799"  # the last second of a year that RFC 3339 can say
Resolve = Callable[[str, Platform | None], Image]


def build(
    context: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    dockerfile: str | os.PathLike[str] | bytes | None = None,
    target: str | None = None,
    args: Mapping[str, str] | None = None,
    tags: Iterable[str | Reference] = (),
    store: Store | None = None,
    platform: Platform | str | None = None,
    cache: bool = True,
    cache_from: Iterable[str | os.PathLike[str]] = (),
    cache_to: str | os.PathLike[str] | None = None,
    secrets: Mapping[str, SecretSource] | None = None,
    network: str = "default",
    userns: str = "",
    labels: Mapping[str, str] | None = None,
    contexts: Mapping[str, str | os.PathLike[str] | Image] | None = None,
    compression: str = "gzip",
    pull: bool = False,
    progress: Progress | None = None,
    resolve: Resolve | None = None,
) -> Image:
    """Builds an image and keeps it in a store.

    :param context: a directory; or a tar, compressed or not: its path, its bytes or an open file
    :param dockerfile: a path, here or in the context; "-" for standard input; bytes are the text itself.  ``Dockerfile`` in the
        context unless given
    :param target: the stage that becomes the image: a name or a number; the last one unless given
    :param args: values of ARGs
    :param tags: names that lead to the image once it is there
    :param store: where it is kept; the user's own unless given
    :param platform: for which machine; this one unless given
    :param cache: whether what was built before counts
    :param cache_from: OCI layouts or references to take what was built elsewhere from; one that is not there is passed over
    :param cache_to: an OCI layout or a reference that gets what was built here
    :param secrets: by id: bytes, or the path of a file
    :param network: of RUN: "none", or "host"; "default" is the host's
    :param userns: "host": RUN by root is root of this machine, who may make devices; else it is root of ids that are nobody's here
    :param labels: more labels of the image
    :param contexts: more contexts by name, for FROM and --from: directories, ``docker-image://`` and a reference, or images
    :param compression: of new layers: "none", "gzip" or "zstd"
    :param pull: ask the registries for every base, also where the store has it
    :param progress: is called with each `Event`, from any thread, one at a time
    :param resolve: gives the image of a reference for a platform; the store's unless given, and a registry's where it has none
    :return: the image, read from the store
    :raises DockerfileError: the Dockerfile cannot be read;  :raises FailedStep: an instruction failed
    :raises BuildError: the build cannot be done as asked;  :raises InvalidReference: a tag is no name.  No name has changed
    :raises ImageError, RegistryError: `cache_to` cannot be written; the image is there, and has its names
    """
    names = [full_name(tag) for tag in tags]
    _check_types(context, dockerfile)
    _check(network, compression, userns)
    store = store or Store()
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    given = checks.mapping(args, "args")
    epoch = _epoch(given)
    with ExitStack() as opened:
        from . import exchange
        from .solving import Solver
        from .workspace import Workspace

        workshop = opened.enter_context(Workspace(store, compression=compression, epoch=epoch, userns=userns))
        directory = directory_of(context, workshop)
        path, text = _dockerfile(dockerfile, directory)
        parsed = parse(text, name=str(path or "Dockerfile"))
        here = Context(directory, ignore_of(directory, path))
        opened.callback(here.close)
        remembered, digests = Cache(store.directory / DIRECTORY), Digests.beside(store.directory, directory)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)) if epoch is not None else ""
        solver = Solver(parsed, here, resolve or _resolver(store, pull), wanted, target, dict(contexts or {}), progress)
        works = BuildSession(
            workshop, remembered, digests, solver.nothing, args=given, outer=solver.outer(given), secrets=dict(secrets or {}),
            network=network, use_cache=cache, created=created,
        )  # fmt: skip
        for source in cache_from if cache else ():
            exchange.import_cache(source, workshop, remembered)
        state = solver.solve(works)
        solver.warn(works)
        digests.save()
        changes = {"labels": {**state.config.labels, **(labels or {})}} if labels else {}
        config = state.config.with_(created=state.created or created or now(), **changes)
        image = store.put(Image.of(config, state.layers), *names)
        if cache_to is not None:
            exchange.export_cache(cache_to, works.kept, store)
        return image


def _check_types(context: object, dockerfile: object) -> None:
    """:raises WrongType: no context, or no Dockerfile"""
    if not checks.is_path(context) and not hasattr(context, "read"):
        raise WrongType(f"a build's context is a directory, or a tar: its path, its bytes or an open file, not {checks.said(context)}")
    if dockerfile is not None and not checks.is_path(dockerfile):
        raise WrongType(f"dockerfile is a path, or the text itself as bytes, not {checks.said(dockerfile)}")


def _check(network: str, compression: str, userns: str) -> None:
    """Before anything is done.  :raises BuildError: it could not be done"""
    from ..parts.name_files import NETWORKS
    from .workspace import check_userns

    if network not in NETWORKS:
        raise BuildError(f"a network is one of {', '.join(NETWORKS)}, not {network!r}")
    check_userns(userns)
    if compression not in COMPRESSIONS:
        raise BuildError(f"a compression is one of {', '.join(COMPRESSIONS)}, not {compression!r}")


def _epoch(args: Mapping[str, str]) -> int | None:
    """The time that no time in the image is later than.  :raises BuildError: not a number"""
    text = args.get("SOURCE_DATE_EPOCH", os.environ.get("SOURCE_DATE_EPOCH", ""))
    if text and not (text.isascii() and text.isdecimal() and len(text) <= len(LATEST) and int(text) <= int(LATEST)):
        raise BuildError(f"SOURCE_DATE_EPOCH is a number of seconds since 1970, until 9999, not {text[:40]!r}")
    return int(text) if text else None


def _dockerfile(given: str | os.PathLike[str] | bytes | None, directory: Path) -> tuple[Path | None, bytes]:
    """The path of a Dockerfile, where it has one, and its text."""
    if isinstance(given, bytes):
        return None, given
    if given is not None and os.fspath(given) == "-":
        return None, sys.stdin.buffer.read()
    for path in [directory / name for name in NAMES] if given is None else _places(given, directory):
        if path.is_relative_to(directory):
            text = read_inside(directory, str(path.relative_to(directory)))
        else:
            text = path.read_bytes() if path.is_file() else None
        if text is not None:
            return path, text
    raise BuildError(f"there is no {'Dockerfile' if given is None else os.fspath(given)} in {directory}")


def _places(given: str | os.PathLike[str], directory: Path) -> list[Path]:
    """Where a Dockerfile may be: here, then in the context.  ``..`` leads out of a context by its name, or not at all."""
    return [Path(os.path.abspath(given)), *([] if ".." in Path(given).parts else [directory / given])]


def _resolver(store: Store, always: bool) -> Resolve:
    def resolve(reference: str, platform: Platform | None) -> Image:
        if not always:
            with suppress(Missing):
                return store.get(reference, platform)
        from ..registry import pull

        return pull(reference, store, platform=platform)

    return resolve
