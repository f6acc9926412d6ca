import sys

import containerkit as ck
from containerkit.cgroup import DEVICES

TRY = """
for device in null random full kmsg; do
    if (: < /dev/$device) 2>/dev/null; then echo "$device yes"; else echo "$device no"; fi
done
"""
rules = [rule for rule in DEVICES if rule != "c 1:7 rwm"]  # the usual list, without /dev/full
try:
    group = ck.Cgroup("locked", devices=rules).make()
except ck.Unavailable as error:
    print(error)
    sys.exit()
with group:
    print(ck.run(["sh", "-c", TRY], group).text, end="")
