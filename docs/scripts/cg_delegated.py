import os
import sys

import containerkit as ck

try:
    group = ck.Cgroup("of-root").make()
except ck.Unavailable as error:  # an ordinary user gets this error at once
    print(error)
    sys.exit()
with group:
    os.setresuid(65534, 65534, 0)  # for a moment we are the user nobody
    try:
        ck.Cgroup("mine", pids_max=8).make()
    except ck.Unavailable as error:
        print(error, end="\n\n")
    try:
        ck.run(["true"], group)
    except (ck.StepError, ck.CgroupError) as error:
        print(error)
    finally:
        os.setresuid(0, 0, 0)
