"""containerkit: what a container is made of, one part at a time.

    errors      says what can go wrong
    base        serves every room: checked arguments, frozen values, extras, the log
    linux       asks the kernel
    state       owns something on disk
    core        turns parts into a process
    layers      lays directories over each other
    parts       is what a plan is made of
    cgroup      limits
    rootfs      makes a root from this machine's programs
    image       is a value or its bytes
    store       is shared by many processes
    dockerfile  reads a language
    registry    talks to a registry
    container   is one container's life
    builder     makes an image
    diagnose    looks at this machine, and at what was left behind
    cli         is typed by a person

A room imports only the rooms above it.

A `Step` is a system call with a reason.  A part is anything with ``steps()``.  A `Plan` is parts, folded and ordered.
A `Process` is what a plan becomes.  There is no other mechanism.
"""

import sys

from .base.late import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import rootfs
    from .cgroup import Cgroup
    from .container.inside import Inside, exec
    from .container.sandbox import sandbox
    from .core.coroutines import AsyncProcess, arun
    from .core.errors import Failed, StepError, StepRefused
    from .core.plan import Plan, plan
    from .core.process import Process, Usage
    from .core.run import Result, run
    from .core.stdio import DEVNULL, PIPE, PTY, STDOUT
    from .core.step import Part, Phase, Side, Step
    from .core.trace import Trace
    from .diagnose.doctor import doctor
    from .diagnose.leaks import leaks
    from .errors import (
        BuildError,
        CgroupError,
        ContainerKitError,
        DockerfileError,
        ImageError,
        LayerError,
        PlanError,
        RegistryError,
        Unavailable,
        WrongType,
    )
    from .image import Digest, Image, ImageConfig, Index, Layer, Reference
    from .layers.layerfs import LayerFS
    from .linux import kernel, syscalls
    from .parts import mounts, ns
    from .parts.capabilities import Capabilities
    from .parts.credentials import Credentials
    from .parts.namespace import Namespace
    from .parts.privileges import NoNewPrivileges
    from .parts.rlimits import Rlimits
    from .parts.seccomp import Seccomp
    from .store.store import Store

__version__ = "0.1.0"

if "logging" in sys.modules:  # who has not loaded it asks for no log
    import logging

    logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library says nothing unless it is asked

#: The public names by the module that defines them, and the rooms.  A module is loaded when one of its names is first used.
_NAMES = {
    "": "base builder cgroup cli container core diagnose dockerfile image layers linux parts registry rootfs state store",
    "cgroup": "Cgroup",
    "container.inside": "Inside exec",
    "container.sandbox": "sandbox",
    "core.coroutines": "AsyncProcess arun",
    "core.errors": "Failed StepError StepRefused",
    "core.plan": "Plan plan",
    "core.process": "Process Usage",
    "core.run": "Result run",
    "core.stdio": "DEVNULL PIPE PTY STDOUT",
    "core.step": "Part Phase Side Step",
    "core.trace": "Trace",
    "diagnose.doctor": "doctor",
    "diagnose.leaks": "leaks",
    "errors": "BuildError CgroupError ContainerKitError DockerfileError ImageError LayerError"
    " PlanError RegistryError Unavailable WrongType",
    "image": "Digest Image ImageConfig Index Layer Reference",
    "layers.layerfs": "LayerFS",
    "linux": "kernel syscalls",
    "parts": "mounts ns",
    "parts.capabilities": "Capabilities",
    "parts.credentials": "Credentials",
    "parts.namespace": "Namespace",
    "parts.privileges": "NoNewPrivileges",
    "parts.rlimits": "Rlimits",
    "parts.seccomp": "Seccomp",
    "store.store": "Store",
}
__all__ = [
    "DEVNULL",
    "PIPE",
    "PTY",
    "STDOUT",
    "AsyncProcess",
    "BuildError",
    "Capabilities",
    "Cgroup",
    "CgroupError",
    "ContainerKitError",
    "Credentials",
    "Digest",
    "DockerfileError",
    "Failed",
    "Image",
    "ImageConfig",
    "ImageError",
    "Index",
    "Inside",
    "Layer",
    "LayerError",
    "LayerFS",
    "Namespace",
    "NoNewPrivileges",
    "Part",
    "Phase",
    "Plan",
    "PlanError",
    "Process",
    "Reference",
    "RegistryError",
    "Result",
    "Rlimits",
    "Seccomp",
    "Side",
    "Step",
    "StepError",
    "StepRefused",
    "Store",
    "Trace",
    "Unavailable",
    "Usage",
    "WrongType",
    "arun",
    "doctor",
    "exec",
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


if not TYPE_CHECKING:  # a checker must still find a name that is misspelt
    __getattr__ = names(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
