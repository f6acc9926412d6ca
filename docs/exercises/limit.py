"""A part of your own."""

from collections.abc import Iterable
from dataclasses import dataclass

import containerkit as ck


@dataclass(frozen=True)
class Files:
    """A limit of `count` open files, which the program cannot raise.

    The call is ck.syscalls.prlimit64(resource, soft, hard), where the resource is
    ck.syscalls.Labelled(resource.RLIMIT_NOFILE, "NOFILE").  :see: prlimit(2)
    """

    count: int

    def steps(self) -> Iterable[ck.Step]:
        raise NotImplementedError
