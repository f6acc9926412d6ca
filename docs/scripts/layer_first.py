import containerkit as ck
from containerkit import ns

base = ck.rootfs.from_programs(["sh", "ls", "cat", "rm", "touch"])
with ck.LayerFS(base) as root:
    plan = ck.plan(ns.User(), ns.Mount(), root, run=["/bin/sh", "-c", "touch /new; echo me > /etc/hostname; rm /etc/passwd; ls /etc"])
    print(*[line for line in str(plan).split("\n") if "  rootfs " in line or "  prepare " in line], sep="\n")
    print(plan.run(check=True).text)
    for change in root.changes():
        print(change)
    print(root.usage())
print("the base still has", *sorted(p.name for p in (base / "etc").iterdir() if p.name in ("passwd", "hostname")))
