"""Programs that are stopped, and programs that only look as if they were."""

import os
import sys
from collections.abc import Iterator
from types import ModuleType

import containerkit as ck

OURS = f"-{os.getpid()}."  # a group's directory has its owner's pid in its name
python = [sys.executable, "-S", "-c"]
FORKS = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 >&- 2>&- & done"
CASES = (
    (["true"], "right", ""),
    (["sh", "-c", "exit 3"], "wrong", ""),
    ([*python, "x = b'x' * 100_000_000"], "memory", ""),
    (["sh", "-c", FORKS], "processes", ""),
    (["sh", "-c", f"({FORKS}) 2>&-; exit 0"], "right", ": it met the limit and coped"),
    (["sleep", "5"], "time", ""),
    (["sh", "-c", "kill -9 $$"], "crashed", ": it killed itself with the signal that the OOM killer uses"),
    (["sh", "-c", "exit 137"], "wrong", ": that is what a shell says for signal 9, but it ended by itself"),
    (["sh", "-c", "sleep 5 >&- 2>&- & exit 0"], "right", ": what it left behind is no reason"),
)  # fmt: skip


def check(answer: ModuleType) -> Iterator[str]:
    ck.Cgroup("probe", memory_max="32M", pids_max=8).make().close()  # Unavailable: nothing can be checked
    for argv, wanted, why in CASES:
        said = answer.judge(argv)
        if said != wanted:
            yield f"for {argv} your answer is {said!r}, but it is {wanted!r}{why}"
        if left := [group for group in ck.Cgroup.groups() if OURS in group.path]:
            yield f"still there after {argv}: {left[0].name}; leaving `with ck.Cgroup(...)` kills what is in it and removes it"
            for group in left:
                group.close()
            return
