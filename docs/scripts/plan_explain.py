import containerkit as ck
from containerkit import ns

print(ck.plan(ns.Uts("lesson"), ns.User(), run=["/bin/sh"]).explain())
