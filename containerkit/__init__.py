"""containerkit: what a container is made of, one part at a time.

    errors  syscalls  step  timeline  plan  program  spawn  process  trace     the core: from parts to a process
    ns  namespace  mounts  layerfs  cgroup                                     the parts that give it a place of its own
    capabilities  privileges  seccomp  rlimits                                 the parts that take privileges away
    run  sandbox  rootfs  doctor  leaks                                        what one does with them
    cli                                                                        the same from a shell

A `Step` is a system call with a reason.  A part is anything with ``steps()``.  A `Plan` is parts, folded and ordered.
A `Process` is what a plan becomes.  There is no other mechanism.
"""

from . import kernel, mounts, ns, rootfs, syscalls
from .capabilities import Capabilities
from .cgroup import Cgroup
from .doctor import doctor
from .errors import CgroupError, ContainerKitError, Failed, LayerError, PlanError, StepError, Unavailable
from .layerfs import LayerFS
from .leaks import leaks
from .namespace import Namespace
from .plan import Plan, plan
from .privileges import NoNewPrivileges
from .process import Process, Usage
from .rlimits import Rlimits
from .run import Result, run
from .sandbox import sandbox
from .seccomp import Seccomp
from .stdio import DEVNULL, PIPE, PTY, STDOUT
from .step import Part, Phase, Side, Step
from .trace import Trace

__version__ = "0.1.0"

__all__ = [
    "DEVNULL",
    "PIPE",
    "PTY",
    "STDOUT",
    "Capabilities",
    "Cgroup",
    "CgroupError",
    "ContainerKitError",
    "Failed",
    "LayerError",
    "LayerFS",
    "Namespace",
    "NoNewPrivileges",
    "Part",
    "Phase",
    "Plan",
    "PlanError",
    "Process",
    "Result",
    "Rlimits",
    "Seccomp",
    "Side",
    "Step",
    "StepError",
    "Trace",
    "Unavailable",
    "Usage",
    "doctor",
    "kernel",
    "leaks",
    "mounts",
    "ns",
    "plan",
    "rootfs",
    "run",
    "sandbox",
    "syscalls",
]
