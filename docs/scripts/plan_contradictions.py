import containerkit as ck
from containerkit import mounts, ns

wrong = [
    lambda: ck.plan(ns.User(), ns.User()),
    lambda: ck.plan(ns.Uts, run=["sh"]),
    lambda: ck.plan(ns.Mount(), mounts.Tmpfs("/tmp"), mounts.Tmpfs("/tmp")),
    lambda: ck.plan(mounts.Tmpfs("/tmp")),
    lambda: ck.plan(run="ls -l"),
    lambda: ck.plan(run=["ls", "a\0b"]),
    lambda: ns.Uts("x" * 65),
    lambda: mounts.Bind("etc", "/etc"),
    lambda: mounts.Bind("/etc", "/../etc"),
]
for make in wrong:
    try:
        make()
    except ck.PlanError as error:
        print("-", error)
