"""Programs in an event loop: it never stalls, and what is cancelled leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from support import again, until

import containerkit as ck
from containerkit import ns
from containerkit.core import process, spawn

SH = ["/bin/sh", "-c"]
INSIDE = [ns.User(), ns.Mount(), ns.Pid()]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def children() -> set[int]:
    """Our own, made by whichever thread."""
    tasks = Path("/proc/self/task")
    return {int(word) for task in tasks.iterdir() for word in (task / "children").read_text().split()}


# A whole run ----------------------------------------------------------------------------------------------------


def test_what_a_program_said() -> None:
    result = asyncio.run(ck.arun([*SH, "cat; echo err >&2; exit 3"], *INSIDE, input=b"in", timeout=60))
    assert (result.exit_code, result.stdout, result.stderr, result.stopped_by) == (3, b"in", b"err\n", None)
    assert result.trace[-1].step.call.name == "execve"


def test_a_plan_runs_itself() -> None:
    assert asyncio.run(ck.plan(ns.User(), ns.Uts("me"), run=["hostname"]).arun()).stdout == b"me\n"


def test_the_same_ends_as_for_a_thread() -> None:
    async def all_of_them() -> list[ck.Result]:
        flood = [*SH, "while :; do echo xxxxxxxxxxxxxxxxxxxxxx; done"]
        return await asyncio.gather(
            ck.arun([*SH, "echo begun; sleep 60"], *INSIDE, timeout=0.5),
            ck.arun(flood, output_limit=10, over_limit="kill"),
            ck.arun(flood, output_limit=10, timeout=0.5),
            ck.arun([*SH, "kill -TERM $$"]),
            ck.arun([*SH, "exec >&- 2>&-; sleep 0.2; exit 5"]),
            ck.arun([*SH, "echo out"], stdout=ck.DEVNULL),
        )

    slow, killed, drained, signalled, closed, silent = asyncio.run(all_of_them())
    assert (slow.stopped_by, slow.exit_code, slow.stdout) == ("timeout", 137, b"begun\n")
    assert (killed.stopped_by, killed.stdout, killed.truncated) == ("output", b"xxxxxxxxxx", True)
    assert (drained.stopped_by, drained.stdout, drained.truncated) == ("timeout", b"xxxxxxxxxx", True)
    assert (signalled.stopped_by, signalled.exit_code) == ("signal", 143)
    assert (closed.stopped_by, closed.exit_code) == (None, 5)
    assert silent.stdout == b""


def test_checked() -> None:
    with pytest.raises(ck.Failed, match="exit code 7"):
        asyncio.run(ck.arun([*SH, "exit 7"], check=True))


def test_what_cannot_be_made() -> None:
    with pytest.raises(ck.StepError):
        asyncio.run(ck.arun(["/nowhere"]))


def test_what_a_function_raises_kills_the_program_and_arrives() -> None:
    for kind in (LookupError, TimeoutError, StopIteration):

        def refuse(piece: bytes, kind: type[Exception] = kind) -> None:
            raise kind("no more")

        with pytest.raises(RuntimeError if kind is StopIteration else kind):
            asyncio.run(ck.arun([*SH, "echo x; exec sleep 60"], stdout=refuse, timeout=60))
        assert not children()


def _at_once() -> int:
    """Two hundred, or as many as the user's keys allow: each running container has a session keyring of its own."""
    used = [line.split()[3] for line in Path("/proc/key-users").read_text().splitlines() if line.split()[0] == f"{os.getuid()}:"]
    most = int(Path("/proc/sys/kernel/keys/maxkeys").read_text())
    return 200 if os.getuid() == 0 else min(200, most - 20 - sum(int(each.split("/")[0]) for each in used))


def test_two_hundred_at_once_and_the_loop_goes_on() -> None:
    ticks, many = 0, _at_once()
    assert many > 50

    async def heart() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def crowd() -> tuple[list[ck.Result], int]:
        beating = asyncio.create_task(heart())
        results = await asyncio.gather(*(ck.arun([*SH, "sleep 0.5; echo $0", str(n)], *INSIDE) for n in range(many)))
        threads = threading.active_count()
        beating.cancel()
        return results, threads

    results, threads = asyncio.run(crowd())
    assert [int(result.stdout) for result in results] == list(range(many))
    assert ticks >= 10  # half a second at least, of which a loop that made 200 processes itself would have seen none
    assert threads < 20


def test_the_loops_thread_makes_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    real = spawn.spawn

    def noted(*args: Any, **more: Any) -> Any:
        threads.append(threading.get_ident())
        return real(*args, **more)

    monkeypatch.setattr(spawn, "spawn", noted)
    asyncio.run(ck.arun(["/bin/true"]))
    assert threads
    assert threading.get_ident() not in threads


def test_a_program_outlives_the_making_of_others() -> None:
    """PR_SET_PDEATHSIG is about the thread that cloned: that one has to stay."""

    async def two() -> list[ck.Result]:
        long = asyncio.create_task(ck.arun([*SH, "sleep 1; echo there"]))
        await asyncio.gather(*(ck.arun(["/bin/true"]) for _ in range(20)))
        return [await long]

    assert asyncio.run(two())[0].stdout == b"there\n"


# Cancelling -----------------------------------------------------------------------------------------------------


def test_a_cancelled_task_kills_the_program() -> None:
    async def cancelled() -> int:
        pids: list[int] = []
        task = asyncio.create_task(ck.arun([*SH, "echo $$; exec sleep 60"], stdout=lambda piece: pids.append(int(piece))))
        while not pids:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pids[0]

    assert gone(asyncio.run(cancelled()))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_cancelled_while_it_is_being_made(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    making, real = threading.Event(), spawn.spawn

    def slowly(*args: Any, **more: Any) -> Any:
        made = real(*args, **more)
        making.set()
        time.sleep(0.3)
        return made

    monkeypatch.setattr(spawn, "spawn", slowly)

    async def cancelled() -> None:
        task = asyncio.create_task(ck.arun([*SH, "sleep 60"], *INSIDE))
        while not making.is_set():
            await asyncio.sleep(0.01)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert times > 1 or not children()  # after one, all is over; who insists does not wait for it

    asyncio.run(cancelled())
    assert until(lambda: not children())


def test_cancelled_before_its_turn() -> None:
    async def cancelled() -> None:
        tasks = [asyncio.create_task(ck.arun([*SH, "sleep 60"])) for _ in range(30)]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        assert all(isinstance(found, asyncio.CancelledError) for found in await asyncio.gather(*tasks, return_exceptions=True))

    asyncio.run(cancelled())
    assert not children()


def test_the_end_of_the_loop_cancels() -> None:
    async def left() -> None:
        asyncio.ensure_future(ck.arun([*SH, "sleep 60"]))  # noqa: RUF006 - it is to be left
        await asyncio.sleep(0.2)

    asyncio.run(left())
    assert not children()


@pytest.mark.parametrize("seconds", [0.001, 0.3])
def test_a_loop_that_is_closed_under_it(seconds: float) -> None:
    """Nobody cancels then: what is left of the coroutine is all that can clean up."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(ck.arun([*SH, "sleep 60"]))
    loop.run_until_complete(asyncio.sleep(seconds))
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine: Coroutine[Any, Any, Any] = task.get_coro()  # type: ignore[assignment]
    del task
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coroutine.close()
    gc.collect()
    assert until(lambda: not children())


# A process ------------------------------------------------------------------------------------------------------


def in_loop(body: Callable[[ck.AsyncProcess], Coroutine[Any, Any, Any]], script: str, **streams: Any) -> Any:
    async def all_of_it() -> Any:
        async with ck.plan(*INSIDE, run=[*SH, script]).aspawn(**streams) as made:
            return await body(made)

    return asyncio.run(all_of_it())


def test_lines_as_they_come() -> None:
    async def body(made: ck.AsyncProcess) -> list[bytes]:
        found = []
        async for line in made.lines():
            found.append(line)
            if len(found) == 1:
                await made.write(b"go\n")
        assert await made == 0
        return found

    assert in_loop(body, "echo one; read x; echo $x; printf end", stdin=ck.PIPE, stdout=ck.PIPE) == [b"one\n", b"go\n", b"end"]


def test_lines_have_a_limit() -> None:
    async def body(made: ck.AsyncProcess) -> list[bytes]:
        return [line async for line in made.lines("stderr", limit=4)]

    assert in_loop(body, "printf 'abc\\nabcd\\nabcdefghi\\n\\nab' >&2", stderr=ck.PIPE) == [
        b"abc\n", b"abcd", b"\n", b"abcd", b"efgh", b"i\n", b"\n", b"ab",
    ]  # fmt: skip


def test_no_line_is_lost_or_comes_twice() -> None:
    async def body(made: ck.AsyncProcess) -> bytes:
        async for line in made.lines():
            first = line
            break
        second = await anext(aiter(made.lines()))
        out, _ = await made.communicate()
        return first + second + out

    text = b"".join(b"%d\n" % n for n in range(20000))
    assert in_loop(body, "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done", stdout=ck.PIPE) == text


def test_a_program_that_never_pauses_does_not_keep_the_loop() -> None:
    async def body(made: ck.AsyncProcess) -> int:
        reading = asyncio.create_task(_count(made))
        await asyncio.sleep(0.3)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        return 1

    async def _count(made: ck.AsyncProcess) -> None:
        async for _ in made.lines():
            pass

    assert in_loop(body, "while :; do echo xxxxxxxxxxxxxxx; done", stdout=ck.PIPE) == 1


def test_two_readers_of_one_stream() -> None:
    async def body(made: ck.AsyncProcess) -> None:
        first = asyncio.create_task(anext(aiter(made.lines())))
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError, match="another task"):
            await made.communicate()
        first.cancel()

    in_loop(body, "sleep 60", stdout=ck.PIPE)


def test_what_is_no_pipe() -> None:
    async def body(made: ck.AsyncProcess) -> None:
        with pytest.raises(ck.PlanError, match="stdout=PIPE"):
            await anext(aiter(made.lines()))
        with pytest.raises(ck.PlanError, match="stdin=PIPE"):
            await made.write(b"x")

    in_loop(body, "exit 0", stdout=ck.DEVNULL)


def test_communicate() -> None:
    async def body(made: ck.AsyncProcess) -> tuple[bytes, bytes]:
        return await made.communicate(bytes(300_000), output_limit=1000)

    async def body_too_late(made: ck.AsyncProcess) -> None:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            await made.communicate(timeout=0.3)
        assert caught.value.stdout == b"begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            await made.wait(0.05)

    out, err = in_loop(body, "cat; echo err >&2", stdin=ck.PIPE, stdout=ck.PIPE, stderr=ck.PIPE)
    assert (out, err) == (bytes(1000), b"err\n")
    in_loop(body_too_late, "echo begun; sleep 60", stdout=ck.PIPE)


def test_awaited_it_is_the_callers_to_close() -> None:
    async def body() -> tuple[int, int]:
        made = await ck.plan(run=[*SH, "sleep 60"]).aspawn()
        pid = made.pid
        made.terminate()
        code = await made.wait()
        await made.close()
        return pid, code

    pid, code = asyncio.run(body())
    assert code == -15
    assert gone(pid)


def test_of_a_process_that_is_there() -> None:
    async def body() -> bytes:
        with ck.plan(run=[*SH, "echo x"]).spawn(stdout=ck.PIPE) as made:
            assert isinstance(made, process.Process)
            return (await ck.AsyncProcess(made).communicate())[0]

    assert asyncio.run(body()) == b"x\n"


# Processes of ours ----------------------------------------------------------------------------------------------


def _inner(out: Any) -> None:
    out.send(asyncio.run(ck.arun([*SH, "echo inner"])).stdout)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_after_a_fork(method: str) -> None:
    """The threads that make processes are not there in a child of ours."""
    asyncio.run(ck.arun(["/bin/true"]))
    code = (
        "import asyncio, sys, multiprocessing\nimport containerkit as ck\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
        "from test_coroutines import _inner\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(ck.arun(['/bin/true']))\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    ours, theirs = context.Pipe(False)\n"
        "    child = context.Process(target=_inner, args=(theirs,)); child.start()\n"
        "    assert ours.poll(30); print(ours.recv()); child.join(30)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "b'inner\\n'\n", done.stderr
    assert multiprocessing.active_children() == []


def test_python_ends_while_a_program_runs() -> None:
    code = (
        "import asyncio, containerkit as ck\n"
        "async def main():\n"
        "    made = await ck.plan(run=['/bin/sleep', '60'], die_with_parent=True).aspawn()\n"
        "    print(made.pid, flush=True)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert until(lambda: gone(int(done.stdout)))


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    assert os.geteuid() == 0
    again(as_user, __file__)
