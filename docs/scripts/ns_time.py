import containerkit as ck
from containerkit import ns

show = ["cut", "-d.", "-f1", "/proc/uptime"]
here = int(ck.run(show).text)
there = int(ck.run(show, ns.User(), ns.Time(boottime=86400)).text)
print("the time since boot inside is", round((there - here) / 86400), "day longer")
