import resource
from collections.abc import Iterable
from dataclasses import dataclass

import containerkit as ck


@dataclass(frozen=True)
class Files:
    count: int

    def steps(self) -> Iterable[ck.Step]:
        call = ck.syscalls.prlimit64(ck.syscalls.Shown(resource.RLIMIT_NOFILE, "NOFILE"), self.count, self.count)
        yield ck.Step.child(ck.Phase.DROP, call, why=f"at most {self.count} open files", hint={1: "only root may raise a hard limit"})
