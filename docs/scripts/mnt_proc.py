import containerkit as ck
from containerkit import ns, vfs


class LateProc:
    """Mounts a proc when the host's is gone."""

    def steps(self):
        yield from vfs.detached("proc", [], "a proc, too late", phase=ck.Phase.INSIDE, hint="no other proc is visible here any more")


base = ck.rootfs.from_programs(["sh", "ps"])
root = ck.LayerFS(base, readonly=True)
print("before the pivot:", ck.run(["ps", "-e", "-o", "comm="], ns.User(), ns.Mount(), ns.Pid(), root).text)
try:
    ck.run(["ps"], ns.User(), ns.Mount(), ns.Pid(proc=False), root, LateProc())
except ck.StepError as error:
    print("after the pivot:\n" + str(error))
