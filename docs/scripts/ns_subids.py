import os

import containerkit as ck
from containerkit import ns

try:
    if os.geteuid() == 0:  # root needs nobody's leave
        user = ns.User(uids=[(0, 0, 1), (1, 100000, 65535)], gids=[(0, 0, 1), (1, 100000, 65535)])
    else:
        user = ns.subids()
    print("user ids, as (inside, outside, count):", *user.uids)
    print(ck.run(["sh", "-c", "cat /proc/self/uid_map; cat /proc/self/setgroups"], user, check=True).text)
except ck.Unavailable as error:
    print(error)
