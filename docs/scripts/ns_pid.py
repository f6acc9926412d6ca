import containerkit as ck
from containerkit import ns

plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), run=["sh", "-c", "sleep 60 & echo inside I am $$; ps -e -o pid,comm; read wait"])
with plan.spawn(stdin=ck.PIPE, stdout=ck.PIPE) as process:
    for _ in range(5):
        print(process.stdout.readline().decode(), end="")
    with ck.Namespace.of(process.pid, "pid") as namespace:
        print("outside it is", process.pid, "and in the namespace there are", namespace.processes())
        process.kill()
        process.wait()
        print("pid 1 was killed, and all the others with it:", namespace.processes())
