import containerkit as ck
from containerkit.parts import ns

print(ck.plan(ns.Uts("lesson"), ns.User(), run=["/bin/sh"]).explain())
