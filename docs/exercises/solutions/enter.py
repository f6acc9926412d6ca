import os
from contextlib import ExitStack

import containerkit as ck
from containerkit.parts.namespace import KINDS


def enter(pid: int, argv: list[str]) -> ck.Result:
    with ExitStack() as stack:
        theirs = [stack.enter_context(ck.Namespace.of(pid, kind)) for kind in KINDS]
        ours = [stack.enter_context(ck.Namespace.of(os.getpid(), kind)) for kind in KINDS]
        return ck.run(argv, *[namespace for namespace in theirs if namespace not in ours])
