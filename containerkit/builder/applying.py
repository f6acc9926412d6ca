"""Builds from Python, one operation at a time, by the same code as the instructions of a Dockerfile.

    image = add(Image.scratch(), "rootfs", "/")
    image = run(image, ["sh", "-c", "echo $NAME > /made"], env={"NAME": "x"})

The resulting image is in a store without a name.  It is held for as long as the value, or an image made from it, lives.  Name it with
`Store.tag(image, "app:1")`, push it or save it; otherwise the first `gc` after the program's end removes it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..base.frozen import replace
from ..dockerfile import instructions as dockerfile
from ..image.history import now
from ..image.image import Image
from ..store.store import Store
from .cache import DIRECTORY, Cache
from .context import Context
from .digests import Digests
from .errors import BuildError
from .fetching import is_url
from .mounting import SecretSource
from .progress import Progress, Reporter
from .session import BuildSession
from .solving import state_of
from .state import State
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = ["add", "run"]

StrPath = str | os.PathLike[str]


def add(
    image: Image,
    source: StrPath | bytes | Sequence[StrPath],
    dest: str,
    *,
    chown: str = "",
    chmod: str | int = "",
    excludes: Iterable[str] = (),
    unpack: bool = False,
    checksum: str = "",
    origin: Image | None = None,
    store: Store | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Image:
    """Return `image` with more files, as COPY adds them.  Of a directory its contents are copied.

    :param source: a path; a list of paths, one layer each; bytes for the content of one file; or a URL.  Names are literal: no
        wildcards
    :param dest: a path inside; a relative one is below the image's working directory.  One that ends in a slash is a directory
    :param chown: "user:group", as names in the image's own files or as numbers; root by default
    :param chmod: octal or symbolic
    :param excludes: patterns of files to leave out
    :param unpack: unpack a tar rather than copy it
    :param checksum: the digest of a fetched file
    :param origin: an image that contains the paths; files keep their owners
    :param store: the store that keeps the image; by default the one that has it now, or else the user's own
    :param cache: reuse the results of earlier builds
    :raises FailedStep: the files cannot be added
    """
    mode = f"{chmod:o}" if isinstance(chmod, int) else chmod
    common: dict[str, Any] = {"dest": dest, "chown": chown, "chmod": mode, "excludes": tuple(excludes)}
    if isinstance(source, bytes):
        text = dockerfile.Heredoc("content", source.decode(errors="surrogateescape"), expand=False)
        return _done(image, dockerfile.Copy(sources=(), heredocs=(text,), **common), store, cache, progress, None)
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    for path in paths:
        names, directory = _placed(path, origin)
        into = {**common, "dest": _into(dest, len(paths))}
        kind = dockerfile.Add(sources=(names,), checksum=checksum if is_url(names) else "", unpack=unpack, **into)
        step = kind if unpack or is_url(names) else dockerfile.Copy(sources=(names,), **into)
        image = _done(image, step, store, cache, progress, origin or directory)
        store = store or Store.of(image.source)
    return image


def run(
    image: Image,
    argv: str | Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: str | None = None,
    network: str = "default",
    userns: str = "",
    mounts: Iterable[dockerfile.Mount] = (),
    secrets: Mapping[str, SecretSource] | None = None,
    store: Store | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Image:
    """Return `image` after a program ran in it, as RUN does.

    :param argv: the program and its arguments, or one line for the image's shell
    :param env: more variables for this program alone
    :param user: the user of the program; by default the image's
    :param cwd: its working directory; by default the image's
    :param network: "none", or "host", which is the default
    :param userns: "host": root inside is root of this machine.  By default root inside has ids that no user of this machine has
    :param mounts: values of `dockerfile.instructions`: Bind, Cache, Tmpfs, Secret; a Bind without `from_` has no context
    :param secrets: by id: bytes, or the path of a file
    :param store: as for `add`
    :raises FailedStep: the program did not exit with 0, or could not be started
    """
    from .workspace import check_userns

    check_userns(userns)
    command = dockerfile.Command((argv,), shell=True) if isinstance(argv, str) else dockerfile.Command(tuple(argv))
    step = dockerfile.Run(command=command, mounts=tuple(mounts), network=network)
    given = {"user": user, "working_dir": cwd}
    changes = {name: value for name, value in given.items() if value is not None}

    def changed(state: State) -> State:
        names = {**state.config.environment, **(env or {})}
        return replace(state, config=state.config.with_(env=[f"{name}={value}" for name, value in names.items()], **changes))

    return _done(image, step, store, cache, progress, None, changed=changed, secrets=secrets, userns=userns)


def _placed(path: StrPath, origin: Image | None) -> tuple[str, Path | None]:
    """Return the name of a source and its context: a directory is its own context, a file's is its parent."""
    text = os.fspath(path)
    if origin is not None or is_url(text):
        return _literal(text) if origin is not None else text, None
    here = Path(text).absolute()
    if not os.path.lexists(here):
        raise BuildError(f"the source {text} does not exist")
    return (".", here) if here.is_dir() else (_literal(here.name), here.parent)


def _literal(name: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", name)


def _into(dest: str, count: int) -> str:
    return dest if count == 1 or dest.endswith("/") else dest + "/"


def _done(
    image: Image, step: dockerfile.Instruction, store: Store | None, cache: bool, progress: Progress | None, origin: Image | Path | None, *,
    changed: Callable[[State], State] = lambda state: state, secrets: Mapping[str, SecretSource] | None = None, userns: str = "",
) -> Image:  # fmt: skip
    """Apply one operation.  The image's config changes only by the operation's entry in the history."""
    store = store or Store.of(image.source) or Store()
    with ExitStack() as opened:
        from .stage import perform, reported
        from .workspace import Workspace

        workshop = opened.enter_context(Workspace(store, userns=userns))
        workshop.hold([image.digest, image.id, *(layer.digest for layer in image.layers)])
        tree, owned = _tree(opened, workshop, origin)
        digests = Digests.beside(store.directory, origin) if isinstance(origin, Path) else Digests()
        remembered = Cache(store.directory / DIRECTORY)
        works = BuildSession(workshop, remembered, digests, lambda reference: (tree, owned), secrets=dict(secrets or {}), use_cache=cache)
        reporter = Reporter(progress, threading.Lock(), stage="image").at(1, 1, str(step))
        before = changed(state_of(image))
        after = reported(lambda: perform(works, step, before, reporter), step, reporter)
        digests.save()
        config = image.config.with_(history=after.config.history, created=after.created or now())
        return store.keep(Image.of(config, after.layers, like=image.manifest))


def _tree(opened: ExitStack, workshop: Workspace, origin: Image | Path | None) -> tuple[Tree, bool]:
    if isinstance(origin, Image):
        workshop.hold([origin.digest, origin.id, *(layer.digest for layer in origin.layers)])
        return opened.enter_context(workshop.tree(origin.layers)), True
    if origin is None:
        return opened.enter_context(Tree()), False
    context = Context(origin)
    opened.callback(context.close)
    return context.tree, False
