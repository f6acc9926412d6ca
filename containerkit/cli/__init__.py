"""The library from a shell: every verb is a few lines over it.

A verb is loaded when it is used.  Exit codes are docker's: the program's own for `run`, 125 where that could not be
started, also for bad usage, 126 and 127 where its program cannot be executed or is not there; 1 for an error of a verb about
images; 2 for bad usage of any other verb.
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .. import __version__
from ..base.log import Log
from ..errors import ContainerKitError
from . import streams
from .human import complain
from .parser import SKIPPABLE, STORE, DeferredParser, Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["main"]

LOST = (errno.EBADF, errno.ENOSPC)  # errors of a file without a name: a standard stream
INTERRUPTED = 130  # by Ctrl-C, as a shell says it
LOG = Log(__name__)

RUN = {
    "run": ("container", "run a program in a container"),
    "plan": ("container", "print what `run` would do, and do nothing"),
    "trace": ("container", "run a program, then print what each step returned and how long it took"),
    "unshare": ("unshare", "run a program as root of all ids that this user has"),
}
IMAGE = {
    "build": ("build", "make an image as a Dockerfile says"),
    "history": ("images", "how an image came to be"),
    "inspect": ("images", "all about images, as JSON"),
    "pull": ("registry", "fetch an image from a registry"),
    "push": ("registry", "bring an image into a registry"),
    "tag": ("images", "give an image another name"),
    "save": ("archives", "write images into a file, for load and for docker"),
    "load": ("archives", "read images from a file of save's, docker's or OCI's"),
    "import": ("archives", "make an image of the tar of a root directory"),
    "export": ("archives", "write what an image shows into a tar"),
    "diff": ("archives", "what the last layer of an image changes, or what two images differ in"),
}
STORED = {
    "images": ("images", "list images"),
    **IMAGE,
    "rmi": ("images", "remove images"),
    "login": ("registry", "keep a name and a password for a registry"),
    "logout": ("registry", "forget them"),
    "gc": ("care", "remove what no name leads to"),
    "fsck": ("care", "read the whole store and tell what is wrong"),
}
GROUPS = {
    "image": ("images and their layers", {
        "ls": ("images.images", STORED["images"][1]), **IMAGE, "rm": ("images.rmi", STORED["rmi"][1]),
        "ls-layers": ("images", "list layers, and which images share them"),
        "prune": ("care.image-prune", "remove images without a name"),
    }),
    "builder": ("what builds remember", {
        "prune": ("care.builder-prune", "forget it, so that everything is built anew"), "build": IMAGE["build"],
    }),
    "system": ("what all of it takes on disk, and how to get that back", {
        "df": ("care", "what all of it takes on disk"),
        "prune": ("care.system-prune", "remove images without a name, what builds remember, and roots that nobody uses"),
    }),
}  # fmt: skip
ALIASES = {"ls": ["list"], "rm": ["remove"]}
MACHINE = {
    "doctor": ("machine", "what this machine allows, and why not"),
    "demo": ("machine", "a container from nothing, step by step"),
    "top": ("top", "what the living groups use"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code: the program's own for `run`, 125 for an error of ours, 2 for bad usage."""
    streams.repair()
    chosen = argparse.Namespace()
    return streams.finish(lambda: _main(argv, chosen), lambda: _failed(chosen), complain)


def _main(argv: Sequence[str] | None, options: argparse.Namespace) -> int:
    try:
        _parser().parse_args(argv, options)
        if getattr(options, "debug", False):
            from . import debugging

            debugging.tell_all()
        code = int(options.verb(options))
        sys.stdout.flush()
        return code
    except ContainerKitError as error:
        LOG.debug("%s", type(error).__name__, exc_info=True)
        complain(str(error))
        return getattr(error, "shell_code", _failed(options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        return streams.READER_GONE
    except OSError as error:
        LOG.debug("%s", type(error).__name__, exc_info=True)
        about = error.filename or ("standard input or output" if error.errno in LOST else None)
        complain(": ".join(str(word) for word in (about, error.strerror or error) if word is not None))
        return _failed(options)


def _failed(options: argparse.Namespace) -> int:
    """Return the exit code of an error of ours, as the verb has it."""
    return int(getattr(options, "failed", 125))


def _parser() -> Parser:
    parser = Parser(prog="containerkit", description="container primitives, one at a time", mixed=False)
    parser.add_argument("--version", action="version", version=f"containerkit {__version__}")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="tell what is done; also after the verb")
    parser.add_argument("--store", metavar="DIR", help=f"where images are; {STORE}, or the user's own directory unless given")
    parser.add_argument("--skip", action="append", choices=SKIPPABLE, default=[], help="leave out of layers what this user may not make")
    verbs = _verbs(parser)
    _add(verbs, RUN | STORED)
    for group, (text, members) in GROUPS.items():
        verbs.add_parser(group, help=text, description=text, mixed=False, fill=_group(members))
    _add(verbs, MACHINE)
    return parser


def _verbs(parser: argparse.ArgumentParser) -> Any:
    return parser.add_subparsers(title="verbs", metavar="VERB", required=True, prog=parser.prog, parser_class=DeferredParser)


def _group(members: dict[str, tuple[str, str]]) -> Callable[[argparse.ArgumentParser], None]:
    return lambda parser: _add(_verbs(parser), members)


def _add(verbs: Any, table: dict[str, tuple[str, str]]) -> None:
    for name, (place, text) in table.items():
        module, _, verb = place.partition(".")
        runs = name in RUN  # words after the program are not ours, and -h is the host name, as docker has it
        like = {"help": text, "description": text, "aliases": ALIASES.get(name, ())}
        verbs.add_parser(name, **like, fill=_filler(module, verb or name), mixed=not runs, add_help=not runs)


def _filler(module: str, verb: str) -> Callable[[argparse.ArgumentParser], object]:
    return lambda parser: import_module(f".{module}", __package__).VERBS[verb](parser)
