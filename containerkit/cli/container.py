"""Verbs that make a container: run, plan, trace.  They take the same options."""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import os
import sys
import time
from collections.abc import Iterator

from ..base import late
from ..core.errors import StepError
from ..core.plan import Plan, plan
from ..core.process import Process
from ..core.stdio import DEVNULL, PIPE, PTY, Stream
from ..core.step import Part
from ..errors import ContainerKitError, PlanError
from ..layers.layerfs import LayerFS
from ..parts import mounts, ns
from ..parts.capabilities import Capabilities
from ..parts.privileges import NoNewPrivileges
from ..parts.seccomp import Seccomp
from .contained import Contained, chosen, of_image, of_root
from .parser import Parser
from .relay import relay
from .stopping import Stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

PROGRAMS = "sh,ls,cat,hostname,id,ps,mount,env,sleep,touch,rm,mkdir,stat,readlink,echo,true,false"


def _declare_run(parser: Parser) -> None:
    _add_options(parser)
    parser.set_defaults(verb=_run)


def _declare_trace(parser: Parser) -> None:
    _add_options(parser)
    parser.set_defaults(verb=_trace)


def _declare_plan(parser: Parser) -> None:
    _add_options(parser)
    parser.add_argument("--explain", action="store_true", help="with the reason for every step, and its man page")
    parser.add_argument("--json", action="store_true", help="for other programs")
    parser.set_defaults(verb=_plan)


def _add_options(parser: Parser) -> None:
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
    add("--stop-timeout", type=float, default=10, metavar="SECONDS", help="how long it then has; 10 unless given")


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
        choices=["user", "pid", "ipc", "uts", "cgroup"],
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


@contextlib.contextmanager
def planned(options: argparse.Namespace) -> Iterator[tuple[Plan, Contained]]:
    """The plan that the options ask for, and what runs in it; the changes' directory, and the hold on an image, live as long.

    What follows `--` is a program of the root that the other options make; so it is with --rootfs, also without `--`.
    Anything else begins with an image.
    """
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    image = chosen(options) if words is options.words and not options.rootfs else None
    layers = [image] if image else options.rootfs or [_from_programs(options.programs)]
    with LayerFS(*layers, readonly=options.read_only, directory=options.keep) as root:
        inside = of_image(image, root, options) if image else of_root(root, options, words)
        parts = _parts(options, root, inside)
        yield plan(*parts, run=inside.argv, env=inside.env, cwd=inside.cwd, die_with_parent=True), inside


def _from_programs(names: str) -> Path:
    from ..rootfs import from_programs

    return from_programs([name for name in names.split(",") if name])


def _parts(options: argparse.Namespace, root: LayerFS, inside: Contained) -> Iterator[Part]:
    kinds: dict[str, Part] = {
        "user": inside.user, "pid": ns.Pid(init=options.init), "ipc": ns.Ipc(),
        "uts": ns.Uts(options.hostname), "cgroup": ns.Cgroup(),
    }  # fmt: skip
    yield from (part for kind, part in kinds.items() if kind not in options.share)
    seen: list[Part] = [ns.Mount(), root, mounts.Dev()]
    yield from seen + ([] if options.privileged else [mounts.Masked()])
    if options.network == "none":
        yield from (ns.Net(), mounts.Sysfs())
    if "pid" not in options.share and not options.privileged:
        yield mounts.ReadOnly()
    if not options.privileged:
        yield from _confined(inside.from_image and "no-new-privileges" not in options.security_opt)
    yield from inside.more
    yield from map(_volume, options.volume)
    yield from (mounts.Tmpfs(target) for target in options.tmpfs)


def _confined(setuid: bool) -> list[Part]:
    """:param setuid: as docker has it, an image's su(1) and ping(8) work"""
    kept = Capabilities.default()
    filters = Seccomp.default(kept.names)
    return [kept, *([filters.before_capabilities()] if setuid else [NoNewPrivileges(), filters])]


def _volume(text: str) -> mounts.Bind:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    words = mode.split(",") if mode else []
    if not source or not target or set(words) - {"ro", "rw", "idmap"} or {"ro", "rw"} <= set(words):
        raise PlanError(f"a volume is SRC:DST, or with :ro, :idmap or :ro,idmap after it, not {text!r}")
    options = ("nodev",) if os.path.isdir(source) else ()  # a device that is named is meant; those in a directory are not
    return mounts.Bind(os.path.abspath(source), target, readonly="ro" in words, options=options, idmap="idmap" in words)


def _plan(options: argparse.Namespace) -> int:
    with planned(options) as (made, _):
        import json

        if options.tty:
            from . import terminal

            made = made.with_streams(stdin=PTY, stdout=PTY, stderr=PTY, size=terminal.size())
        print(json.dumps(made.to_json(), indent=2) if options.json else made.explain() if options.explain else made)
    return 0


def _run(options: argparse.Namespace) -> int:
    with planned(options) as (made, inside), _running(made, options, inside) as started:
        return _finish(*started)


def _trace(options: argparse.Namespace) -> int:
    with planned(options) as (made, inside), _running(made, options, inside) as started:
        code = _finish(*started)
        print(started[0].trace, file=sys.stderr)
    return code


@contextlib.contextmanager
def _running(made: Plan, options: argparse.Namespace, inside: Contained) -> Iterator[tuple[Process, float | None]]:
    """The program, which is asked to end when we are; and when its time is up, which begins before it is made."""
    end = None if options.timeout is None else time.monotonic() + options.timeout
    with Stopping(inside.stop, options.stop_timeout) as stopping, stopping.watch(_spawn(made, options)) as process:
        yield process, end


class NotStarted(ContainerKitError):
    """The program is not there (127), or it cannot be executed (126)."""

    def __init__(self, error: StepError) -> None:
        self.shell_code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        super().__init__(str(error))


def start(made: Plan, stdin: Stream = None, output: Stream = None, size: tuple[int, int] | None = None) -> Process:
    """Spawns it.  :raises NotStarted: all was made, but the program cannot be executed"""
    try:
        return made.spawn(stdin=stdin, stdout=output, stderr=output, size=size)
    except StepError as error:
        if error.step.call.name == "execve":
            raise NotStarted(error) from error
        raise


def shell_code(code: int) -> int:
    """The exit code a shell would show: 128 and the number of the signal that ended it."""
    return code if code >= 0 else 128 - code


def _spawn(made: Plan, options: argparse.Namespace) -> Process:
    """With pipes of its own, or a terminal: none of our descriptors is for the inside."""
    if options.tty:
        from . import terminal

        return start(made, PTY, PTY, terminal.size())
    return start(made, PIPE if options.interactive else DEVNULL, PIPE)


def _finish(process: Process, end: float | None) -> int:
    """Its exit code; 124 where time was up, as with timeout(1)."""
    try:
        if process.terminal is not None:
            from . import terminal

            terminal.connect(process, end)
        else:
            relay(process, end)
        code = process.wait(None if end is None else max(0.0, end - time.monotonic()))
    except late.subprocess.TimeoutExpired:
        return 124
    return shell_code(code)


VERBS = {"run": _declare_run, "plan": _declare_plan, "trace": _declare_trace}
