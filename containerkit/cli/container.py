"""Verbs that make a container: run, plan, trace.  They take the same options."""

from __future__ import annotations

import argparse
import contextlib
import errno
import sys
import time
from collections.abc import Iterator

from ..base import late
from ..core.errors import StepError
from ..core.plan import Plan
from ..core.process import Process
from ..core.stdio import DEVNULL, PIPE, PTY, Stream
from ..errors import ContainerKitError
from ..layers.layerfs import LayerFS
from .parser import Parser, store_of
from .relay import relay
from .run_options import add_options
from .stopping import StoppingBySignal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from ..container.spec import ContainerSpec
    from ..image import Image
    from ..store.store import Store


def _declare_run(parser: Parser) -> None:
    add_options(parser)
    parser.set_defaults(verb=_run)


def _declare_trace(parser: Parser) -> None:
    add_options(parser)
    parser.set_defaults(verb=_trace)


def _declare_plan(parser: Parser) -> None:
    add_options(parser)
    parser.add_argument("--explain", action="store_true", help="with the reason for every step, and its man page")
    parser.add_argument("--json", action="store_true", help="for other programs")
    parser.set_defaults(verb=_plan)


@contextlib.contextmanager
def planned(options: argparse.Namespace) -> Iterator[tuple[Plan, ContainerSpec]]:
    """Give the plan that the options ask for, and its spec; the changes' directory, and the hold on an image, live as long."""
    from .run_spec import image_spec, root_spec, words_of

    layers: list[Any]
    names_image, words = words_of(options)
    if names_image:
        image = chosen(options)
        layers, spec = [image], image_spec(options, image)
    else:
        paths = options.rootfs or [_from_programs(options.programs)]
        layers, spec = paths, root_spec(options, paths, words)
    with LayerFS(*layers, readonly=spec.read_only, directory=options.keep) as root:
        yield spec.plan(root, die_with_parent=True), spec


def _from_programs(names: str) -> Path:
    from ..rootfs import from_programs

    return from_programs([name for name in names.split(",") if name])


def chosen(options: argparse.Namespace) -> Image:
    """Return the image that was asked for: from the store, or from its registry first.

    :raises ImageError: there is no such image;  :raises RegistryError: the registry does not give it
    """
    store = store_of(options)
    image = _found(store, options)
    if options.skip:
        store.layers(image)  # later users of the image ask its store as it was made, which leaves nothing out
    return image


def _found(store: Store, options: argparse.Namespace) -> Image:
    name = options.words[0]
    if options.pull != "always":
        try:
            return store.get(name, options.platform)
        except LookupError:
            if options.pull == "never":
                raise
    from .registry import pulled

    return pulled(store, name, options)


def _plan(options: argparse.Namespace) -> int:
    with planned(options) as (made, spec):
        import json

        if spec.terminal:
            from . import terminal

            made = made.with_streams(stdin=PTY, stdout=PTY, stderr=PTY, size=terminal.size())
        print(json.dumps(made.to_json(), indent=2) if options.json else made.explain() if options.explain else made)
    return 0


def _run(options: argparse.Namespace) -> int:
    with planned(options) as (made, spec), _running(made, options, spec) as started:
        return _finish(*started)


def _trace(options: argparse.Namespace) -> int:
    with planned(options) as (made, spec), _running(made, options, spec) as started:
        code = _finish(*started)
        print(started[0].trace, file=sys.stderr)
    return code


@contextlib.contextmanager
def _running(made: Plan, options: argparse.Namespace, spec: ContainerSpec) -> Iterator[tuple[Process, float | None]]:
    """Spawn the program, and give it with its deadline, which counts from before the spawn.  A signal to us ends the program too."""
    end = None if options.timeout is None else time.monotonic() + options.timeout
    with StoppingBySignal(spec.stop_signal, spec.stop_timeout) as stopping, stopping.watch(_spawn(made, spec)) as process:
        yield process, end


class NotStarted(ContainerKitError):
    """The program does not exist (127), or it cannot be executed (126)."""

    def __init__(self, error: StepError) -> None:
        self.shell_code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        super().__init__(str(error))


def start(made: Plan, stdin: Stream = None, output: Stream = None, size: tuple[int, int] | None = None) -> Process:
    """Spawn the program.  :raises NotStarted: all was made, but the program cannot be executed"""
    try:
        return made.spawn(stdin=stdin, stdout=output, stderr=output, size=size)
    except StepError as error:
        if error.step.call.name == "execve":
            raise NotStarted(error) from error
        raise


def shell_code(code: int) -> int:
    """Return the exit code a shell would show: 128 and the number of the signal that ended it."""
    return code if code >= 0 else 128 - code


def _spawn(made: Plan, spec: ContainerSpec) -> Process:
    """Spawn the program with pipes or a terminal of its own: no descriptor of ours may reach the inside."""
    if spec.terminal:
        from . import terminal

        return start(made, PTY, PTY, terminal.size())
    return start(made, PIPE if spec.interactive else DEVNULL, PIPE)


def _finish(process: Process, end: float | None) -> int:
    """Connect the streams until the program ends, and return its exit code; 124 where time was up, as timeout(1) does."""
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
