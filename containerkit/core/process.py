"""A process that a plan made: a pidfd, its streams, and the trace of its steps."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import threading
import time
import warnings
from collections.abc import Callable, Generator
from types import TracebackType

from ..base import checks, late
from ..base.frozen import frozen
from ..base.pickling import OneProcess
from ..errors import Unavailable
from ..linux.native import extension, number
from .conversation import OUTPUT_LIMIT, Collected, Conversation
from .stdio import set_size
from .trace import Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

P_PIDFD, WEXITED, WNOHANG = 3, 4, 1
HELD_SECONDS, HELD_PAUSE = 1.0, 0.005


@frozen
class Usage:
    """The resources that a process and the children it waited for used.

    :ivar user_seconds: CPU seconds in programs
    :ivar system_seconds: CPU seconds in the kernel on their behalf
    :ivar memory_peak: largest resident memory of one of them, in bytes.  None where it is unknown: the kernel counts the
        caller's own peak for a child that shared its memory, so a smaller one stays hidden.  A `Cgroup` or
        ``share_memory=False`` makes it known.
    """

    user_seconds: float
    system_seconds: float
    memory_peak: int | None

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds in all."""
        return self.user_seconds + self.system_seconds


class Process(OneProcess):
    """A running or ended program.  Use it as a context manager: leaving it kills a program that still runs, and cleans up.

    :ivar pid: its process id, as this process sees it
    :ivar pidfd: a descriptor of it, which never comes to mean another process; -1 once closed
    :ivar returncode: None while it runs; its exit code; or minus the signal that ended it, as in `subprocess`
    :ivar usage: None while it runs
    :ivar truncated: whether the last `communicate` dropped output beyond its limit
    :ivar stdin, stdout, stderr: our ends of the pipes, or None
    :ivar terminal: our end of the pseudo-terminal, or None
    :ivar trace: the result and the duration of each step of the plan
    """

    stays = "only the process that spawned it can wait for it; send its pid, or its result"

    def __init__(
        self, pid: int, pidfd: int, trace: Trace, ours: dict[int, IO[bytes]], terminal: int | None,
        undo: list[Callable[[], None]], exact_memory: bool,
    ) -> None:  # fmt: skip
        import resource

        self.returncode: int | None = None
        self.usage: Usage | None = None
        self.truncated = False
        self.stdin, self.stdout, self.stderr = ours.get(0), ours.get(1), ours.get(2)
        self.pid, self.pidfd, self.trace, self.terminal = pid, pidfd, trace, terminal
        self._undo, self._exact_memory = undo, exact_memory
        self._killed, self._held_since = False, 0.0
        self._reaping = threading.RLock()  # a signal handler of the caller's may poll while its thread does
        self._own_peak = 0 if exact_memory else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    # --- waiting -------------------------------------------------------------------------------------------------

    def poll(self) -> int | None:
        """Return the return code, or None while it runs.  Do not wait."""
        if self.returncode is None:
            with self._reaping:
                self._reap()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended.

        :param timeout: seconds, or None to wait for ever
        :raises subprocess.TimeoutExpired: it still runs
        :see: waitid(2), pidfd_open(2)
        """
        checks.seconds(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:  # only the collecting is locked, so that other threads may wait, or kill it, meanwhile
            left = None if end is None else max(0.0, end - time.monotonic())
            ended = self.pidfd < 0 or readable(self.pidfd, left)
            if self.poll() is None and timeout is not None and (not ended or left == 0.0):
                raise late.subprocess.TimeoutExpired("the program", timeout)
            if self.returncode is None and ended and not self._given_up():
                time.sleep(HELD_PAUSE)
        return self.returncode

    def _given_up(self) -> bool:
        """Give up on an end whose status stays away: a process in the container traces the program, and so holds the status back.

        We wait at most a second for a program that we killed; after that its usage is unknown.  :see: ptrace(2), waitid(2)
        """
        self._held_since = self._held_since or time.monotonic()
        if not self._killed or time.monotonic() - self._held_since < HELD_SECONDS:
            return False
        with self._reaping:
            if self.returncode is None:
                self.returncode, self.usage = -signal.SIGKILL, Usage(0.0, 0.0, None)
                collect_later(self.pidfd)
        return True

    def __await__(self) -> Generator[Any, None, int]:
        """Return the return code, for ``await process``, without blocking the event loop."""
        return self._wait_in_loop().__await__()

    async def _wait_in_loop(self) -> int:
        import asyncio  # loading it takes long, and few wait this way

        loop = asyncio.get_running_loop()
        if self.poll() is None:
            ended, own = asyncio.Event(), os.dup(self.pidfd)  # a loop calls back one reader of a descriptor: others may await too
            loop.add_reader(own, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(own)
                os.close(own)
            while self.poll() is None and not self._given_up():
                await asyncio.sleep(HELD_PAUSE)
        return self.wait()

    def _reap(self) -> None:
        """Collect the process, if it has ended, with its resource usage; the pidfd stays open until close()."""
        ffi, lib = extension().ffi, extension().lib
        info, used, trace = ffi.new("char[128]"), ffi.new("char[144]"), ffi.new("struct ck_trace *")
        address = [int(ffi.cast("uintptr_t", memory)) for memory in (info, used)]
        result = lib.ck_call(trace, number("waitid"), P_PIDFD, self.pidfd, address[0], WEXITED | WNOHANG, address[1], 0)
        if self.returncode is not None:
            return
        if result < 0:
            raise ChildProcessError(-result, f"process {self.pid} was waited for by other code")
        code, pid, status = struct.unpack_from("8xi4xi4xi", ffi.buffer(info))
        if result == 0 and pid:
            self.returncode = status if code == os.CLD_EXITED else -status
            self.usage = self._used(bytes(ffi.buffer(used)))

    def _used(self, rusage: bytes) -> Usage:
        user, user_us, system, system_us, peak = struct.unpack_from("5q", rusage)
        known = self._exact_memory or peak > self._own_peak
        return Usage(user + user_us / 1e6, system + system_us / 1e6, peak * 1024 if known else None)

    # --- acting --------------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process has ended.  :see: pidfd_send_signal(2)"""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        """Kill the process with SIGKILL, and everything in its pid namespace where it is pid 1."""
        self._killed = True
        self.signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the process to end, with SIGTERM.  A pid 1 without a handler ignores that: use ``ns.Pid(init=True)`` or kill()."""
        self.signal(signal.SIGTERM)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program how large its pseudo-terminal is, in characters."""
        if self.terminal is None:
            raise Unavailable("a terminal", remedy="spawn with stdin=PTY, stdout=PTY, stderr=PTY")
        set_size(self.terminal, rows, columns)

    def communicate(
        self, input: bytes | None = None, timeout: float | None = None, *, output_limit: int | None = OUTPUT_LIMIT
    ) -> tuple[bytes, bytes]:
        """Write `input`, read both outputs to their ends, and wait.  Neither side can block the other.

        :param timeout: seconds; then subprocess.TimeoutExpired is raised with what was read so far
        :param output_limit: bytes that are kept of each stream; later ones are read and dropped, and `truncated` is
            true then.  None keeps everything
        :return: (stdout, stderr); b"" for a stream that is no pipe
        """
        checks.seconds(timeout), checks.data(input)
        end = None if timeout is None else time.monotonic() + timeout
        outputs = Collected(output_limit), Collected(output_limit)
        try:
            Conversation(self.stdin, list(zip((self.stdout, self.stderr), outputs, strict=True)), input or b"").run(end)
            self.wait(None if end is None else max(0.0, end - time.monotonic()))
        except late.subprocess.TimeoutExpired as error:
            raise late.subprocess.TimeoutExpired("the program", timeout or 0.0, outputs[0].value(), outputs[1].value()) from error
        finally:
            self.truncated = any(output.truncated for output in outputs)
        return outputs[0].value(), outputs[1].value()

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Kill and collect a program that still runs, close our descriptors and undo the parent's steps, last first."""
        if self.pidfd < 0:
            return
        if self.returncode is None:
            with contextlib.suppress(ChildProcessError):  # other code collected it: it has ended
                self.kill()
                self.wait()
        self._close_descriptors()
        run_undo(self._undo)

    def _close_descriptors(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        descriptors = (self.terminal, self.pidfd)
        self.terminal, self.pidfd = None, -1  # first, so that nothing that interrupts us makes us close them twice
        for descriptor in descriptors:
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "pidfd", -1) >= 0:
            warnings.warn(f"{self!r} was never closed: use `with plan.spawn() as process`", ResourceWarning, stacklevel=2, source=self)
            self._close_descriptors()

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else f"ended with {self.returncode}"
        return f"<Process {self.pid} {state}>"


def run_undo(undo: list[Callable[[], None]]) -> None:
    """Run the undo functions, last first.  One that fails does not stop the others; the first failure is raised."""
    failures: list[Exception] = []
    while undo:
        try:
            undo.pop()()
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]


def collect_later(pidfd: int) -> None:
    """Collect, in a thread of its own, a child that has ended and whose tracer holds its status back.

    The container's process 1 cannot end before that: the kernel lets it wait for every process of its pid namespace.
    """
    with contextlib.suppress(RuntimeError, OSError):  # no more threads or descriptors: it stays a zombie for as long as this process runs
        own = os.dup(pidfd)
        try:
            threading.Thread(target=_collect, args=(own,), name="containerkit: a traced child", daemon=True).start()
        except RuntimeError:
            os.close(own)


def _collect(pidfd: int) -> None:
    try:
        with contextlib.suppress(OSError):  # other code has collected it
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    finally:
        os.close(pidfd)


def _is_collected(pidfd: int) -> bool:
    try:
        return os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG) is not None
    except OSError:  # other code has collected it
        return True


def end_child(pidfd: int, seconds: float = HELD_SECONDS) -> None:
    """Wait for a killed child and collect it; leave a child that a debugger traces for later."""
    end = time.monotonic() + seconds
    readable(pidfd, None)
    while not _is_collected(pidfd):
        if time.monotonic() > end:
            collect_later(pidfd)
            return
        time.sleep(HELD_PAUSE)


def readable(fd: int, seconds: float | None) -> bool:
    """Whether a descriptor has something to read within so many seconds; None waits for ever."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(None if seconds is None else max(0.0, seconds) * 1000))
