"""Control groups: limits on processes, and a live object to watch, freeze and kill a group.

    values  limits                the values that limits take
    hierarchy  paths              the mounted hierarchies, and the directories of a group in them
    driver  v2  v1  devices_bpf   one protocol, and its two versions
    ownership  sweeping  version_0_1    removal of the groups of crashed processes
    live  cgroup  enter  watch  events  pressure  stats    the object

:see: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from .cgroup import Cgroup
from .events import Event, Events
from .hierarchy import Hierarchy, System, system
from .limits import DEVICES, GroupLimits
from .paths import forget
from .pressure import Pressure, Trigger
from .stats import CpuStat, IoStat, MemoryStat, PidsStat, Stat
from .values import DeviceRule

__all__ = [
    "DEVICES",
    "Cgroup",
    "CpuStat",
    "DeviceRule",
    "Event",
    "Events",
    "GroupLimits",
    "Hierarchy",
    "IoStat",
    "MemoryStat",
    "PidsStat",
    "Pressure",
    "Stat",
    "System",
    "Trigger",
    "forget",
    "system",
]  # fmt: skip
