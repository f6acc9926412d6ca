"""Run programs from asyncio: the event loop goes on while a program is made and waited for.

    result = await ck.arun(["make"], timeout=60)

    async with plan.aspawn(stdout=ck.PIPE) as process:
        async for line in process.lines():
            ...

Making a process takes milliseconds of system calls, so a few threads do that: see `maker_threads`.  No other thread is needed: the
event loop itself waits for processes and pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn

from ..errors import PlanError
from .conversation import OUTPUT_LIMIT, PIECE, Collected, Conversation, TooMuchOutput
from .event_loop import converse, piece, until_ready
from .maker_threads import Making, clean_up
from .plan import Plan, Word, plan
from .process import Process, Usage
from .run import Job, Output, Result
from .spawn_timeout import SpawnTimeout
from .stdio import PIPE
from .step import Part
from .trace import Trace

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .conversation import OverLimit
    from .plan import Streams
    from .run import Terms

__all__ = ["AsyncProcess", "Spawning", "arun"]

LINE_LIMIT = 1 << 20  # bytes: a longer line comes in pieces


async def arun(
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
    """Run a program and wait for it, as `run` does, as a coroutine.  The parameters and the errors are the same.

    A task that is cancelled meanwhile kills the program, and ends when nothing is left of it.  A function given as `stdout`
    or `stderr` is called in the event loop.
    """
    made = plan(*parts, run=argv, env=env, cwd=cwd, die_with_parent=True)
    return await arun_plan(
        made, timeout=timeout, input=input, check=check, stdout=stdout, stderr=stderr, output_limit=output_limit, over_limit=over_limit
    )


async def arun_plan(made: Plan, **terms: Unpack[Terms]) -> Result:
    """Run a plan that has a program, for `Plan.arun`."""
    job = Job(made, **terms)
    making = Making(job.begin, lambda _: job.close())
    try:
        return await _arun(job, making)
    except SpawnTimeout as expired:
        return job.never_began(expired)


async def _arun(job: Job, making: Making[Process]) -> Result:
    async with making:
        process = making.made
        try:
            async with asyncio.timeout(job.left()) as limit:
                await converse(job.conversation)
                await process
        except TimeoutError:
            if not limit.expired():  # a function of the caller's raised it
                raise
            job.stop("timeout")
        except TooMuchOutput:
            job.stop("output")
        await process
        return job.result()


class AsyncProcess:
    """A `Process` for coroutines, whose waiting methods are awaited.  Use it as an asynchronous context manager: `Plan.aspawn` makes one.

    :param process: a running process; leaving the context ends it
    :ivar process: that process, for its methods that do not wait
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self._ahead: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._busy: set[str] = set()

    @property
    def pid(self) -> int:
        """The program's process id, as this process sees it."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; its exit code; or minus the signal that ended it."""
        return self.process.poll()

    @property
    def usage(self) -> Usage | None:
        """The resources that the program used; None while it runs."""
        return self.process.usage

    @property
    def trace(self) -> Trace:
        """The result and the duration of each step of the plan."""
        return self.process.trace

    @property
    def truncated(self) -> bool:
        """Whether the last `communicate` dropped output beyond its limit."""
        return self.process.truncated

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process has ended."""
        self.process.signal(number)

    def kill(self) -> None:
        """Kill the process with SIGKILL, and everything in its pid namespace where it is pid 1."""
        self.process.kill()

    def terminate(self) -> None:
        """Ask the process to end, with SIGTERM."""
        self.process.terminate()

    async def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended.  :param timeout: seconds  :raises subprocess.TimeoutExpired: it still runs"""
        with _expiring(timeout):
            async with asyncio.timeout(timeout):
                return await self.process

    def __await__(self) -> Generator[Any, None, int]:
        """Return the return code, for ``await process``."""
        return self.wait().__await__()

    async def communicate(
        self, input: bytes | None = None, timeout: float | None = None, *, output_limit: int | None = OUTPUT_LIMIT
    ) -> tuple[bytes, bytes]:
        """Write the input and read both outputs to their ends, as `Process.communicate` does.

        :raises subprocess.TimeoutExpired: it has the output that was read so far
        """
        outputs = {name: Collected(output_limit) for name in self._ahead}
        with self._reading(*outputs), _expiring(timeout, *outputs.values()):
            try:
                async with asyncio.timeout(timeout):
                    for name, sink in outputs.items():
                        sink(bytes(self._ahead[name]))
                        self._ahead[name].clear()
                    readers = [(self._stream(name), sink) for name, sink in outputs.items()]
                    await converse(Conversation(self.process.stdin, readers, input or b""))
                    await self.process
            finally:
                self.process.truncated = any(output.truncated for output in outputs.values())
        return outputs["stdout"].value(), outputs["stderr"].value()

    def lines(self, stream: Literal["stdout", "stderr"] = "stdout", *, limit: int = LINE_LIMIT) -> AsyncIterator[bytes]:
        """Return the lines of an output as they come, each with its end; of the last one the end may be missing.

        A loop that stops in the middle may be continued later, with this iterator or another one, or with `communicate`.

        :param stream: "stdout" or "stderr", which has to be a PIPE
        :param limit: bytes; a line that is longer comes in pieces of that length
        :raises PlanError: the stream is no pipe, or the limit no number of bytes
        :raises RuntimeError: another task is waiting for the same stream
        """
        if stream not in self._ahead or not self._stream(stream):
            raise PlanError(f"{stream} is not a pipe of this process: spawn it with {stream}=PIPE")
        if not isinstance(limit, int) or limit < 1:
            raise PlanError(f"limit is a number of bytes from 1, not {limit!r}")
        return _Lines(self, stream, limit)

    async def _line(self, stream: str, limit: int) -> bytes:
        """Return the next line, or b"".  The part that was read stays in `_ahead` when the task is cancelled."""
        ahead, reader, searched = self._ahead[stream], self._stream(stream), 0
        assert reader
        while True:
            end = ahead.find(b"\n", searched, limit) + 1
            searched = len(ahead)
            if not end and searched < limit:
                ahead += await piece(reader)
                if len(ahead) > searched:
                    continue
            line = bytes(ahead[: end or limit])
            del ahead[: len(line)]
            return line

    async def write(self, data: bytes) -> None:
        """Write to the program's standard input, all of it.

        :raises BrokenPipeError: the program does not read it any more
        :raises PlanError: the input is no pipe
        """
        if not self.process.stdin:
            raise PlanError("stdin is not a pipe of this process: spawn it with stdin=PIPE")
        fd, rest = self.process.stdin.fileno(), memoryview(data).cast("B")
        os.set_blocking(fd, False)
        while rest:
            try:
                rest = rest[os.write(fd, rest[:PIECE]) :]
            except BlockingIOError:
                await until_ready(fd, writes=True)

    def close_input(self) -> None:
        """Close the program's standard input, which it then reads to its end."""
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    async def close(self) -> None:
        """Kill the program if it still runs, and leave nothing behind."""
        self.process.kill()
        await clean_up(self.process.close)

    async def __aenter__(self) -> AsyncProcess:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if kind is GeneratorExit:  # nothing can be awaited any more
            self.process.close()
        else:
            await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("only the process that spawned it can wait for it; send its pid, or its result")

    def __repr__(self) -> str:
        return f"<Async{repr(self.process)[1:]}"

    def _stream(self, name: str) -> IO[bytes] | None:
        return self.process.stdout if name == "stdout" else self.process.stderr

    @contextlib.contextmanager
    def _reading(self, *names: str) -> Generator[None]:
        if taken := self._busy & set(names):
            raise RuntimeError(f"another task reads {min(taken)} of this process")
        self._busy |= set(names)
        try:
            yield
        finally:
            self._busy -= set(names)


class _Lines:
    """The lines of one stream, one at a time: nothing is held between two of them."""

    def __init__(self, process: AsyncProcess, stream: str, limit: int) -> None:
        self._process, self._stream, self._limit = process, stream, limit

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> bytes:
        with self._process._reading(self._stream):
            if line := await self._process._line(self._stream, self._limit):
                return line
        raise StopAsyncIteration


class Spawning:
    """A process that is being made: ``await`` it, or use it in ``async with``, which ends it."""

    def __init__(self, made: Plan, streams: Streams) -> None:
        self._making = Making(lambda: made.spawn(**streams), lambda process: process.close() if process else None)

    def __await__(self) -> Generator[Any, None, AsyncProcess]:
        return self._made().__await__()

    async def _made(self) -> AsyncProcess:
        await self._making.start()
        return AsyncProcess(self._making.made)

    async def __aenter__(self) -> AsyncProcess:
        return await self._made()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        await self._making.__aexit__(kind, error, where)


@contextlib.contextmanager
def _expiring(timeout: float | None, *outputs: Collected) -> Generator[None]:
    """Raise the error that `subprocess` raises when time is up."""
    try:
        yield
    except TimeoutError as error:
        said: list[bytes | None] = [output.value() for output in outputs] or [None, None]
        raise subprocess.TimeoutExpired("the program", timeout or 0.0, said[0], said[1]) from error
