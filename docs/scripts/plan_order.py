import itertools

import containerkit as ck
from containerkit import mounts, ns

parts = [ns.User(), ns.Mount(), ns.Pid(), ns.Uts("lesson"), mounts.Tmpfs("/tmp")]
plans = [ck.plan(*some, run=["/bin/sh"]) for some in itertools.permutations(parts)]
print(len(plans), "orders of the parts")
print(
    len({str(plan) for plan in plans}),
    "orders of the steps: those of one phase keep the order of their parts",
)
print(
    len({tuple(step.phase for step in plan.timeline.steps) for plan in plans}),
    "order of the phases\n",
)

for phase in ck.Phase:
    print(
        f"{phase.name:9}", sum(step.phase is phase for step in plans[0].timeline.steps), "steps"
    )
