import containerkit as ck
from containerkit import ns
from containerkit.core import mounting


class LateProc:
    """Mount a proc after the host's is gone."""

    def steps(self):
        hint = "no other proc is visible here any more"
        yield from mounting.detached(
            "proc", [], "a proc, too late", phase=ck.Phase.INSIDE, hint=hint
        )


base = ck.rootfs.from_programs(["sh", "ps"])
root = ck.LayerFS(base, readonly=True)
space = [ns.User(), ns.Mount(), root]
print("before the pivot:", ck.run(["ps", "-e", "-o", "comm="], *space, ns.Pid()).text)
try:
    ck.run(["ps"], *space, ns.Pid(proc=False), LateProc())
except ck.StepError as error:
    print("after the pivot:\n" + str(error))
