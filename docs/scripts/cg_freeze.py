import select
import sys

import containerkit as ck

TICK = ["sh", "-c", "while :; do echo tick; sleep 0.02; done"]


def ticks(process: ck.Process) -> bool:
    """Return whether the program prints something soon, after its earlier output was read."""
    process.stdout.read1()
    return bool(select.select([process.stdout], [], [], 0.2)[0])


try:
    group = ck.Cgroup("clock").make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group:
    with ck.plan(group, run=TICK).spawn(stdout=ck.PIPE) as process:
        print("running, it ticks:", ticks(process))
        with group.frozen():
            print("frozen, it ticks: ", ticks(process))
        print("thawed, it ticks: ", ticks(process))
        group.kill()
        print("killed by signal  ", -process.wait(), "processes left:", group.procs())
    group.child("below").child("deeper")
    print("a tree:           ", *[one.name for one in group.walk()])
    group.remove()
    print("removed:          ", not group.exists)
