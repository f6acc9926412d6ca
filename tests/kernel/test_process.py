# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""A Process: waiting, talking, signals, streams, terminals, and what of the caller's stays as it was."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import again, until

import containerkit as ck
from containerkit import mounts, ns

SH = "/bin/sh"


def spawn(script: str, *parts: Any, **streams: Any) -> ck.Process:
    options = {k: streams.pop(k) for k in ("die_with_parent", "share_memory", "env", "cwd", "new_session") if k in streams}
    return ck.plan(*parts, run=[SH, "-c", script], **options).spawn(**streams)


def python(source: str, *parts: Any, **options: Any) -> bytes:
    with ck.plan(*parts, run=[sys.executable, "-S", "-c", source], **options).spawn(stdin=ck.DEVNULL, stdout=ck.PIPE) as process:
        return process.communicate(timeout=20)[0]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", -15), ("kill -KILL $$", -9), ("kill -SEGV $$", -11)],
)
def test_returncode_is_that_of_subprocess(script: str, code: int) -> None:
    with spawn(f"ulimit -c 0; {script}") as process:
        assert process.wait() == process.returncode == process.poll() == code
    assert code == subprocess.call([SH, "-c", f"ulimit -c 0; {script}"])


def test_waiting_with_a_timeout() -> None:
    with spawn("exec sleep 1000") as process:
        begin = time.monotonic()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        assert 0.1 <= time.monotonic() - begin < 2
        assert process.poll() is None
        assert (process.returncode, process.usage) == (None, None)
        process.terminate()
        assert process.wait(5) == -15
        process.kill()  # it has ended: nothing happens


def test_the_context_kills_and_closes() -> None:
    with spawn("exec sleep 1000", stdin=ck.PIPE, stdout=ck.PIPE) as process:
        pid = process.pid
    assert process.returncode == -9
    assert process.pidfd == -1
    assert not os.path.exists(f"/proc/{pid}")
    process.close()


def test_a_process_that_was_never_closed_warns() -> None:
    process = spawn("exit 0")
    process.wait()
    with pytest.warns(ResourceWarning, match="never closed"):  # noqa: PT031
        del process
        gc.collect()


def test_ten_megabytes_both_ways() -> None:
    data = os.urandom(1 << 16) * 160
    with spawn("exec cat", stdin=ck.PIPE, stdout=ck.PIPE, stderr=ck.PIPE) as process:
        out, err = process.communicate(data, timeout=20)
    assert out == data
    assert err == b""


def test_communicate_times_out_with_what_was_read() -> None:
    with spawn("echo begun; exec sleep 1000", stdout=ck.PIPE) as process, pytest.raises(subprocess.TimeoutExpired) as caught:
        process.communicate(timeout=0.5)
    assert caught.value.output == b"begun\n"


def test_a_program_that_does_not_read_is_no_error() -> None:
    with spawn("exit 4", stdin=ck.PIPE) as process:
        assert process.communicate(b"x" * 1_000_000) == (b"", b"")
        assert process.returncode == 4


def test_streams(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file")
    with open(tmp_path / "in") as source, open(tmp_path / "out", "w") as target:  # noqa: SIM117
        with spawn("cat; echo aside >&2", stdin=source, stdout=target, stderr=ck.STDOUT) as process:
            assert process.wait() == 0
    assert (tmp_path / "out").read_text() == "from a fileaside\n"
    with spawn("cat; echo x; echo y >&2", stdin=ck.DEVNULL, stdout=ck.PIPE, stderr=ck.DEVNULL) as process:
        assert process.communicate() == (b"x\n", b"")
    reader, writer = os.pipe()
    with (
        open(tmp_path / "in") as source,
        spawn("echo through >&7; readlink /proc/self/fd/9", stdout=ck.PIPE, fds={7: writer, 9: source}) as process,
    ):
        os.close(writer)
        assert process.communicate()[0] == bytes(tmp_path / "in") + b"\n"
    assert os.read(reader, 100) == b"through\n"
    os.close(reader)


def test_streams_that_stand_in_each_others_way(tmp_path: Path) -> None:
    """What becomes 1 is 0 here, what becomes 0 is high, what becomes 3 is 4 and the other way round."""
    a, b = (os.open(tmp_path / n, os.O_RDWR | os.O_CREAT) for n in "ab")
    numbers = {a: b, b: a} if min(a, b) > 2 else {}
    with spawn(f"readlink /proc/self/fd/{a} /proc/self/fd/{b}", stdout=ck.PIPE, fds=numbers) as process:
        out = process.communicate()[0].split()
    assert out == [bytes(tmp_path / "b"), bytes(tmp_path / "a")]
    os.close(a)
    os.close(b)


def test_many_at_once_in_asyncio() -> None:
    async def one(code: int) -> int:
        with spawn(f"sleep 0.2; exit {code}") as process:
            return await process

    async def everyone() -> list[int]:
        return await asyncio.gather(*(one(code) for code in range(20)))

    begin = time.monotonic()
    assert asyncio.run(everyone()) == list(range(20))
    assert time.monotonic() - begin < 3


def test_several_threads_may_wait_for_one_process() -> None:
    with spawn("sleep 0.2; exit 3") as process:
        codes: list[int] = []
        threads = [threading.Thread(target=lambda: codes.append(process.wait())) for _ in range(8)]
        for thread in threads:
            thread.start()
        while process.poll() is None:
            process.signal(0)
        for thread in threads:
            thread.join()
    assert codes == [3] * 8


def test_several_tasks_may_await_one_process() -> None:
    async def everyone() -> list[int]:
        with spawn("sleep 0.2; exit 3") as process:

            async def one() -> int:
                return await process

            return await asyncio.wait_for(asyncio.gather(one(), one()), 5)

    assert asyncio.run(everyone()) == [3, 3]


def test_a_terminal() -> None:
    script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo tty; echo hi > /dev/tty; trap 'echo interrupted; exit 5' INT; echo set; while :; do sleep 0.05; done"
    with spawn(script, stdin=ck.PTY, stdout=ck.PTY, stderr=ck.PTY, env={"PATH": os.environ["PATH"]}) as process:
        assert process.terminal is not None
        process.resize(33, 99)
        assert os.get_terminal_size(process.terminal) == (99, 33)
        said = b""
        while b"set" not in said:
            said += os.read(process.terminal, 1000)
        os.write(process.terminal, b"\x03")
        assert process.wait(5) == 5
        said += os.read(process.terminal, 1000)
    assert said.split() == [b"tty", b"hi", b"set", b"^Cinterrupted"] or b"interrupted" in said


def test_the_environment_is_what_was_given() -> None:
    assert python("import os; print(sorted(k for k in os.environ if k != 'LC_CTYPE'))") == b"[]\n"
    assert python("import os; print(os.environ['A'])", env={"A": "b=c"}) == b"b=c\n"


STATE = "import os,signal; print([l for l in open('/proc/self/status') if l[:3] == 'Sig'][1:4], signal.getsignal(signal.SIGUSR1))"
KINDS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("plain", [], {}), ("namespaces", [ns.User(), ns.Uts("other")], {}), ("own image", [ns.User()], {"share_memory": False}),
    ("mounts", [ns.User(), ns.Mount(), mounts.Tmpfs("/tmp")], {}), ("init", [ns.User(), ns.Mount(), ns.Pid(init=True)], {"die_with_parent": True}),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "options"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_signals_arrive_as_for_the_caller(parts: list[Any], options: dict[str, Any]) -> None:
    """The caller's mask, no handler of its, what it was told to ignore, but SIGPIPE and SIGXFSZ, which Python ignores, as usual."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGHUP})
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        mine = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with ck.plan(*parts, run=["/bin/cat", "/proc/self/status"], **options).spawn(stdout=ck.PIPE) as process:
            out = process.communicate()[0].decode()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mine
    finally:
        signal.signal(signal.SIGUSR1, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = dict(line.split(":\t") for line in out.splitlines() if line.startswith("Sig"))
    assert int(status["SigBlk"], 16) == sum(1 << n - 1 for n in mine)
    ignored = {signal.Signals(n) for n in range(1, 32) if signal.getsignal(n) is signal.SIG_IGN} - {signal.SIGPIPE, signal.SIGXFSZ}
    internal = 3 << 31  # two signals of libc's own, which make(1) leaves ignored
    assert int(status["SigIgn"], 16) & ~internal == sum(1 << n - 1 for n in ignored)
    assert int(status["SigCgt"], 16) == 0


def _caller() -> tuple[Any, ...]:
    kept = ("SigB", "SigI", "SigC", "Uid:", "Gid:", "Grou", "CapE", "CapP", "CapI", "Umas", "NoNe")
    status = [line for line in Path("/proc/thread-self/status").read_text().splitlines() if line.startswith(kept)]
    spaces = [os.readlink(f"/proc/thread-self/ns/{name}") for name in os.listdir("/proc/thread-self/ns")]
    dumpable = os.stat("/proc/self/environ").st_uid, __import__("ctypes").CDLL(None).prctl(3)
    return status, spaces, os.getcwd(), os.getsid(0), signal.getsignal(signal.SIGINT), dumpable, sorted(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(("parts", "options"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
@pytest.mark.parametrize("program", ["/bin/true", "/nowhere"])
def test_the_caller_stays_as_it_was(program: str, parts: list[Any], options: dict[str, Any]) -> None:
    before = _caller()
    try:
        with ck.plan(*parts, run=[program], **options).spawn() as process:
            process.wait()
    except ck.StepError:
        assert program == "/nowhere"
    assert _caller() == before


def test_the_program_ends_with_the_thread_that_spawned_it() -> None:
    made: list[ck.Process] = []
    thread = threading.Thread(target=lambda: made.append(spawn("exec sleep 1000", die_with_parent=True)))
    thread.start()
    thread.join()
    with made[0] as process:
        assert process.wait(3) == -9


def test_an_init_passes_signals_on_and_reaps() -> None:
    script = "trap 'exit 42' TERM; (sleep 0.1 & ) ; echo ready; while :; do sleep 0.02; done"
    with spawn(script, ns.User(), ns.Mount(), ns.Pid(init=True), stdout=ck.PIPE, env={"PATH": os.environ["PATH"]}) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1, "an orphan was not reaped"
        process.terminate()
        assert process.wait(5) == 42


@pytest.mark.parametrize(("script", "code"), [("exit 9", 9), ("kill -9 $$", 137)])
def test_an_init_ends_as_its_program(script: str, code: int) -> None:
    with spawn(script, ns.User(), ns.Mount(), ns.Pid(init=True)) as process:
        assert process.wait(5) == code


def test_a_caller_that_ignores_its_children() -> None:
    """The kernel then collects them itself, and an init that ignored its own would never hear of the program's end."""
    script = """
import os, select, signal, containerkit as ck
from containerkit import ns
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for parts, apart in ((ns.Pid(init=True),), False), ((), True), ((ns.Pid(init=True),), True):
    with ck.plan(ns.User(), *parts, run=["/bin/sleep", "0.1"], share_memory=not apart).spawn() as process:
        print(bool(select.select([process.pidfd], [], [], 5)[0]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"] * 3, done.stderr


def test_process_1_gets_no_signal_it_does_not_handle() -> None:
    with spawn("echo ready; read x", ns.User(), ns.Mount(), ns.Pid(), stdin=ck.PIPE, stdout=ck.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
        assert process.wait(5) == -9


def test_when_process_1_ends_all_do() -> None:
    with spawn(
        "sleep 1000 & echo $!; exit 0", ns.User(), ns.Mount(), ns.Pid(), stdout=ck.PIPE, env={"PATH": os.environ["PATH"]}
    ) as process:
        assert process.communicate(timeout=5)[0].strip().isdigit()


def test_usage() -> None:
    with spawn("i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done") as process:
        process.wait()
    assert process.usage
    assert process.usage.user_seconds > 0
    assert process.usage.cpu_seconds < 20
    # this process is larger than the shell, and the kernel counts its peak for a child that shared its memory
    assert process.usage.memory_peak is None


def test_memory_peak_where_it_is_known() -> None:
    big = f"x = bytearray({64 << 20}); x[::4096] = b'x' * len(x[::4096])"
    with ck.plan(run=[sys.executable, "-c", big], share_memory=False).spawn() as process:
        process.wait()
    assert process.usage
    assert process.usage.memory_peak is not None
    assert 64 << 20 < process.usage.memory_peak < 200 << 20


def test_a_trace_tells_what_was_done() -> None:
    with spawn("exit 0", ns.User()) as process:
        process.wait()
    calls = [e.step.call.name for e in process.trace]
    assert calls[0] == "clone3"
    assert calls[-1] == "execve"
    assert process.trace[0].result == process.pid
    assert all(0 <= e.microseconds < 5e6 and e.begin >= 0 for e in process.trace)
    for side in ck.Side:  # one may already wait for the other's turn, which stands before it
        begun = [e.begin for e in process.trace if e.step.side is side]
        assert begun == sorted(begun)


@pytest.mark.parametrize("script", ["sleep 1000", "exec sleep 1000"])
def test_a_signal_by_number(script: str) -> None:
    with spawn("exec sleep 1000") as process:
        process.signal(signal.SIGUSR1)
        assert until(lambda: process.poll() == -signal.SIGUSR1)


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
