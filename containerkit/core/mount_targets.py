"""Mount targets: a target below a mount of the plan's is found from that mount, never by walking there again.

A root that a stranger made may lead a path astray: `/proc` a link to `d/x/..` leads to `/d` until proc is mounted there,
and nowhere afterwards, so that a file to be hidden in `/proc` is not found.  So the plan keeps a descriptor of each mount
with targets below it, and finds these targets from there.

    openat2(%root, "proc/kcore")     becomes     openat2(%at /proc, "kcore")

:see: openat2(2), "RESOLVE_BENEATH"
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence

from ..linux import syscalls
from ..linux.syscalls import RESOLVE, Bytes, Call, O, OutputBuffer, Slot
from .step import Phase, Place, Step

__all__ = ["KERNELS", "ROOT", "is_kernels", "magic_of", "needed_places", "order_of", "through_mounts"]

#: The slot of the new root's descriptor.
ROOT = Slot("root")
#: Directories that programs, and we, take for the kernel's own: no link leads to them or to anything in them.
KERNELS = frozenset({"proc", "sys", "dev"})
KERNELS_ORDER = 1 << 13  # after every other mount: a mount that a link leads to /proc is covered there, and does not cover
USERS = frozenset({"openat2", "dup", "fstatfs"})  # calls that find something from a mount that was kept, or prove it
MAGIC = {"proc": 0x9FA0, "sysfs": 0x62656572, "tmpfs": 0x01021994, "devpts": 0x1CD1, "mqueue": 0x19800202}


def is_kernels(target: str) -> bool:
    """Whether a path from the root is /proc, /sys or /dev, or below one of them."""
    return target.split("/", 1)[0] in KERNELS


def order_of(target: str) -> int:
    """Return a mount's position in the order: after the mounts above it, and the kernel's filesystems after all others.

    The position before it is left to the step that makes its target.
    """
    return 2 * (target.count("/") + 1) + (KERNELS_ORDER if is_kernels(target) else 0)


def magic_of(fstype: str) -> int:
    """Return the number that fstatfs(2) gives for a filesystem.  :see: linux/magic.h"""
    return MAGIC[fstype]


def needed_places(steps: Iterable[Step]) -> tuple[Place, ...]:
    """Return the targets that the root must have.  Targets inside a mount of the plan's are left out: they are made there."""
    steps = list(steps)
    mounted = {step.mounted for step in steps if step.mounted}
    return tuple(step.place for step in steps if step.place and _above(step.place.path, mounted, itself=False) is None)


def through_mounts(steps: Sequence[Step]) -> list[Step]:
    """Return the same steps, except that a step which walks from %root to a path below a mount of the plan's walks from that mount."""
    used = _used(steps)
    return list(_closed(list(_rewritten(steps, used)))) if used else list(steps)


def _above(path: str, mounted: Collection[str], *, itself: bool = True) -> str | None:
    """Return the deepest of the mounts that a path is in."""
    candidate = path if itself else path.rpartition("/")[0]
    while candidate and candidate not in mounted:
        candidate = candidate.rpartition("/")[0]
    return candidate or None


def _walk(step: Step) -> str | None:
    """Return the path that a step finds from %root."""
    if step.phase is Phase.MOUNTS and step.call.name == "openat2" and step.call.args[0] == ROOT:
        assert isinstance(step.call.args[1], bytes)
        return step.call.args[1].decode(errors="surrogateescape")
    return None


def _used(steps: Iterable[Step]) -> set[str]:
    """Return the mounts that something else is found from."""
    attached: set[str] = set()
    used: set[str | None] = set()
    for step in steps:
        if (path := _walk(step)) is not None:
            used.add(_above(path, attached))
        if step.mounted:
            used.add(_above(step.mounted, attached, itself=False))
            attached.add(step.mounted)
    return {path for path in used if path is not None}


def _rewritten(steps: Iterable[Step], used: set[str]) -> Iterator[Step]:
    attached: set[str] = set()
    for step in steps:
        path = _walk(step)
        base = _above(path, attached) if path is not None else None
        yield _from_mount(step, path or "", base) if base is not None else step
        if step.mounted in used:
            yield from _kept(step, _above(step.mounted, attached, itself=False))
        if step.mounted:
            attached.add(step.mounted)


def _slot(path: str) -> Slot:
    return Slot(f"at /{path}")


def _from_mount(step: Step, path: str, base: str) -> Step:
    """Return the step, walking from the mount at `base` and not leaving it."""
    if path == base:
        return step.with_(call=Call("dup", (_slot(base),)))
    how = step.call.args[2]
    assert isinstance(how, Bytes)
    flag, _, resolve = struct.unpack("QQQ", how.data)
    inside = resolve & ~int(RESOLVE.IN_ROOT) | int(RESOLVE.BENEATH)
    return step.with_(call=syscalls.openat2(_slot(base), path[len(base) + 1 :], flag, RESOLVE(inside)))


def _kept(step: Step, base: str | None) -> Iterator[Step]:
    """Keep a descriptor of the mount that `step` attached: the targets below the mount are found from it."""
    more = {"part": step.part, "only_with": step.only_with, "order": step.order}
    why = f"what is in /{step.mounted} is found from here"
    if step.call.name != "mount":
        yield Step.child(Phase.MOUNTS, Call("dup", (step.call.args[0],)), why=why, save=_slot(step.mounted), **more)
        return
    fstype = step.call.args[2]
    flag = O.PATH | O.CLOEXEC | (O.DIRECTORY if fstype else O(0))
    again = syscalls.openat2(ROOT, step.mounted, flag, RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS)
    found = Step.child(Phase.MOUNTS, again, why=why, save=_slot(step.mounted), **more)
    yield found if base is None else _from_mount(found, step.mounted, base)
    if isinstance(fstype, bytes):
        yield from _proven(_slot(step.mounted), fstype.decode(), more)


def _proven(slot: Slot, fstype: str, more: dict[str, object]) -> Iterator[Step]:
    """Yield steps that prove the kind of filesystem at a path: it was walked again, as mount(2) gives no descriptor of its mount."""
    answer = OutputBuffer(120, "filesystem")
    yield Step.child(Phase.MOUNTS, syscalls.fstatfs(slot, answer), why="what is this?", **more)
    hint = f"what is mounted here is no {fstype}: another process moves directories of this root meanwhile"
    call = syscalls.compare(answer, magic_of(fstype), f"{fstype.upper()}_MAGIC")
    yield Step.child(Phase.MOUNTS, call, why=f"it has to be the {fstype} just mounted", hint=hint, **more)


def _closed(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps, and where each mount that was kept is needed no more, its end."""
    last = {step.call.args[0]: place for place, step in enumerate(steps) if step.call.name in USERS and _is_kept(step.call.args[0])}
    ends = {place: slot for slot, place in last.items()}
    for place, step in enumerate(steps):
        yield step
        if slot := ends.get(place):
            assert isinstance(slot, Slot)
            yield Step.child(Phase.MOUNTS, syscalls.close(slot), why=f"{slot} is done with", part=step.part, order=step.order)


def _is_kept(arg: object) -> bool:
    return isinstance(arg, Slot) and arg.name.startswith("at /")
