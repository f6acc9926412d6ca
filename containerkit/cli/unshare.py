"""The verb unshare: run a program as root, with all the ids that this user has.

    containerkit unshare                                   a shell
    containerkit unshare containerkit build -t app .       a build in which USER, chown and apt-get work

The program gets a user namespace and a mount namespace of its own, and shares the others with this machine.  Files of the other
ids, such as a store that was made by such a program, are read and removed with unshare as well.
:see: user_namespaces(7), subuid(5)
"""

from __future__ import annotations

import argparse
import os
import signal
from types import FrameType
from typing import Self

from ..core.plan import Plan, plan
from ..core.process import Process
from ..errors import PlanError
from ..parts import ns
from .container import shell_code, start
from .parser import Parser
from .stopping import StoppingBySignal

ALL = 2**32 - 1
KEYS = (signal.SIGINT, signal.SIGQUIT)
SECONDS = 10  # seconds for the program to end after SIGTERM


def _declare(parser: Parser) -> None:
    parser.usage = f"{parser.prog} [--] [CMD...]"
    parser.add_argument("--help", action="help", help="show this help")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD...", help="the program; $SHELL unless given")
    parser.set_defaults(verb=_unshare)


def planned(words: list[str]) -> Plan:
    """Return the plan for a program as root.

    :raises PlanError: the caller is root;  :raises Unavailable: this user has one id only
    """
    if os.geteuid() == 0:
        raise PlanError(f"unshare is for ordinary users; root has all ids already: run {words[0]!r} directly")
    parts = (ns.subids(ALL), ns.Mount())
    return plan(*parts, run=words, env=os.environ, die_with_parent=True, new_session=False)


def _unshare(options: argparse.Namespace) -> int:
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    made = planned(words or [os.environ.get("SHELL") or "/bin/sh"])
    with _Passing(signal.SIGTERM, SECONDS) as stopping, stopping.watch(start(made)) as process:
        return shell_code(process.wait())


class _Passing(StoppingBySignal):
    """Passes an interruption on to the program, as sudo(8) does: the program may want to go on, or to clean up."""

    _early = 0

    def _key(self, number: int, _: FrameType | None) -> None:
        if self._process is None:
            self._early = number
        elif not _at_terminal():
            self._process.signal(number)

    def watch(self, process: Process) -> Process:
        """Take the program, and send it an interruption that came before."""
        super().watch(process)
        if self._early:
            process.signal(self._early)
        return process

    def __enter__(self) -> Self:
        super().__enter__()
        self._before |= {number: signal.signal(number, self._key) for number in KEYS}
        return self


def _at_terminal() -> bool:
    """Whether the terminal's keys reach our process group, and so the program without us."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


VERBS = {"unshare": _declare}
