"""The winner is not the first in the list, and the losers are looked for."""

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
        yield f"it took {seconds:.0f} s: you waited for a loser; a pidfd is readable when its process has ended: select() can wait for all"
    gc.collect()
    if left := [child for child in psutil.Process().children() if child.name() == "sleep"]:
        yield f"still there: {len(left)} of them; leaving `with plan.spawn() as process` kills what runs and collects what ended"
        for child in left:
            child.kill()
            child.wait()
