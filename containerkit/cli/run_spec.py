"""From the options of a verb to the spec that they ask for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence

from ..container.from_image import environment
from ..container.namespaces import HOST, NEW, Namespaces
from ..container.profile import Profile
from ..container.spec import ContainerSpec
from ..errors import PlanError
from ..parts import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..image import Image

__all__ = ["image_spec", "root_spec", "words_of"]


def words_of(options: argparse.Namespace) -> tuple[bool, list[str]]:
    """Whether the first word is an image, and the words.

    The words after `--` are a program of the root that the other options make; with --rootfs also without `--`.
    """
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    return words is options.words and not options.rootfs, words


def image_spec(options: argparse.Namespace, image: Image) -> ContainerSpec:
    """Return the spec: the options of the command line, and the image's values for the rest.

    :raises PlanError: there is no program, or an option cannot be met
    """
    name, *words = options.words
    return ContainerSpec.from_image(
        image.config, words, image=name, entrypoint=options.entrypoint, env=_asked(options.env), term=os.environ.get("TERM"),
        profile=_profile(options, setuid="no-new-privileges" not in options.security_opt), **_common(options),
    )  # fmt: skip


def root_spec(options: argparse.Namespace, rootfs: Iterable[str | os.PathLike[str]], words: Sequence[str]) -> ContainerSpec:
    """Return the spec of a program in a root of the caller's.  :raises PlanError: as `image_spec`; an option needs an image"""
    if options.entrypoint is not None:
        raise PlanError("--entrypoint takes the place of an image's, and this is no image: name the program")
    env = environment(os.environ.get("TERM")) | _asked(options.env)
    directories = [path and os.path.abspath(path) for path in map(str, rootfs)]
    return ContainerSpec(words, env=env, rootfs=directories, profile=_profile(options, setuid=False), **_common(options))


def _common(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields that do not depend on an image."""
    said = {"user": options.user, "cwd": options.workdir or None, "stop_signal": options.stop_signal or None}
    alone = options.network == "none"
    chosen = dict.fromkeys(options.share, HOST) | {"net": NEW if alone else HOST}
    places = [*map(_volume, options.volume), *(mounts.Tmpfs(target) for target in options.tmpfs)]
    return {
        **{name: value for name, value in said.items() if value is not None},
        "stop_timeout": options.stop_timeout if options.stop_timeout >= 0 else None, "read_only": options.read_only,
        "hostname": options.hostname,
        "ids": "host" if options.userns == "host" else "subids" if options.subids else "own", "namespaces": Namespaces(**chosen),
        "mounts": (mounts.Dev(), *([mounts.Sysfs()] if alone else []), *places), "init": options.init,
        "terminal": options.tty, "interactive": options.interactive or options.tty,
    }  # fmt: skip


def _profile(options: argparse.Namespace, *, setuid: bool) -> Profile:
    """Return the profile.  :param setuid: whether an image's su(1) and ping(8) work, as with docker"""
    return Profile.privileged() if options.privileged else Profile(no_new_privileges=not setuid)


def _asked(words: Iterable[str]) -> dict[str, str]:
    """Return the variables of --env.  A name without a value takes the value of our own variable, if there is one."""
    pairs = (word.partition("=") for word in words)
    return {name: value if given else os.environ[name] for name, given, value in pairs if given or name in os.environ}


def _volume(text: str) -> mounts.Bind:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    words = mode.split(",") if mode else []
    if not source or not target or set(words) - {"ro", "rw", "idmap"} or {"ro", "rw"} <= set(words):
        raise PlanError(f"a volume is SRC:DST, or with :ro, :idmap or :ro,idmap after it, not {text!r}")
    options = ("nodev",) if os.path.isdir(source) else ()  # a device that is named may be used; devices in a directory may not
    return mounts.Bind(os.path.abspath(source), target, readonly="ro" in words, options=options, idmap="idmap" in words)
