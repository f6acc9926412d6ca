import errno
from collections.abc import Iterable
from dataclasses import dataclass

import containerkit as ck
from containerkit import ns


@dataclass(frozen=True)
class Nice:
    "A lower priority for the program.  :see: setpriority(2)"

    value: int = 10

    def steps(self) -> Iterable[ck.Step]:
        call = ck.syscalls.setpriority(0, 0, self.value)
        hint = {errno.EACCES: "only root of the machine may raise a priority"}
        yield ck.Step.child(ck.Phase.DROP, call, why="let other programs run first", hint=hint)


plan = ck.plan(Nice(5), ns.User(), run=["nice"])
print(*[line for line in str(plan).split("\n") if "drop" in line])
print("its nice value is", plan.run().text)

gentle = ck.plan(Nice(7), ns.User())  # a plan without a program is a part, too
print("its nice value is", ck.run(["nice"], gentle).text)
try:
    ck.run(["nice"], Nice(-5), ns.User())  # root inside has no power over priorities
except ck.StepError as error:
    print(error)
