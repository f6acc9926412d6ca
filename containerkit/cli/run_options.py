"""The options of the verbs that make a container."""

from __future__ import annotations

import argparse
import functools

from .parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["add_options"]

PROGRAMS = "sh,ls,cat,hostname,id,ps,mount,env,sleep,touch,rm,mkdir,stat,readlink,echo,true,false"
KINDS = ("user", "pid", "ipc", "uts", "cgroup")


def add_options(parser: Parser) -> None:
    """Add all options, and the words that follow them."""
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
    """Take the image, or ``--``, and all words that follow, and refuse none: argparse would accept none."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if not values or values == ["--"]:
            parser.error("an image, or -- and a program, is missing")
        setattr(namespace, self.dest, values)
