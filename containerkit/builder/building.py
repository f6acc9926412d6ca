"""Builds from a Dockerfile.

    image = build(".", tags=["kubia"])

Only the stages that the target needs are built; stages independent of each other are built at the same time.  Names are set after
everything else is stored.
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
LATEST = "253402300799"  # the last second of the year 9999, the last that RFC 3339 can express
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
    """Build an image and keep it in a store.

    :param context: a directory; or a tar, compressed or not: its path, its bytes or an open file
    :param dockerfile: a path, relative to the working directory or in the context; "-" for standard input; bytes are the text itself.
        By default ``Dockerfile`` in the context
    :param target: the stage that becomes the image: a name or a number; the last one by default
    :param args: values of ARGs
    :param tags: names for the image
    :param store: the store that keeps the image; the user's own by default
    :param platform: the platform to build for; this machine's by default
    :param cache: reuse the results of earlier builds
    :param cache_from: OCI layouts or references with results of builds elsewhere; one that does not exist is skipped
    :param cache_to: an OCI layout or a reference that gets the results of this build
    :param secrets: by id: bytes, or the path of a file
    :param network: of RUN: "none", or "host"; "default" is the host's
    :param userns: "host": root in a RUN is root of this machine, so it may make devices.  By default root has ids that no user of this
        machine has
    :param labels: more labels of the image
    :param contexts: more contexts by name, for FROM and --from: directories, ``docker-image://`` and a reference, or images
    :param compression: of new layers: "none", "gzip" or "zstd"
    :param pull: ask the registries for every base, even when the store has it
    :param progress: is called with each `Event`, from any thread, one at a time
    :param resolve: returns the image of a reference for a platform; by default the store's, or else a registry's
    :return: the image, read from the store
    :raises DockerfileError: the Dockerfile cannot be read
    :raises FailedStep: an instruction failed
    :raises BuildError: an option cannot be honoured
    :raises InvalidReference: a tag is malformed.  After any of these four no name has changed
    :raises ImageError, RegistryError: `cache_to` cannot be written; the image is stored and has its names
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
    """Check the types of the context and the Dockerfile.

    :raises WrongType: one is neither a path nor data
    """
    if not checks.is_path(context) and not hasattr(context, "read"):
        raise WrongType(f"a build's context is a directory, or a tar: its path, its bytes or an open file, not {checks.said(context)}")
    if dockerfile is not None and not checks.is_path(dockerfile):
        raise WrongType(f"dockerfile is a path, or the text itself as bytes, not {checks.said(dockerfile)}")


def _check(network: str, compression: str, userns: str) -> None:
    """Check options before the build begins.

    :raises BuildError: an option has a value that does not exist
    """
    from ..parts.name_files import NETWORKS
    from .workspace import check_userns

    if network not in NETWORKS:
        raise BuildError(f"a network is one of {', '.join(NETWORKS)}, not {network!r}")
    check_userns(userns)
    if compression not in COMPRESSIONS:
        raise BuildError(f"a compression is one of {', '.join(COMPRESSIONS)}, not {compression!r}")


def _epoch(args: Mapping[str, str]) -> int | None:
    """Return SOURCE_DATE_EPOCH: no time in the image is later.

    :raises BuildError: the value is not a number of seconds
    """
    text = args.get("SOURCE_DATE_EPOCH", os.environ.get("SOURCE_DATE_EPOCH", ""))
    if text and not (text.isascii() and text.isdecimal() and len(text) <= len(LATEST) and int(text) <= int(LATEST)):
        raise BuildError(f"SOURCE_DATE_EPOCH is a number of seconds since 1970, until 9999, not {text[:40]!r}")
    return int(text) if text else None


def _dockerfile(given: str | os.PathLike[str] | bytes | None, directory: Path) -> tuple[Path | None, bytes]:
    """Return the text of a Dockerfile, and its path if it has one."""
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
    raise BuildError(f"{directory} has no {'Dockerfile' if given is None else os.fspath(given)}")


def _places(given: str | os.PathLike[str], directory: Path) -> list[Path]:
    """Return the paths to try for a Dockerfile: from the working directory, then in the context.

    A path with ``..`` is not tried in the context, because it could lead out of it.
    """
    return [Path(os.path.abspath(given)), *([] if ".." in Path(given).parts else [directory / given])]


def _resolver(store: Store, always: bool) -> Resolve:
    def resolve(reference: str, platform: Platform | None) -> Image:
        if not always:
            with suppress(Missing):
                return store.get(reference, platform)
        from ..registry import pull

        return pull(reference, store, platform=platform)

    return resolve
