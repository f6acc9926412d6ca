"""Verbs that make a container: run, plan, trace.  They take the same options."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

from .. import mounts, ns, rootfs
from ..capabilities import Capabilities
from ..errors import PlanError
from ..frame import DEFAULT_PATH
from ..layerfs import LayerFS
from ..plan import Plan, plan
from ..privileges import NoNewPrivileges
from ..process import Process
from ..seccomp import Seccomp
from ..stdio import PTY
from ..step import Part
from . import terminal
from .parser import Parser

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
    add = parser.add_argument
    add("--help", action="help", help="show this")
    add(
        "--rootfs",
        metavar="DIR",
        action="append",
        help="the root; more than once: layers, the lowest first; else one from this machine's own programs",
    )
    add("--programs", default=PROGRAMS, metavar="A,B", help="what the root from this machine's programs holds")
    add("--read-only", action="store_true", help="nothing in the root can be changed")
    add("--keep", metavar="DIR", help="keep what it changes in this directory, for the next run")
    add("-h", "--hostname", default="container", help="its host name; container unless given")
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="a variable of its environment; without a value, ours")
    add("-w", "--workdir", metavar="DIR", help="where it starts, inside; /")
    add("-v", "--volume", action="append", default=[], metavar="SRC:DST[:ro]", help="a file or directory of this machine, also inside")
    add("--tmpfs", action="append", default=[], metavar="DST", help="memory as a directory")
    add("--network", choices=["none", "host"], default="none", help="none: its own loopback only; host: this machine's; none unless given")
    add("--init", action="store_true", help="a small process 1 that passes signals on and reaps")
    add(
        "--share",
        action="append",
        default=[],
        choices=["user", "pid", "ipc", "uts", "cgroup"],
        help="keep this machine's namespace of the kind",
    )
    add("--subids", action="store_true", help="map the whole range of ids that /etc/subuid gives")
    add("--privileged", action="store_true", help="all capabilities of its namespaces, no system call filter, nothing hidden")
    add("--timeout", type=float, metavar="SECONDS", help="kill it after so long; exit code 124")
    add("-i", "--interactive", action="store_true", help="pass our standard input on; implied by -t")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    add("command", nargs="+", metavar="-- CMD", help="the program and its arguments")


@contextlib.contextmanager
def planned(options: argparse.Namespace) -> Iterator[Plan]:
    """The plan that the options ask for; the changes' directory lives as long as the `with`."""
    layers = options.rootfs or [rootfs.from_programs([p for p in options.programs.split(",") if p])]
    with LayerFS(*layers, readonly=options.read_only, directory=options.keep) as root:
        yield plan(*_parts(options, root), run=options.command, env=_environment(options.env), cwd=options.workdir, die_with_parent=True)


def _parts(options: argparse.Namespace, root: LayerFS) -> Iterator[Part]:
    kinds: dict[str, Part] = {
        "user": ns.subids() if options.subids else ns.User(), "pid": ns.Pid(init=options.init), "ipc": ns.Ipc(),
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
        confined: list[Part] = [Capabilities.default(), NoNewPrivileges(), Seccomp.default()]
        yield from confined
    yield from map(_volume, options.volume)
    yield from (mounts.Tmpfs(target) for target in options.tmpfs)


def _volume(text: str) -> mounts.Bind:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source or not target or mode not in ("", "ro", "rw"):
        raise PlanError(f"a volume is SRC:DST or SRC:DST:ro, not {text!r}")
    return mounts.Bind(os.path.abspath(source), target, readonly=mode == "ro")


def _environment(words: list[str]) -> dict[str, str]:
    """What docker gives, and what was asked for."""
    found = {"PATH": DEFAULT_PATH} | ({"TERM": os.environ["TERM"]} if "TERM" in os.environ else {})
    for word in words:
        name, given, value = word.partition("=")
        if given or name in os.environ:
            found[name] = value if given else os.environ[name]
    return found


def _plan(options: argparse.Namespace) -> int:
    with planned(options) as made:
        print(json.dumps(made.to_json(), indent=2) if options.json else made.explain() if options.explain else made)
    return 0


def _run(options: argparse.Namespace) -> int:
    with planned(options) as made, _spawn(made, options) as process:
        return _finish(process, options)


def _trace(options: argparse.Namespace) -> int:
    with planned(options) as made, _spawn(made, options) as process:
        code = _finish(process, options)
        print(process.trace, file=sys.stderr)
    return code


def _spawn(made: Plan, options: argparse.Namespace) -> Process:
    if options.tty:
        return made.spawn(stdin=PTY, stdout=PTY, stderr=PTY)
    return made.spawn(stdin=None if options.interactive else subprocess.DEVNULL)


def _finish(process: Process, options: argparse.Namespace) -> int:
    """The exit code a shell would show; 124 where time was up, as with timeout(1)."""
    try:
        if process.terminal is not None:
            terminal.connect(process, options.timeout)
        code = process.wait(options.timeout)
    except subprocess.TimeoutExpired:
        return 124
    return code if code >= 0 else 128 - code


VERBS = {"run": _declare_run, "plan": _declare_plan, "trace": _declare_trace}
