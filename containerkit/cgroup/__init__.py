"""Control groups: limits that compose, that one can watch, and that one can trust.

    values  limits       what a limit may be
    hierarchy  places    which hierarchies there are, and where a group goes
    world  v2  v1  devices_bpf    one protocol, two versions
    owner  sweeping      groups of the dead
    live  cgroup  joining  watch  events  pressure  stats    the object

:see: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from .cgroup import Cgroup
from .events import Event, Events
from .hierarchy import Hierarchy, System, system
from .limits import DEVICES, Limits
from .paths import forget
from .pressure import Pressure, Trigger
from .stats import CpuStat, IoStat, MemoryStat, PidsStat, Stat
from .values import DeviceRule

__all__ = [
    "DEVICES", "Cgroup", "CpuStat", "DeviceRule", "Event", "Events", "Hierarchy", "IoStat", "Limits", "MemoryStat", "PidsStat", "Pressure",
    "Stat", "System", "Trigger", "forget", "system",
]  # fmt: skip
