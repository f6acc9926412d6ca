"""The options of the verbs that make a container, and the spec that they ask for."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

from ..container.from_image import environment
from ..container.namespaces import HOST, NEW, Namespaces
from ..container.profile import Profile
from ..container.spec import ContainerSpec
from ..errors import PlanError
from ..image import Image
from ..parts import mounts
from .parser import Parser

__all__ = ["add_options", "image_spec", "root_spec", "words_of"]

PROGRAMS = "sh,ls,cat,hostname,id,ps,mount,env,sleep,touch,rm,mkdir,stat,readlink,echo,true,false"
KINDS = ("user", "pid", "ipc", "uts", "cgroup")


def add_options(parser: Parser) -> None:
    """All of them, and the words that follow."""
    parser.usage = f"{parser.prog} [options] IMAGE [CMD...]\n       {parser.prog} [options] [--rootfs DIR] -- CMD..."
    parser.add_argument("--help", action="help", help="show this")
    parser.takes_store(failed=125)
    parser.takes_registry()
    _add_root(parser)
    _add_program(parser)
    _add_place(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="IMAGE [CMD...] | -- CMD...", help=argparse.SUPPRESS, action=_Words)


def _add_root(parser: Parser) -> None:
    group = parser.add_argument_group("its root")
    add, flag = group.add_argument, functools.partial(parser.flag, into=group)
    add(
        "--rootfs",
        metavar="DIR",
        action="append",
        help="the root, instead of an image; more than once: layers, the lowest first; else one from this machine's own programs",
    )
    add("--programs", default=PROGRAMS, metavar="A,B", help="what the root from this machine's programs holds")
    flag("--read-only", help="nothing in the root can be changed")
    add("--keep", metavar="DIR", help="keep what it changes in this directory, for the next run")
    flag("--rm", help="accepted: what it changes is gone afterwards anyway, unless --keep")
    add("--pull", choices=["missing", "never", "always"], default="missing", help="when the image is fetched; missing unless given")
    add("--platform", metavar="OS/ARCH", help="the image for this machine, out of several")


def _add_program(parser: Parser) -> None:
    group = parser.add_argument_group("its program")
    add, flag = group.add_argument, functools.partial(parser.flag, into=group)
    add("--entrypoint", metavar="PROGRAM", help='instead of the image\'s; "" for none')
    add("-u", "--user", metavar="USER[:GROUP]", help="instead of the image's; a name of its own, or a number")
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="a variable of its environment; without a value, ours")
    add("-w", "--workdir", metavar="DIR", help="where it starts, inside; where the image says, or /")
    flag("-i", "--interactive", help="pass our standard input on; implied by -t")
    flag("-t", "--tty", help="give it a terminal")
    flag("--init", help="a small process 1 that passes signals on and reaps")
    add("--timeout", type=float, metavar="SECONDS", help="kill it after so long; exit code 124")
    add("--stop-signal", metavar="SIGNAL", help="how it is asked to end, when we are; instead of the image's")
    add("--stop-timeout", type=float, default=10, metavar="SECONDS", help="how long it then has; 10 unless given, -1 for ever")


def _add_place(parser: Parser) -> None:
    group = parser.add_argument_group("what else it has")
    add, flag = group.add_argument, functools.partial(parser.flag, into=group)
    add("-h", "--hostname", default="container", help="its host name; container unless given")
    add(
        "-v", "--volume", action="append", default=[], metavar="SRC:DST[:ro,idmap]",
        help="a file or directory of this machine, also inside; root's files are nobody's there, unless idmap",
    )  # fmt: skip
    add("--tmpfs", action="append", default=[], metavar="DST", help="memory as a directory")
    add(
        "--network", "--net", choices=["none", "host"], default="none",
        help="none: its own loopback only; host: this machine's; none unless given",
    )  # fmt: skip
    add(
        "--share",
        action="append",
        default=[],
        choices=KINDS,
        help="keep this machine's namespace of the kind",
    )
    add("--userns", choices=["host"], help="host: this machine's ids inside, so that root is this machine's root; else it is nobody's")
    flag("--subids", help="map the whole range of ids that /etc/subuid gives")
    flag("--privileged", help="all capabilities of its namespaces, no system call filter, nothing hidden")
    add("--security-opt", action="append", default=[], choices=["no-new-privileges"], help="an image's su(1) and the like do not work")


class _Words(argparse.Action):
    """The image, or ``--``, and all that follows.  argparse takes none for enough."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if not values or values == ["--"]:
            parser.error("an image, or -- and a program, is missing")
        setattr(namespace, self.dest, values)


def words_of(options: argparse.Namespace) -> tuple[bool, list[str]]:
    """Whether the first word is an image, and the words.

    What follows `--` is a program of the root that the other options make; so it is with --rootfs, also without `--`.
    """
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    return words is options.words and not options.rootfs, words


def image_spec(options: argparse.Namespace, image: Image) -> ContainerSpec:
    """What the command line says, and for the rest what the image does.

    :raises PlanError: there is no program, or an option says what cannot be
    """
    name, *words = options.words
    return ContainerSpec.from_image(
        image.config, words, image=name, entrypoint=options.entrypoint, env=_asked(options.env), term=os.environ.get("TERM"),
        profile=_profile(options, setuid="no-new-privileges" not in options.security_opt), **_common(options),
    )  # fmt: skip


def root_spec(options: argparse.Namespace, rootfs: Iterable[str | os.PathLike[str]], words: Sequence[str]) -> ContainerSpec:
    """A program in a root of the caller's.  :raises PlanError: as for `image_spec`; something that only an image has was asked for"""
    if options.entrypoint is not None:
        raise PlanError("--entrypoint takes the place of an image's, and this is no image: name the program")
    env = environment(os.environ.get("TERM")) | _asked(options.env)
    directories = [path and os.path.abspath(path) for path in map(str, rootfs)]
    return ContainerSpec(words, env=env, rootfs=directories, profile=_profile(options, setuid=False), **_common(options))


def _common(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that do not depend on an image."""
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
    """:param setuid: as docker has it, an image's su(1) and ping(8) work"""
    return Profile.privileged() if options.privileged else Profile(no_new_privileges=not setuid)


def _asked(words: Iterable[str]) -> dict[str, str]:
    """A name without a value is one of ours, where we have it."""
    pairs = (word.partition("=") for word in words)
    return {name: value if given else os.environ[name] for name, given, value in pairs if given or name in os.environ}


def _volume(text: str) -> mounts.Bind:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    words = mode.split(",") if mode else []
    if not source or not target or set(words) - {"ro", "rw", "idmap"} or {"ro", "rw"} <= set(words):
        raise PlanError(f"a volume is SRC:DST, or with :ro, :idmap or :ro,idmap after it, not {text!r}")
    options = ("nodev",) if os.path.isdir(source) else ()  # a device that is named is meant; those in a directory are not
    return mounts.Bind(os.path.abspath(source), target, readonly="ro" in words, options=options, idmap="idmap" in words)
