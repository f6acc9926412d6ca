import os

import containerkit as ck
from containerkit import ns

SHOW = "id; cat /proc/self/uid_map; grep CapEff /proc/self/status"

print("outside: user", os.geteuid())
inside = ck.run(["sh", "-c", SHOW], ns.User()).text
print(inside)
assert "uid=0(root)" in inside
print(ck.run(["sh", "-c", "id -u; cat /proc/self/uid_map"], ns.User(uid=33, gid=33)).text)
if os.geteuid() == 0:  # root inside cannot read files of root's outside, except with `same`
    ways = {"ns.User()": ns.User(), "ns.User.same()": ns.User.same()}
    reads = {
        name: ck.run(["cat", "/etc/shadow"], user).exit_code == 0 for name, user in ways.items()
    }
    print("may read the host's /etc/shadow:", reads)
    assert not reads["ns.User()"]
