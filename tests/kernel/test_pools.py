"""What programs with pools of processes and of threads do: errors and results arrive, and groups do not meet."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import forkserver, resource_tracker
from typing import Any

import pytest

import containerkit as ck
from containerkit import cgroup, ns

PATIENCE = 60  # seconds for one answer: an error that could not be read once left the caller waiting for ever
METHODS = ["fork", "forkserver", "spawn"]


@pytest.fixture(scope="module", autouse=True)
def helpers() -> Iterator[None]:
    """The two processes that multiprocessing starts at its first pool and keeps: begun before anybody looks for leaks."""
    forkserver.ensure_running()
    resource_tracker.ensure_running()
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


def no_program(number: int) -> int:
    return ck.run(["/no/such/program"]).exit_code


def failing(number: int) -> int:
    return ck.run(["sh", "-c", f"echo no; exit {number}"], check=True, env={"PATH": "/usr/bin:/bin"}).exit_code


def unavailable(number: int) -> None:
    raise ck.Unavailable("a thing", probed="a place", remedy="a way")


def working(number: int) -> ck.Result:
    return ck.run(["echo", str(number)], env={"PATH": "/usr/bin:/bin"})


def planned(plan: ck.Plan) -> bytes:
    return plan.run().stdout


def through_a_pool(method: str, work: Any) -> BaseException:
    """The error that arrives, without the frames that hold the pool and its pipes."""
    pool = multiprocessing.get_context(method).Pool(1)
    try:
        pool.map_async(work, [3]).get(PATIENCE)
    except Exception as error:
        return error.with_traceback(None)
    finally:
        pool.terminate()
        pool.join()
        del pool
        gc.collect()
    raise AssertionError("no error arrived")


CASES = [(no_program, ck.StepError, "execve"), (failing, ck.Failed, "exit code 3"), (unavailable, ck.Unavailable, "remedy: a way")]


@pytest.mark.parametrize(("work", "kind", "words"), CASES)
@pytest.mark.parametrize("method", METHODS)
def test_an_error_arrives_through_a_pool(method: str, work: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        raise through_a_pool(method, work)


@pytest.mark.parametrize(("work", "kind", "words"), CASES)
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_an_error_arrives_through_an_executor(method: str, work: Any, kind: type[Exception], words: str) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool, pytest.raises(kind, match=words) as caught:
        pool.submit(work, 3).result(PATIENCE)
    if isinstance(caught.value, ck.StepError):
        assert (caught.value.errno, caught.value.trace.position(caught.value.step)[0] > 1) == (2, True)
    if isinstance(caught.value, ck.Failed):
        assert caught.value.result.stdout == b"no\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_results_and_plans_cross(method: str) -> None:
    plan = ck.plan(ns.User(), run=["echo", "here"], env={"PATH": "/usr/bin:/bin"})
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        result = pool.submit(working, 7).result(PATIENCE)
        assert (result.stdout, result.exit_code, len(result.trace) > 3) == (b"7\n", 0, True)
        assert "execve" in str(result.trace)
        assert pool.submit(planned, plan).result(PATIENCE) == b"here\n"


def test_what_cannot_cross_is_an_error_in_the_caller_and_no_silence() -> None:
    context = multiprocessing.get_context("spawn")
    with ck.Namespace.of(0, "net") as namespace, ProcessPoolExecutor(1, context) as pool, pytest.raises(TypeError, match=r"Namespace\.of"):
        pool.submit(print, namespace).result(PATIENCE)


# Groups in threads ----------------------------------------------------------------------------------------------

THREADS = 16
TRUE = ["/bin/true"]


def in_threads(work: Any, times: int) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return [f.result(PATIENCE) for f in [pool.submit(work, i) for i in range(times)]]


@pytest.mark.root
def test_runs_with_equal_groups_get_one_each() -> None:
    codes = in_threads(lambda i: ck.run(TRUE, ck.Cgroup("judge", memory_max="32M", pids_max=10)).exit_code, 64)
    assert codes == [0] * 64


@pytest.mark.root
def test_runs_with_one_group_that_is_not_made_get_one_each() -> None:
    shared = ck.Cgroup("judge", memory_max="32M", pids_max=10)
    plan, where = ck.plan(shared, run=["/bin/cat", "/proc/self/cgroup"]), set()

    def work(number: int) -> None:
        result = plan.run() if number % 2 else ck.run(["/bin/cat", "/proc/self/cgroup"], shared)
        where.add(next(line for line in result.text.splitlines() if "containerkit." in line))

    in_threads(work, 64)
    assert len(where) == 64
    assert not shared.exists


@pytest.mark.root
def test_a_group_that_is_made_is_shared() -> None:
    with ck.Cgroup("shared", pids_max=500) as group:
        out = in_threads(lambda i: ck.run(["/bin/cat", "/proc/self/cgroup"], group).text, 48)
    assert len(set(out)) == 1


@pytest.mark.root
def test_groups_without_a_name_are_entered_and_left_in_threads() -> None:
    def work(number: int) -> str:
        with ck.Cgroup(memory_max="16M", pids_max=8, cpu_max=0.5) as group:
            group.set(pids_max=9)
            with group.child() as below:
                assert ck.run(TRUE, below).exit_code == 0
            assert group.read("pids.max") == "9"
            return group.path

    assert len(set(in_threads(work, 48))) == 48


@pytest.mark.root
def test_a_group_is_entered_once_at_a_time() -> None:
    group = ck.Cgroup(pids_max=5)
    with group:
        with pytest.raises(ck.CgroupError, match="entered already"), group:
            pass
        assert group.exists
    with group:
        assert group.exists


@pytest.mark.root
def test_a_name_that_is_made_already_says_what_to_do() -> None:
    with ck.Cgroup("taken", pids_max=5), pytest.raises(ck.CgroupError, match="without a name"):
        ck.Cgroup("taken", pids_max=5).make()


@pytest.mark.root
def test_make_close_and_set_of_one_group_in_threads_are_done_or_refused_in_words() -> None:
    group = ck.Cgroup(pids_max=64, memory_max="64M")

    def work(number: int) -> None:
        with contextlib.suppress(ck.PlanError, ck.CgroupError, ck.StepError):  # it was closed meanwhile, and says so
            [group.make, group.close, lambda: group.set(pids_max=60 + number % 4), lambda: ck.run(TRUE, group)][number % 4]()

    in_threads(work, 400)
    group.close()


@pytest.mark.root
def test_a_signal_in_the_middle_interrupts_no_read_and_no_write() -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(30):
            with ck.Cgroup(memory_max="32M", pids_max=8) as group:
                group.stat()
                assert ck.run(TRUE, group).exit_code == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_each_hierarchy_is_one_object_whichever_thread_asks_first() -> None:
    for _ in range(20):
        cgroup.forget()
        start, found = threading.Barrier(THREADS), list[Any]()

        def look(start: threading.Barrier = start, found: list[Any] = found) -> None:
            start.wait()
            found.append(cgroup.system().hierarchies)

        threads = [threading.Thread(target=look) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({tuple(map(id, each)) for each in found}) == 1
