"""A verb's options as docker has them: `--flag=false` counts, nothing is abbreviated, options may follow the arguments.

parser = Parser(fill=declare)       `declare(parser)` runs when the verb is used, so that `--help` imports no verb
parser.flag("-q", "--quiet", help="ids only")
parser.takes_store()                --store DIR and --skip KIND, also after the verb
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ..store.store import Store

__all__ = ["SKIPPABLE", "STORE", "DeferredParser", "Parser", "store_of"]

STORE = "CONTAINERKIT_STORE"
SKIPPABLE = ("devices", "xattrs")  # as in image/_attributes.py, which `--help` does not import
# argparse looks for a translation of each of its words.  There is none, and to look takes as long as forty options, and loads `locale`.
vars(argparse)["_"] = str
SAID = {"true": True, "false": False, "1": True, "0": False, "t": True, "f": False}


class Parser(argparse.ArgumentParser):
    """Options of one verb.

    :param fill: a function that declares the options, called once they are wanted
    :param mixed: whether options may stand between the arguments; False for a verb that passes words on
    """

    def __init__(self, *args: Any, fill: Callable[[Parser], object] | None = None, mixed: bool = True, **more: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _formatter, **more})
        self.mixed, self._fill = mixed, fill
        if fill:
            self.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse the arguments, as argparse does."""
        if self._fill:
            fill, self._fill = self._fill, None
            fill(self)
        if not self.mixed:
            found, unknown = super().parse_known_args(args, namespace)
            if unknown and self.get_default("failed") == 125:  # refused here, for the parser above does not know the exit code
                self.error(f"unrecognized arguments: {' '.join(unknown)}")
            return found, unknown
        self.mixed = False  # argparse calls this again for the options alone
        try:
            return super().parse_known_intermixed_args(args, namespace)
        finally:
            self.mixed = True

    def error(self, message: str) -> NoReturn:
        """Refuse bad usage with exit code 2, or 125 for a verb that passes on the exit code of a program."""
        self.print_usage(sys.stderr)
        self.exit(125 if self.get_default("failed") == 125 else 2, f"{self.prog}: error: {message}\n")

    def flag(
        self, *names: str, dest: str | None = None, default: bool = False, help: str | None = None, into: Any = None
    ) -> None:  # fmt: skip
        """Add an option that is true or false: ``--name``, ``--name=false``.

        :param into: the group of the help that shows it
        """
        add = (into or self).add_argument
        made = add(*names, action="store_true", dest=dest, default=default, help=help)
        spelt = [f"{name}={word}" for name in names for word in SAID]
        add(*spelt, action=_Said, dest=made.dest, default=default, nargs=0, help=argparse.SUPPRESS)

    def takes_format(self) -> None:
        """Add ``--format``: json, or a template."""
        self.add_argument("--format", metavar="json|TEMPLATE", help="json, or a template such as '{{.ID}}'; 'table ...' has a heading")

    def takes_registry(self) -> None:
        """Add the options that say how to talk to a registry."""
        self.flag("--tls-verify", default=True, help="--tls-verify=false takes any certificate")
        self.flag("--plain-http", help="without TLS; on this machine itself it is tried anyway")

    def takes_store(self, *, failed: int = 1) -> None:
        """Let ``--store`` and ``--skip`` follow the verb too; an error is exit code `failed` from here on, as docker's."""
        self.add_argument("--store", metavar="DIR", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.add_argument("--skip", action="append", choices=SKIPPABLE, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.add_argument(
            "--limit", metavar="NAME=NUMBER|none", action="append", default=argparse.SUPPRESS,
            help="how much an image of a stranger may ask for; ratio=none lifts the limit called ratio",
        )  # fmt: skip
        self.set_defaults(failed=failed)


class _Said(argparse.Action):
    """Takes the value of a flag, as in ``--name=false``."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, SAID[(option_string or "").rpartition("=")[2]])


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Write help without `shutil`: argparse makes a formatter for every option, also without --help, and each would ask for the width."""
    return argparse.HelpFormatter(prog, width=_columns() - 2)


@cache
def _columns() -> int:
    """Return the width of the terminal, as `shutil.get_terminal_size` does."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class DeferredParser:
    """Add a verb whose parser is made when the verb is typed: argparse takes 0.2 ms for each, and there are fifty verbs.

    :param how: the arguments of `Parser`
    """

    def __init__(self, **how: Any) -> None:
        self._how = how

    def __getattr__(self, name: str) -> Any:
        parser = self.__dict__["_parser"] = self.__dict__.get("_parser") or Parser(**self._how)
        return getattr(parser, name)


def store_of(options: argparse.Namespace) -> Store:
    """Return the store that was asked for, or the user's own; from here on --limit counts.  :raises ImageError: there is no such limit"""
    from ..store.store import Store

    if words := getattr(options, "limit", ()):
        _lift(words)
    return Store(options.store, skip=options.skip)


def _lift(words: Sequence[str]) -> None:
    from ..image.errors import ImageError
    from ..image.limits import Limits

    try:
        Limits.default().lifted(words).make_default()
    except ValueError as error:
        raise ImageError(f"--limit: {error}") from error
