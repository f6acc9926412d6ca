import os

import containerkit as ck
from containerkit import ns

SHOW = "id; cat /proc/self/uid_map; grep CapEff /proc/self/status"

print("outside: user", os.geteuid())
print(ck.run(["sh", "-c", SHOW], ns.User()).text)
print(ck.run(["sh", "-c", "id -u; cat /proc/self/uid_map"], ns.User(uid=33, gid=33)).text)
