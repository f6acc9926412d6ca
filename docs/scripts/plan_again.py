import sys
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import mounts, ns


def counted(make):
    """What `make` returns, and how many functions of Python were called for it."""
    calls = []
    sys.setprofile(lambda frame, event, arg: calls.append(event == "call"))
    try:
        return make(), sum(calls)
    finally:
        sys.setprofile(None)


with tempfile.TemporaryDirectory() as directory:
    source, root = Path(directory, "source"), Path(directory, "root")
    for path in (source, root, root / "proc"):
        path.mkdir()

    def prepare(word: str):
        """Every part is made anew, and the program differs."""
        parts = [ns.User.same(), ns.Mount(), ns.Pid(), mounts.Root(root)]
        parts += [mounts.Dev(), mounts.Bind(source, "/here")]
        plan = ck.plan(*parts, run=["/bin/echo", word])
        return plan, plan.program()

    (first, _), calls = counted(lambda: prepare("one"))
    (second, program), again = counted(lambda: prepare("two"))
    print(len(first.timeline.steps), "steps")
    print("the second plan takes", f"{again / calls:.0%} of the calls of Python functions")
    assert again < calls / 5
    assert first.timeline.steps[:-1] == second.timeline.steps[:-1]
    assert b"two\0" in program.code
    assert b"one\0" not in program.code

    def place(plan):
        return next(str(step) for step in plan.timeline.steps if "make /here" in step.why)

    print("a directory is bound:  ", place(second))
    source.rmdir()
    source.touch()
    (third, _), calls = counted(lambda: prepare("two"))
    print("a file has replaced it:", place(third))
    assert place(third) != place(second)
