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
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .cgroup import Cgroup
from .container.inside import Inside, exec
from .container.sandbox import sandbox
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
from .layers.layerfs import LayerFS
from .linux import kernel, syscalls
from .parts import mounts, ns
from .parts.capabilities import Capabilities
from .parts.credentials import Credentials
from .parts.namespace import Namespace
from .parts.privileges import NoNewPrivileges
from .parts.rlimits import Rlimits
from .parts.seccomp import Seccomp
from .rootfs import rootfs

if TYPE_CHECKING:
    from .core.coroutines import AsyncProcess, arun
    from .image import Digest, Image, ImageConfig, Index, Layer, Reference
    from .store.store import Store

__version__ = "0.1.0"

if "logging" in sys.modules:  # who has not loaded it asks for no log
    import logging

    logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library says nothing unless it is asked

_LATER = dict.fromkeys(("Digest", "Image", "ImageConfig", "Index", "Layer", "Reference"), ".image") | {
    "Store": ".store.store", "AsyncProcess": ".core.coroutines", "arun": ".core.coroutines",
}  # fmt: skip


if not TYPE_CHECKING:  # a checker must still find a name that is misspelt

    def __getattr__(name: str) -> Any:
        """Images and asyncio are loaded when they are first named: who wants a namespace does not wait for them."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_LATER[name], __name__), name)
        return found


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
