"""Programs that are stopped, and programs that only look stopped."""

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
    (["sh", "-c", f"({FORKS}) 2>&-; exit 0"], "right", ": it reached the limit and handled the error"),
    (["sleep", "5"], "time", ""),
    (["sh", "-c", "kill -9 $$"], "crashed", ": it killed itself with the signal that the OOM killer uses"),
    (["sh", "-c", "exit 137"], "wrong", ": a shell says 137 for signal 9 too, but the program ended by itself"),
    (["sh", "-c", "sleep 5 >&- 2>&- & exit 0"], "right", ": a process left behind is no fault"),
)  # fmt: skip


def check(answer: ModuleType) -> Iterator[str]:
    ck.Cgroup("probe", memory_max="32M", pids_max=8).make().close()  # Unavailable: nothing can be checked
    for argv, wanted, why in CASES:
        said = answer.judge(argv)
        if said != wanted:
            yield f"for {argv} your answer is {said!r}, but the right one is {wanted!r}{why}"
        if left := [group for group in ck.Cgroup.groups() if OURS in group.path]:
            yield f"a group is left after {argv}: {left[0].name}; leaving `with ck.Cgroup(...)` kills its processes and removes it"
            for group in left:
                group.close()
            return
