import errno
import resource
from collections.abc import Iterable
from dataclasses import dataclass

import containerkit as ck

NOFILE = ck.syscalls.Labelled(resource.RLIMIT_NOFILE, "NOFILE")


@dataclass(frozen=True)
class Files:
    count: int

    def steps(self) -> Iterable[ck.Step]:
        call = ck.syscalls.prlimit64(NOFILE, self.count, self.count)
        hint = {errno.EPERM: "only root may raise a hard limit"}
        yield ck.Step.child(ck.Phase.DROP, call, why="limit the open files", hint=hint)
