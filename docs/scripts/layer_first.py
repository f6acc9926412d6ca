import containerkit as ck
from containerkit import ns

SCRIPT = "touch /new; echo me > /etc/hostname; rm /etc/passwd; ls /etc"

base = ck.rootfs.from_programs(["sh", "ls", "cat", "rm", "touch"])
with ck.LayerFS(base) as root:
    plan = ck.plan(ns.User(), ns.Mount(), root, run=["/bin/sh", "-c", SCRIPT])
    for step in plan.timeline.steps:
        if step.phase in (ck.Phase.PREPARE, ck.Phase.ROOTFS):
            print(str(step).replace(str(base), "BASE").replace(str(root.upper.parent), "OWN"))
    print("\n" + plan.run(check=True).text)
    print(*root.changes(), sep="\n")
    print(root.usage())
print("the base still has /etc/passwd:", (base / "etc/passwd").exists())
