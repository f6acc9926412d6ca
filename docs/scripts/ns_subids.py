import containerkit as ck
from containerkit import ns

try:
    user = ns.subids()  # for root: ids that no user has, as in ns.User()
    print("user ids, as (inside, outside, count):", *user.maps[0])
    print(ck.run(["cat", "/proc/self/uid_map", "/proc/self/setgroups"], user, check=True).text)
except ck.Unavailable as error:
    print(error)
