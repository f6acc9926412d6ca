"""A winner that is not the first in the list, and losers that must not be left."""

import gc
import time
from collections.abc import Iterator
from types import ModuleType

import psutil


def check(answer: ModuleType) -> Iterator[str]:
    begin = time.monotonic()
    winner = answer.race([["sleep", "2"], ["sleep", "0.2"], ["sleep", "3"]])
    seconds = time.monotonic() - begin
    if winner != 1:
        yield f"`sleep 0.2` at index 1 ends first, but your answer is {winner!r}"
    if seconds > 1.5:
        yield f"it took {seconds:.0f} s: you waited for a loser; a pidfd becomes readable when its process ends, so use select()"
    gc.collect()
    if left := [child for child in psutil.Process().children() if child.name() == "sleep"]:
        yield f"{len(left)} processes are left; leaving `with plan.spawn() as process` kills and collects its process"
        for child in left:
            child.kill()
            child.wait()
