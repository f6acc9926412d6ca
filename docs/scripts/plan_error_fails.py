import sys

import containerkit as ck
from containerkit import mounts, ns

plan = ck.plan(ns.User(), ns.Mount(), mounts.Proc(), run=["/bin/sh"])  # no ns.Pid()
try:
    plan.spawn()
except ck.StepError as error:
    sys.exit(str(error))
