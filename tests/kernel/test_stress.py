"""20,000 spawns from 16 threads while others allocate, collect garbage and fork.  CK_SPAWNS=100000 for more."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import compiled

import containerkit as ck
from containerkit import ns

SPAWNS, THREADS = int(os.environ.get("CK_SPAWNS", "20000")), 16
# No C library: the tiniest program, so that what is measured is the making of a process.
TINY = r"""
void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("movl $231, %eax; movl $7, %edi; syscall");
#else
	__asm__ volatile("mov x8, #94; mov x0, #7; svc #0");
#endif
}
"""


class Crowd:
    """Threads that run until they are told to stop; what one of them raises is kept."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []
        self.stop = threading.Event()

    def add(self, body: Callable[[], None], *, forever: bool = False) -> None:
        def run() -> None:
            try:
                while True:
                    body()
                    if not forever or self.stop.is_set():
                        return
            except BaseException as error:
                self.failures.append(error)
                self.stop.set()

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()


def _spawn(plan: ck.Plan, times: int) -> None:
    for _ in range(times):
        with plan.spawn() as process:
            assert process.wait() == 7


def _churn() -> None:
    blocks = [bytearray(size) for size in (100, 5_000, 300_000, 4_000_000)]
    blocks[-1][::4096] = b"x" * len(blocks[-1][::4096])


def _fork() -> None:
    pid = os.fork()
    if not pid:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_thousands_of_spawns_amid_allocations_and_forks(open_path: Path) -> None:
    tiny = compiled(TINY, open_path / "tiny", "-nostdlib")
    plans = [ck.plan(run=[tiny])] * 13 + [ck.plan(ns.User(), ns.Uts("x"), run=[tiny], die_with_parent=True)] * 3
    workers, others = Crowd(), Crowd()
    pause = threading.Event()
    for body in (_churn, _fork, lambda: (gc.collect(0), pause.wait(0.001)), lambda: (_churn(), pause.wait(0.001))):
        others.add(body, forever=True)  # type: ignore[arg-type]
    for plan in plans:
        workers.add(lambda plan=plan: _spawn(plan, SPAWNS // THREADS))  # type: ignore[misc]
    for thread in workers.threads:
        thread.join(300 * SPAWNS / 20_000)
    others.stop.set()
    for thread in others.threads:
        thread.join(10)
    assert [str(e) for e in workers.failures + others.failures] == []
    assert not any(t.is_alive() for t in workers.threads + others.threads)
