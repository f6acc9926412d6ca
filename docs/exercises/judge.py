"""Judge the programs of strangers."""


def judge(argv: list[str]) -> str:
    """Run a program with 32 MiB of memory, no swap, 8 processes and half a second.  Return

    "right"        it ended by itself, with 0
    "wrong"        it ended by itself, with another exit code
    "memory"       it ran out of memory
    "processes"    it reached the limit on processes, and gave up
    "time"         its time was over
    "crashed"      a signal ended it that we did not send

    On return nothing of it is left: no process, no group.
    """
    raise NotImplementedError
