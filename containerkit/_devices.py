"""The devices that everybody expects, without the host's own device nodes within reach.

Mode, owner and times of a device node belong to its inode.  A program that is the host's root could change those of the
host's own /dev/null through a bind of it.  So where the caller may make nodes, the plan makes new ones, in a memory that no
other container has.  Otherwise it shows the host's through read-only mounts: a device can still be read and written there.
:see: mknod(2), mount_setattr(2)
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from . import _idmaps as idmaps
from . import kernel, syscalls, vfs
from .step import Phase, Step
from .syscalls import AT_FDCWD, ATTR, MS, OPEN_TREE, Slot

__all__ = ["DEVICES", "from_hosts", "from_own", "may_make", "readonly_node"]

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
NEEDED = ("fsopen", "open_tree", "move_mount", "mount_setattr")  # to make nodes in the parent and to hand them on
OWN, OWN_FS = Slot("devices"), Slot("devices.fs")
CAP_SYS_ADMIN, CAP_MKNOD = 21, 27
_STATVFS = {os.ST_NOSUID: MS.NOSUID, os.ST_NODEV: MS.NODEV, os.ST_NOEXEC: MS.NOEXEC}


def may_make() -> bool:
    """Whether this process may make device nodes that work, and hand them to a child."""
    return idmaps.is_machine_root() and idmaps.has_capabilities(CAP_SYS_ADMIN, CAP_MKNOD) and all(map(kernel.has, NEEDED))


def from_own() -> Iterator[Step]:
    """Makes the nodes, in the parent, for in a user namespace nobody may -> %null, %zero, ..., attached nowhere yet."""
    yield from map(_in_parent, _memory())
    copies = {name: syscalls.open_tree(OWN, name, OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC) for name in DEVICES}
    if kernel.has("copies of detached mounts"):
        yield from (Step.parent(Phase.PREPARE, call, why=f"the new {name}, alone", save=Slot(name)) for name, call in copies.items())
        return
    yield vfs.find("dev")
    yield vfs.step(Phase.MOUNTS, syscalls.move_mount(OWN, vfs.TARGET), "only what is attached can be copied; /dev will cover it")
    yield vfs.step(Phase.MOUNTS, syscalls.close(vfs.TARGET), "%target is done with")
    yield from (vfs.step(Phase.MOUNTS, call, f"the new {name}, alone", save=Slot(name)) for name, call in copies.items())
    dead = syscalls.mount_setattr(OWN, ATTR.RDONLY | ATTR.NODEV)
    yield vfs.step(Phase.MOUNTS, dead, "no device is reached through what is covered")
    yield vfs.step(Phase.MOUNTS, syscalls.close(OWN), "%devices is done with")


def _in_parent(step: Step) -> Step:
    return Step.parent(Phase.PREPARE, step.call, why=step.why, save=step.save, hint=step.hint)


def _memory() -> Iterator[Step]:
    attr = ATTR.NOSUID | ATTR.NOEXEC
    hint = {1: "this caller may make no device nodes: a device cgroup, or a security module, denies it; mounts.Dev(hosts=True) makes none"}
    first, *rest = vfs.detached("tmpfs", [("mode", "755"), ("nr_inodes", "16")], "a memory for device nodes", attr=attr, save=OWN)
    for step in (first, *rest):  # a name that both sides save would pass the parent's descriptor on to the child
        args = tuple(OWN_FS if arg == vfs.FS else arg for arg in step.call.args)
        yield step.with_(call=syscalls.Call(step.call.name, args, step.call.man), save=OWN_FS if step.save == vfs.FS else step.save)
    for name, (major, minor) in DEVICES.items():
        node = syscalls.mknodat(OWN, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        yield Step.parent(Phase.PREPARE, node, why=f"a new {name}", hint=hint)
        yield Step.parent(Phase.PREPARE, syscalls.fchmodat(OWN, name, 0o666), why="for everybody, whatever the caller's umask is")


def from_hosts() -> Iterator[Step]:
    """Shows the host's nodes read-only -> %null, %zero, ..., each a mount that is attached nowhere yet.  Needs open_tree(2).

    Taken hold of before the empty /dev, which in a plan without a root of its own covers the host's.
    """
    for name in DEVICES:
        if not kernel.has("mount_setattr"):
            yield from _covered(f"/dev/{name}")
        yield vfs.clone_tree(f"/dev/{name}", f"the host's /dev/{name}", recursive=False, phase=Phase.MOUNTS, save=Slot(name))
        if kernel.has("mount_setattr"):
            yield vfs.step(Phase.MOUNTS, syscalls.mount_setattr(Slot(name), ATTR.RDONLY), "whose mode and owner cannot be changed there")


def readonly_node(path: str, **more: Any) -> Iterator[Step]:
    """Covers a device node of the host's, in this mount namespace, with a read-only mount of itself.  Binds of it are read-only too."""
    if not (kernel.has("open_tree") and kernel.has("mount_setattr")):
        yield from _covered(path, **more)
        return
    yield vfs.clone_tree(path, f"the host's {path}", recursive=False, phase=Phase.MOUNTS, save=vfs.MOUNT, **more)
    yield vfs.step(Phase.MOUNTS, syscalls.mount_setattr(vfs.MOUNT, ATTR.RDONLY), "whose mode and owner cannot be changed there", **more)
    yield vfs.step(Phase.MOUNTS, syscalls.move_mount(vfs.MOUNT, AT_FDCWD, path), "covers it, in this mount namespace only", **more)
    yield vfs.step(Phase.MOUNTS, syscalls.close(vfs.MOUNT), "%mount is done with", **more)


def _covered(path: str, **more: Any) -> Iterator[Step]:
    """The same by mount(2), which takes all attributes at once: those that the host's mount has are kept, for they may be locked."""
    bind = syscalls.mount(path, path, None, MS.BIND)
    yield vfs.step(Phase.MOUNTS, bind, f"the host's {path}, over itself in this mount namespace", hint=vfs.SOURCE_HINTS, **more)
    kept = MS(0)
    for shown, flag in _STATVFS.items():
        kept |= flag if os.path.exists(path) and os.statvfs(path).f_flag & shown else MS(0)
    change = syscalls.mount(None, path, None, MS.REMOUNT | MS.BIND | MS.RDONLY | kept)
    yield vfs.step(Phase.MOUNTS, change, "whose mode and owner cannot be changed there", **more)
