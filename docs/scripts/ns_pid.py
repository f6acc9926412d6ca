import containerkit as ck
from containerkit import ns

SCRIPT = "sleep 60 & echo inside I am $$; ps -e -o pid,comm; read wait"

plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), run=["sh", "-c", SCRIPT])
with plan.spawn(stdin=ck.PIPE, stdout=ck.PIPE) as process:
    for _ in range(5):
        print(process.stdout.readline().decode(), end="")
    with ck.Namespace.of(process.pid, "pid") as namespace:
        print("outside I am", process.pid)
        print("more than one is in the namespace:", len(namespace.processes()) > 1)
        process.kill()
        process.wait()
        print("pid 1 was killed, processes left: ", namespace.processes())
