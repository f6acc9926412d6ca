from collections.abc import Iterable
from dataclasses import dataclass

import containerkit as ck
from containerkit import ns


@dataclass(frozen=True)
class Nice:
    "Give way to others.  :see: setpriority(2)"

    value: int = 10

    def steps(self) -> Iterable[ck.Step]:
        call = ck.syscalls.setpriority(0, 0, self.value)
        yield ck.Step.child(ck.Phase.DROP, call, why="give way to others", hint={13: "only root may go below where it is"})


plan = ck.plan(Nice(5), ns.User(), run=["sh", "-c", "echo my nice value is $(nice)"], env={"PATH": "/usr/bin:/bin"})
print(*[line for line in str(plan).split("\n") if "drop" in line])
print(plan.run().text)

gentle = ck.plan(Nice(5))  # a plan without a program is a part: this one adds up to the same
print(ck.plan(gentle, run=["nice"]).run().text)
try:
    ck.run(["nice"], Nice(-5), ns.User())  # root in here, but not over the machine's processors
except ck.StepError as error:
    print(error)
