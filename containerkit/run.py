"""Run a program in whatever parts it is given, wait for it, and say how it went."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from . import checks
from .errors import Failed
from .plan import Plan, Word, plan
from .process import Process, SpawnTimeout, Usage
from .stdio import DEVNULL, PIPE
from .step import Part
from .trace import Trace

__all__ = ["Result", "Watch", "run"]

LOG = logging.getLogger(__name__)

StoppedBy = Literal["oom", "pids", "timeout", "signal"] | None


class Watch(Protocol):
    """What a part's ``watch()`` gives: a context manager around one run, asked at its end."""

    def __enter__(self) -> Watch: ...

    def __exit__(self, *error: object) -> None: ...

    def verdict(self, returncode: int) -> Literal["oom", "pids"] | None:
        """Whether this part stopped the program that ended with `returncode` (minus the signal, if one did)."""
        ...

    def memory_peak(self) -> int | None:
        """Bytes in use at most, or None where nobody counted."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended.

    :ivar exit_code: what a shell would say: the exit code, or 128 and the signal's number
    :ivar stdout, stderr: everything it wrote
    :ivar stopped_by: who stopped it: "timeout" (we did), "oom" (the OOM killer, in its `Cgroup`), "pids" (it could not live
        with pids_max), "signal" (somebody else, or itself), or None
    :ivar usage: what it used
    :ivar trace: how it came to be, step by step
    :ivar seconds: from the spawn to the end
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    stopped_by: StoppedBy
    usage: Usage
    trace: Trace
    seconds: float

    @property
    def text(self) -> str:
        """The standard output, decoded; bytes that are no UTF-8 are replaced."""
        return self.stdout.decode(errors="replace")


def run(
    argv: Sequence[Word],
    *parts: Part,
    timeout: float | None = None,
    input: bytes | None = None,
    check: bool = False,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Result:
    """Runs a program and waits for it.  It ends with the thread that called this.

    :param argv: the program and its arguments
    :param parts: what to run it in; none means: a plain process
    :param timeout: seconds; then it is killed, with its whole pid namespace if it has one, and `stopped_by` is "timeout"
    :param input: what it reads on its standard input; nothing unless given
    :param check: raise `Failed` unless it exits with 0
    :param env: the whole environment; empty unless given
    :param cwd: the working directory, inside
    :raises PlanError: the parts contradict each other
    :raises StepError: it could not be made
    """
    return run_plan(plan(*parts, run=argv, env=env, cwd=cwd, die_with_parent=True), timeout=timeout, input=input, check=check)


def run_plan(made: Plan, *, timeout: float | None = None, input: bytes | None = None, check: bool = False) -> Result:
    """Runs a plan that has a program: what `Plan.run` does."""
    checks.how_run(timeout, input, check)
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        watches = [stack.enter_context(watch) for watch in _watches(made.parts)]
        try:
            spawned = made.spawn(stdin=DEVNULL if input is None else PIPE, stdout=PIPE, stderr=PIPE, timeout=timeout)
        except SpawnTimeout as expired:
            result = _never_ran(expired, time.monotonic() - begin)
        else:
            with spawned as process:
                stopped_by, (out, err) = _talk(process, input, None if timeout is None else max(0.0, timeout - (time.monotonic() - begin)))
                result = _watched(_result(process, out, err, stopped_by, time.monotonic() - begin), watches, process.returncode or 0)
    LOG.debug("exit code %d, stopped by %s, %.3f s", result.exit_code, result.stopped_by, result.seconds)
    if check and result.exit_code:
        raise Failed(result)
    return result


def _never_ran(expired: SpawnTimeout, seconds: float) -> Result:
    """The time was over before the program began."""
    return Result(137, b"", b"", "timeout", Usage(0.0, 0.0, None), expired.trace or Trace((), {}, b""), seconds)


def _watches(parts: Iterable[Part]) -> Iterator[Watch]:
    """Of every part that offers one, also inside plans that are parts."""
    for part in parts:
        if isinstance(part, Plan):
            yield from _watches(part.parts)
        elif hasattr(part, "watch"):
            yield part.watch()


def _watched(result: Result, watches: Sequence[Watch], returncode: int) -> Result:
    """What the parts know better: our own timeout is ours, everything else may have been theirs."""
    stopped_by = result.stopped_by
    if stopped_by != "timeout":
        stopped_by = next(filter(None, [watch.verdict(returncode) for watch in watches]), stopped_by)
    peak = next(filter(None, [watch.memory_peak() for watch in watches]), result.usage.memory_peak)
    return replace(result, stopped_by=stopped_by, usage=replace(result.usage, memory_peak=peak))


def _talk(process: Process, input: bytes | None, timeout: float | None) -> tuple[StoppedBy, tuple[bytes, bytes]]:
    try:
        output = process.communicate(input, timeout)
    except subprocess.TimeoutExpired as expired:
        # Only the first to end it counts: a program that ended by itself a moment ago was not stopped by us.
        ours = process.poll() is None
        process.kill()
        process.wait()
        return "timeout" if ours else _by_signal(process), (expired.stdout or b"", expired.stderr or b"")
    return _by_signal(process), output


def _by_signal(process: Process) -> StoppedBy:
    return "signal" if process.returncode is not None and process.returncode < 0 else None


def _result(process: Process, out: bytes, err: bytes, stopped_by: StoppedBy, seconds: float) -> Result:
    assert process.returncode is not None
    assert process.usage
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Result(code, out, err, stopped_by, process.usage, process.trace, seconds)
