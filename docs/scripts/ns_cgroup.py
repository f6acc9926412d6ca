import containerkit as ck
from containerkit import ns

show = ["sh", "-c", "cut -d: -f3 /proc/self/cgroup | sort -u"]
print("inside: ", *ck.run(show, ns.User(), ns.Cgroup()).text.split())
print("outside:", "the same" if ck.run(show).text == "/\n" else "a longer path")
