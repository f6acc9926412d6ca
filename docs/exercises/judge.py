"""Programs that strangers send in."""


def judge(argv: list[str]) -> str:
    """Runs a program with 32 MiB of memory, no swap, 8 processes and half a second.  Returns

    "right"        it ended by itself, with 0
    "wrong"        it ended by itself, with something else
    "memory"       it ran out of memory
    "processes"    it ran into the limit on processes, and gave up
    "time"         its time was over
    "crashed"      a signal ended it, and it was none of ours

    On return nothing of it is left: no process, no group.
    """
    raise NotImplementedError
