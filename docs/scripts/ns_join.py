import containerkit as ck
from containerkit import mounts, ns

base = ck.rootfs.from_programs(["sh", "ls", "cat", "hostname", "ps", "grep"])
with ck.LayerFS(base) as root:
    parts = [ns.User(), ns.Mount(), ns.Pid(), ns.Uts("kubia"), root, mounts.Dev()]
    serve = ck.plan(*parts, run=["sh", "-c", "echo 42 > /answer; echo up; read wait"])
    with serve.spawn(stdin=ck.PIPE, stdout=ck.PIPE) as container:
        container.stdout.readline()
        joined = [ck.Namespace.of(container.pid, kind) for kind in ("user", "mnt", "pid", "uts")]
        plan = ck.plan(*joined, run=["sh", "-c", "hostname; cat /answer; ps -e"])
        print(*str(plan).split("\n")[:14], sep="\n")
        print(plan.run(check=True).text)
        walls = ["sh", "-c", "grep CapEff /proc/self/status"]
        print("its capabilities:", ck.plan(*joined, run=walls).run().text)
        for namespace in joined:
            namespace.close()
