"""containerkit: what a container is made of, one part at a time.

    errors  syscalls  step  timeline  plan  program  spawn  process  trace     the core: from parts to a process
    ns  namespace  mounts  layerfs  cgroup                                     the parts that give it a place of its own
    capabilities  credentials  privileges  seccomp  rlimits                    the parts that take privileges away
    image  registry  dockerfile  build                                         what its root comes from
    run  coroutines  inside  sandbox  rootfs  doctor  leaks                    what one does with them
    cli                                                                        the same from a shell

A `Step` is a system call with a reason.  A part is anything with ``steps()``.  A `Plan` is parts, folded and ordered.
A `Process` is what a plan becomes.  There is no other mechanism.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import kernel, mounts, ns, rootfs, syscalls
from .capabilities import Capabilities
from .cgroup import Cgroup
from .credentials import Credentials
from .doctor import doctor
from .errors import (
    BuildError,
    CgroupError,
    ContainerKitError,
    DockerfileError,
    Failed,
    ImageError,
    LayerError,
    PlanError,
    RegistryError,
    StepError,
    StepRefused,
    Unavailable,
    WrongType,
)
from .inside import Inside, exec
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

if TYPE_CHECKING:
    from .coroutines import AsyncProcess, arun
    from .image import Digest, Image, ImageConfig, Index, Layer, Reference
    from .image.store import Store

__version__ = "0.1.0"

if "logging" in sys.modules:  # who has not loaded it asks for no log
    import logging

    logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library says nothing unless it is asked

_LATER = dict.fromkeys(("Digest", "Image", "ImageConfig", "Index", "Layer", "Reference"), ".image") | {
    "Store": ".image.store", "AsyncProcess": ".coroutines", "arun": ".coroutines",
}  # fmt: skip


if not TYPE_CHECKING:  # a checker must still find a name that is misspelt

    def __getattr__(name: str) -> Any:
        """Images and asyncio are loaded when they are first named: who wants a namespace does not wait for them."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_LATER[name], __name__), name)
        return found


def _layer_of(upper: Any, blobs: Any = None, **options: Any) -> "Layer":
    """What `LayerFS.diff` does; it is below images, and cannot import them."""
    from .image.blobs import TemporaryBlobs
    from .image.layer import Layer

    return Layer.from_directory(upper, TemporaryBlobs() if blobs is None else blobs, upper=True, **options)


LayerFS.layer_of = staticmethod(_layer_of)

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
