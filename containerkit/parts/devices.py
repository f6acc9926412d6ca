"""The usual devices of /dev, as mounts, without the host's own device nodes within reach.

Where the caller may make nodes, they are new ones, of a filesystem that no program inside can change: see `device_nodes`.  Otherwise
they are the host's, through read-only mounts: a device can still be read and written there.
:see: mknod(2), mount_setattr(2)
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..core import device_nodes, mounting
from ..core.device_nodes import DEVICES
from ..core.step import Phase, Step
from ..linux import ids as idmaps
from ..linux import kernel, syscalls
from ..linux.facts import ask
from ..linux.syscalls import AT_FDCWD, ATTR, MS, OPEN_TREE, Fd, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DEVICES", "from_hosts", "from_own", "may_make", "null_to_bind", "readonly_node"]

NEEDED = ("fsopen", "open_tree", "move_mount", "mount_setattr")  # to make nodes in the parent and to hand them on
CAP_SYS_ADMIN, CAP_MKNOD = 21, 27
MASK, ELOOP = Slot("mask"), 40
COPY = OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC
_STATVFS = {os.ST_NOSUID: MS.NOSUID, os.ST_NODEV: MS.NODEV, os.ST_NOEXEC: MS.NOEXEC}


def may_make() -> bool:
    """Whether this process may make device nodes that work, and hand them to a child."""
    return idmaps.is_machine_root() and idmaps.has_capabilities(CAP_SYS_ADMIN, CAP_MKNOD) and all(map(kernel.has, NEEDED))


def from_own() -> Iterator[Step]:
    """Show our own nodes, made in the parent, since no user namespace allows mknod(2) -> %null, %zero, ..., attached nowhere yet."""
    if kernel.has("copies of detached mounts"):
        memory = Fd("devices", device_nodes.shared)
        for name in DEVICES:
            yield Step.parent(Phase.PREPARE, syscalls.open_tree(memory, name, COPY), why=f"our own {name}, alone", save=Slot(name))
        return
    yield from device_nodes.made()
    yield mounting.find("dev")
    yield mounting.step(
        Phase.MOUNTS, syscalls.move_mount(device_nodes.MEMORY, mounting.TARGET), "only what is attached can be copied; /dev will cover it"
    )
    yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.TARGET), "%target is done with")
    for name in DEVICES:
        yield mounting.step(Phase.MOUNTS, syscalls.open_tree(device_nodes.MEMORY, name, COPY), f"our own {name}, alone", save=Slot(name))
    dead = syscalls.mount_setattr(device_nodes.MEMORY, ATTR.RDONLY | ATTR.NODEV)
    yield mounting.step(Phase.MOUNTS, dead, "no device is reached through what is covered")
    yield mounting.step(Phase.MOUNTS, syscalls.close(device_nodes.MEMORY), "%devices is done with")


def null_to_bind(**more: Any) -> Iterator[Step]:
    """Make /dev/null of the host's tree, in this mount namespace, a null device that can be bound and not be changed.

    Several parts may do so: the kernel refuses with ELOOP to move a mount onto itself, which is tolerated.
    """
    if not (may_make() and kernel.has("copies of detached mounts")):
        yield from readonly_node("/dev/null", **more)
        return
    call = syscalls.open_tree(Fd("devices", device_nodes.shared), "null", COPY)
    yield Step.parent(Phase.PREPARE, call, why="our own null, to hide files behind", save=MASK)
    covers = syscalls.move_mount(MASK, AT_FDCWD, "/dev/null")
    yield mounting.step(Phase.MOUNTS, covers, "covers the host's, in this mount namespace only", tolerates={ELOOP}, **more)


def from_hosts() -> Iterator[Step]:
    """Show the host's nodes read-only -> %null, %zero, ..., each a mount that is attached nowhere yet.  Needs open_tree(2).

    They are opened before the empty /dev is mounted, which in a plan without a root of its own covers the host's.
    """
    for name in DEVICES:
        if not kernel.has("mount_setattr"):
            yield from _covered(f"/dev/{name}")
        yield mounting.clone_tree(f"/dev/{name}", f"the host's /dev/{name}", recursive=False, phase=Phase.MOUNTS, save=Slot(name))
        if kernel.has("mount_setattr"):
            yield mounting.step(Phase.MOUNTS, syscalls.mount_setattr(Slot(name), ATTR.RDONLY), "its mode and owner cannot be changed there")


def readonly_node(path: str, **more: Any) -> Iterator[Step]:
    """Cover a device node of the host's, in this mount namespace, with a read-only mount of itself.  Binds of it are read-only too."""
    if not (kernel.has("open_tree") and kernel.has("mount_setattr")):
        yield from _covered(path, **more)
        return
    yield mounting.clone_tree(path, f"the host's {path}", recursive=False, phase=Phase.MOUNTS, save=mounting.MOUNT, **more)
    yield mounting.step(
        Phase.MOUNTS, syscalls.mount_setattr(mounting.MOUNT, ATTR.RDONLY), "its mode and owner cannot be changed there", **more
    )
    yield mounting.step(
        Phase.MOUNTS, syscalls.move_mount(mounting.MOUNT, AT_FDCWD, path), "covers it, in this mount namespace only", **more
    )
    yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.MOUNT), "%mount is done with", **more)


def _covered(path: str, **more: Any) -> Iterator[Step]:
    """Cover the node by mount(2), which takes all attributes at once: those that the host's mount has are kept, for they may be locked."""
    bind = syscalls.mount(path, path, None, MS.BIND)
    yield mounting.step(Phase.MOUNTS, bind, f"the host's {path}, over itself in this mount namespace", hint=mounting.SOURCE_HINTS, **more)
    change = syscalls.mount(None, path, None, MS.REMOUNT | MS.BIND | MS.RDONLY | ask(_locked, path))
    yield mounting.step(Phase.MOUNTS, change, "its mode and owner cannot be changed there", **more)


def _locked(path: str) -> MS:
    """Return the attributes of the mount that something is on."""
    flags = os.statvfs(path).f_flag if os.path.exists(path) else 0
    return MS(sum(flag for shown, flag in _STATVFS.items() if flags & shown))
