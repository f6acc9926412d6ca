"""Run a program in the parts it is given, wait for it, and say how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from ..base import checks, late
from ..base.frozen import frozen
from ..base.log import Log
from ..errors import PlanError
from .conversation import OUTPUT_LIMIT, Collected, Conversation, TooMuchOutput, checked_limit
from .errors import Failed
from .plan import Plan, Word, plan
from .process import Process, Usage
from .stdio import DEVNULL, PIPE, PTY, STDOUT, Stream
from .step import Part
from .trace import Trace

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

    from .conversation import OverLimit

__all__ = ["Result", "Watch", "run"]

LOG = Log(__name__)

StoppedBy = Literal["oom", "pids", "timeout", "output", "signal"] | None
Output = Stream | Callable[[bytes], object]
"""The destination of an output: PIPE, DEVNULL, STDOUT, a file, a descriptor, None to inherit, or a function that takes each piece."""


class Watch(Protocol):
    """The result of a part's ``watch()``: a context manager around one run, asked at its end."""

    def __enter__(self) -> Watch: ...

    def __exit__(self, *error: object) -> None: ...

    def verdict(self, returncode: int) -> Literal["oom", "pids"] | None:
        """Whether this part stopped the program that ended with `returncode` (minus the signal, if one did)."""
        ...

    def memory_peak(self) -> int | None:
        """Return the most bytes in use at one time, or None where no group counted them."""
        ...


@frozen
class Result:
    """How a program ended.

    :ivar exit_code: what a shell would say: the exit code, or 128 and the signal's number
    :ivar stdout, stderr: what it wrote, up to the limit; b"" for an output that went elsewhere
    :ivar stopped_by: what stopped it: "timeout" (we did), "output" (we did, for it wrote more than its limit), "oom" (the OOM
        killer, in its `Cgroup`), "pids" (it could not live with pids_max), "signal" (another process, or itself), or None
    :ivar usage: the resources that it used
    :ivar trace: the steps that made it
    :ivar seconds: from the spawn to the end
    :ivar truncated: whether it wrote more than `stdout` or `stderr` holds
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    stopped_by: StoppedBy
    usage: Usage
    trace: Trace
    seconds: float
    truncated: bool = False

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
    stdout: Output = PIPE,
    stderr: Output = PIPE,
    output_limit: int | None = OUTPUT_LIMIT,
    over_limit: OverLimit = "drain",
) -> Result:
    """Run a program and wait for it.  The program ends with the thread that called this.

    :param argv: the program and its arguments
    :param parts: the parts to run it in; none means a plain process
    :param timeout: seconds; then it is killed, with its whole pid namespace if it has one, and `stopped_by` is "timeout"
    :param input: the bytes of its standard input; empty unless given
    :param check: raise `Failed` unless it exits with 0
    :param env: the whole environment; empty unless given
    :param cwd: the working directory, inside
    :param stdout, stderr: PIPE collects into the Result.  Else DEVNULL, a file, a descriptor, None for the caller's own, for
        stderr also STDOUT, or a function that is called with each piece of bytes, in this thread: while it works, the
        program waits, and so does the timeout.  An exception of it kills the program and is raised here
    :param output_limit: how many bytes of each stream are collected, 64 MiB unless given; None lifts the limit
    :param over_limit: what follows beyond: "drain" reads on and drops it, and `truncated` says so; "kill" also kills the
        program, and `stopped_by` is "output"
    :raises PlanError: the parts contradict each other, or a value is of the wrong type
    :raises StepError: it could not be made
    """
    made = plan(*parts, run=argv, env=env, cwd=cwd, die_with_parent=True)
    return run_plan(
        made, timeout=timeout, input=input, check=check, stdout=stdout, stderr=stderr, output_limit=output_limit, over_limit=over_limit
    )


class Terms(TypedDict, total=False):
    """The keywords of `run` that are not about the plan."""

    timeout: float | None
    input: bytes | None
    check: bool
    stdout: Output
    stderr: Output
    output_limit: int | None
    over_limit: OverLimit


def run_plan(made: Plan, **terms: Unpack[Terms]) -> Result:
    """Run a plan that has a program, for `Plan.run`.  The parameters are those of `run`."""
    with Job(made, **terms) as job:
        try:
            process = job.begin()
        except late.subprocess.TimeoutExpired as expired:
            return job.never_began(expired)
        try:
            job.conversation.run(job.end)
            process.wait(job.left())
        except late.subprocess.TimeoutExpired:
            job.stop("timeout")
        except TooMuchOutput:
            job.stop("output")
        process.wait()
        return job.result()


class Job:
    """One run.  `begin` makes the process, the caller reads its output and waits for it, then `result` says how it ended.

    `begin`, `result` and `close` may block; a coroutine calls them in a thread.

    :ivar end: when time is up, on the clock of `time.monotonic`, counted from when this was made; or None
    :ivar process: the process, once it was begun
    :ivar conversation: the exchange with that process
    :raises PlanError: a value is not allowed
    """

    process: Process
    conversation: Conversation

    def __init__(
        self, made: Plan, *, timeout: float | None = None, input: bytes | None = None, check: bool = False, stdout: Output = PIPE,
        stderr: Output = PIPE, output_limit: int | None = OUTPUT_LIMIT, over_limit: OverLimit = "drain",
    ) -> None:  # fmt: skip
        checks.how_run(timeout, input, check)
        checked_limit(output_limit, over_limit)
        self._begun = time.monotonic()
        self.end = None if timeout is None else self._begun + timeout
        self._plan, self._input, self._check = made, None if input is None else bytes(input), check
        self._outputs = _output(stdout, "stdout"), _output(stderr, "stderr")
        self._sinks = [output if callable(output) else Collected(output_limit, over_limit) for output in self._outputs]
        self._watches: list[Watch] = []
        self._stopped_by: StoppedBy = None
        self._stack = contextlib.ExitStack()

    def left(self) -> float | None:
        """Return the seconds until time is up, 0 or more; None without a limit."""
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    def begin(self) -> Process:
        """Make the process.  :raises StepError: it could not be made;  :raises SpawnTimeout: not in time"""
        self._watches = [self._stack.enter_context(watch) for watch in _watches(self._plan.parts)]
        stdout, stderr = (PIPE if callable(output) else output for output in self._outputs)
        self.process = self._stack.enter_context(
            self._plan.spawn(stdin=DEVNULL if self._input is None else PIPE, stdout=stdout, stderr=stderr, timeout=self.left())
        )
        readers = list(zip((self.process.stdout, self.process.stderr), self._sinks, strict=True))
        self.conversation = Conversation(self.process.stdin, readers, self._input or b"")
        return self.process

    def stop(self, why: Literal["timeout", "output"]) -> None:
        """Kill the program, unless it has ended.  A program that ended by itself a moment ago was not stopped by us."""
        if self.process.poll() is None:
            self._stopped_by = why
        self.process.kill()

    def result(self) -> Result:
        """Return how the program ended.  :raises Failed: it did not exit with 0, and `check` was given"""
        process, returncode = self.process, self.process.returncode
        assert returncode is not None
        assert process.usage
        peaks = [watch.memory_peak() for watch in self._watches]
        used = process.usage
        usage = Usage(used.user_seconds, used.system_seconds, next(filter(None, peaks), used.memory_peak)) if any(peaks) else used
        kept = [sink for sink in self._sinks if isinstance(sink, Collected)]
        out, err = (sink.value() if isinstance(sink, Collected) else b"" for sink in self._sinks)
        result = Result(
            returncode if returncode >= 0 else 128 - returncode, out, err, self._verdict(returncode), usage, process.trace,
            time.monotonic() - self._begun, any(sink.truncated for sink in kept),
        )  # fmt: skip
        return self._checked(result)

    def never_began(self, expired: late.subprocess.TimeoutExpired) -> Result:
        """Return the result where time was up before the program began.  :raises Failed: `check` was given"""
        nothing, trace = Usage(0.0, 0.0, None), getattr(expired, "trace", None) or Trace((), {}, b"")
        return self._checked(Result(128 + signal.SIGKILL, b"", b"", "timeout", nothing, trace, time.monotonic() - self._begun))

    def _checked(self, result: Result) -> Result:
        LOG.debug("exit code %d, stopped by %s, %.3f s", result.exit_code, result.stopped_by, result.seconds)
        if self._check and result.exit_code:
            raise Failed(result)
        return result

    def _verdict(self, returncode: int) -> StoppedBy:
        """Say what stopped the program.  Timeouts and limits on output are ours; ask the watches about other deaths."""
        if self._stopped_by:
            return self._stopped_by
        for watch in self._watches:
            if found := watch.verdict(returncode):
                return found
        return "signal" if returncode < 0 else None

    def close(self) -> None:
        """Kill the program if it still runs, and leave nothing behind."""
        self._stack.close()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, where)


def _watches(parts: Iterable[Part]) -> Iterator[Watch]:
    """Yield the watch of every part that offers one, also inside plans that are parts."""
    for part in parts:
        if isinstance(part, Plan):
            yield from _watches(part.parts)
        elif hasattr(part, "watch"):
            yield part.watch()


def _output(output: Any, name: str) -> Output:
    """Check an output.  :raises PlanError: a program cannot write to it"""
    if output is None or (isinstance(output, int) and not isinstance(output, bool)):
        if output == PTY:
            raise PlanError(f"{name}=PTY: a terminal is for programs that one talks to; use plan.spawn()")
        if output == STDOUT and name == "stdout":
            raise PlanError("STDOUT goes only where stderr goes")
        return output
    if callable(output):
        return output  # type: ignore[no-any-return]
    try:
        output.fileno()
    except (AttributeError, OSError, ValueError) as error:
        raise PlanError(f"{name} is a file, a descriptor, PIPE, DEVNULL or a function that takes bytes, not {output!r}") from error
    return output  # type: ignore[no-any-return]
