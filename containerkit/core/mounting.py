"""Steps that every mounting part uses: make a filesystem, make a bind, make a target inside the root.

A target is a path inside the new root, resolved there by openat2 with RESOLVE_IN_ROOT: no link of an image
can lead a mount outside.  Nothing that is /proc, /sys or /dev, or in them, is found through a link: the plan fails
instead.  The new mount calls work on descriptors, so nothing is resolved twice.  Where a sandbox hides them, mount(2) does
the same at /proc/self/fd/61, which is the target just found.  A target below a mount is found from that mount: see `mount_targets`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from errno import EACCES, EBUSY, EEXIST, EINVAL, ELOOP, EMFILE, ENODEV, ENOENT, ENOTDIR, EPERM, EROFS, EXDEV
from functools import lru_cache

from ..base.frozen import replace
from ..errors import PlanError
from ..linux import ids as idmaps
from ..linux import kernel, syscalls
from ..linux.syscalls import AT_FDCWD, ATTR, MNT, MS, OPEN_TREE, RESOLVE, Call, Labelled, O, Slot
from .mount_targets import ROOT, is_kernels, order_of
from .step import Phase, Place, Side, Step
from .timeline import IDMAPPED, OWN_IDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEEDS = frozenset({"new mnt namespace"})
MOUNT, TARGET, FS = Slot("mount"), Slot("target"), Slot("fs")
IDS = Slot("ids")
"""The parent's name for the child's user namespace, where the plan has a range of ids of its own."""
OPEN, MAP, TAKE, SHOW, SHOW_ONE, BECOME = 10, 20, 30, 40, 50, 60
"""Orders inside IDENTITY.  The child, still with the caller's ids, opens the directories to show; the parent maps the child's ids, opens
its user namespace, and translates the opened mounts; then the child changes its ids.  So one handshake serves all."""
F_DUPFD_CLOEXEC, HIGH = 1030, 100
SHOWN_FD, LAYERS_FD, BIND_FD = 61, 62, 63
"""Numbers of descriptors that are free again before the mounts below the root, which use them again."""
CLASSIC_FD = 61
CLASSIC_TARGET = f"/proc/self/fd/{CLASSIC_FD}"
FROZEN = 1 << 16  # inside MOUNTS: after all mounts that may need a target in the root
TARGET_HINTS = {
    EACCES: "root inside may not enter a directory on the way: it is nobody outside, unless in ns.User.same()",
    ENOENT: "the root has no such place, and mounts.Root(readonly=True) gets none: use LayerFS(directory, readonly=True), or make it there",
    ENOTDIR: "a file is mounted on a file, a directory on a directory, and this root has the other kind there",
    EXDEV: "a link leads out of the mount that this is in",
    ELOOP: "a link in the root leads in a circle, or through /proc/PID/fd",
}
PLACE_HINTS = {
    EACCES: "root inside may make nothing in this directory of the host's, for it is nobody outside: make the place on the host, "
    "show the directory with the ids inside (Bind(idmap=True), -v SRC:DST:idmap), or ask for the caller's own: ns.User.same()",
}
SOURCE_HINTS = {
    EPERM: "the caller's mount namespace is not its own: ask for ns.User() and ns.Mount()",
    ENOENT: "there is no such file or directory on the host",
    EACCES: "the caller may not reach the source",
    EINVAL: "the source is unbindable, or a user namespace may not show what is hidden below it: bind it recursively",
}
IDMAP_HINTS = {
    EINVAL: "the filesystem, or one that is mounted below, cannot be idmapped, so its files cannot be those of a root who is nobody "
    "outside: put them on another (ext4, xfs, btrfs, tmpfs); or ask for the caller's own ids inside: ns.User.same(), --userns=host",
    EPERM: "mapping ids needs CAP_SYS_ADMIN over the filesystem; without it ask for the caller's own ids inside: ns.User.same()",
}
UNDONE = "; a program that keeps CAP_SYS_ADMIN over these mounts can undo that"
PRIVILEGE = "mounting needs CAP_SYS_ADMIN over this mount namespace: run as root, or ask for ns.User()"

OPTIONS = {
    "ro": ATTR.RDONLY, "nosuid": ATTR.NOSUID, "nodev": ATTR.NODEV, "noexec": ATTR.NOEXEC,
    "noatime": ATTR.NOATIME, "nodiratime": ATTR.NODIRATIME, "nosymfollow": ATTR.NOSYMFOLLOW,
}  # fmt: skip
_CLASSIC = {
    ATTR.RDONLY: MS.RDONLY, ATTR.NOSUID: MS.NOSUID, ATTR.NODEV: MS.NODEV, ATTR.NOEXEC: MS.NOEXEC,
    ATTR.NOATIME: MS.NOATIME, ATTR.NODIRATIME: MS.NODIRATIME, ATTR.NOSYMFOLLOW: MS.NOSYMFOLLOW,
}  # fmt: skip


def attributes(options: Iterable[str]) -> ATTR:
    """Return mount attributes by their names in fstab(5).  Raise PlanError for an unknown one."""
    value = ATTR(0)
    for option in options:
        if option not in OPTIONS:
            raise PlanError(f"unknown mount option {option!r}; known: {', '.join(OPTIONS)}")
        value |= OPTIONS[option]
    return value


def classic_flags(attr: int) -> MS:
    """Return the same attributes as flags of mount(2)."""
    flags = MS(0)
    for member, flag in _CLASSIC.items():
        flags |= flag if attr & member else MS(0)
    return flags


def inside(target: str | os.PathLike[str]) -> str:
    """Return a target as a path below the root.  Raise PlanError when it is not absolute, or climbs."""
    return _inside(os.fsdecode(syscalls.text(target)))


@lru_cache(maxsize=256)
def _inside(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise PlanError(f"a target is an absolute path inside the root, without '..': {path!r}")
    return "/".join(word for word in path.split("/") if word not in ("", ".")) or "."


def target_of(path: str | os.PathLike[str]) -> str:
    """Return a mount target as a path below the root.  Raise PlanError also for the root itself."""
    if (found := inside(path)) == ".":
        raise PlanError("nothing can be mounted on / itself: what is / is said by mounts.Root or LayerFS")
    return found


def outside(source: str | os.PathLike[str]) -> str:
    """Return a source as an absolute path of the host.  Raise PlanError when it is relative."""
    path = os.fsdecode(syscalls.text(source))
    if not path.startswith("/"):
        raise PlanError(f"a source is an absolute path of the host: {path!r}")
    return path


def step(phase: Phase, call: syscalls.Call, why: str, **more: Any) -> Step:
    """Return a child's step that needs a mount namespace of its own: without one it would change the host."""
    return Step.child(phase, call, why=why, **{"needs": NEEDS, **more})


def placed(target: str, steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps that mount something at `target`: after those that mount above it, and no other part may mount there."""
    order, claims = order_of(target), f"mount at /{target}"
    for made in steps:
        stays = made.only_with not in ("root", OWN_IDS) and not made.unless  # a step that some plans leave out claims nothing
        place = replace(made.place, mount=True) if made.place else None  # a mount goes there
        yield made.with_(place=place, order=order if made.phase is Phase.MOUNTS else made.order, claims=claims if stays else "")
        claims = "" if stays else claims


# --- places ------------------------------------------------------------------------------------------------------


def find(target: str, *, directory: bool = True, at: Slot = ROOT, kernels: bool | None = None, **more: Any) -> Step:
    """Find `target` inside the root -> %target.

    :param kernels: no link may lead there; True in /proc, /sys and /dev unless given
    """
    kernels = is_kernels(target) if kernels is None else kernels
    flag = O.PATH | O.CLOEXEC | (O.DIRECTORY if directory else O(0))
    how = RESOLVE.IN_ROOT | (RESOLVE.NO_SYMLINKS if kernels else RESOLVE.NO_MAGICLINKS)
    why = f"find /{target.lstrip('.')} inside the root" + (", where no link may lead" if kernels else "")
    hint = (
        TARGET_HINTS | {ELOOP: f"/{target}, or a directory on the way to it, is a link in this root, and may not be one"}
        if kernels
        else TARGET_HINTS
    )
    return step(Phase.MOUNTS, syscalls.openat2(at, target, flag, how), why, save=TARGET, hint=hint, **more)


def make_directory(target: str, mode: int = 0o755, *, kernels: bool | None = None, **more: Any) -> Iterator[Step]:
    """Make `target` and what is missing on the way to it, inside a root of its own; what is there stays as it is.

    Without a root of its own nothing is made: it would be made on the host.
    """
    yield from _placed_first(Place(target), _make_directory(target, mode, kernels=kernels, **more))


def make_file(target: str, **more: Any) -> Iterator[Step]:
    """Make an empty file to mount on, inside a root of its own, unless something is there."""
    yield from _placed_first(Place(target, directory=False), _make_file(target, **more))


def _placed_first(place: Place, steps: Iterable[Step]) -> Iterator[Step]:
    for made in steps:
        yield made.with_(place=place)
        break
    yield from steps


def _make_directory(target: str, mode: int = 0o755, *, kernels: bool | None = None, **more: Any) -> Iterator[Step]:
    more["only_with"] = "root"
    words = target.split("/")
    for depth, word in enumerate(words):
        why = f"make /{'/'.join(words[: depth + 1])}, unless it is there"
        if depth:
            yield find("/".join(words[:depth]), kernels=kernels, **more)
        made = syscalls.mkdirat(TARGET if depth else ROOT, word, mode)
        yield step(Phase.MOUNTS, made, why, tolerates={EEXIST, EROFS}, hint=PLACE_HINTS, **more)
        if depth:
            yield step(Phase.MOUNTS, syscalls.close(TARGET), "%target is done with", **more)


def _make_file(target: str, **more: Any) -> Iterator[Step]:
    more["only_with"] = "root"
    parent, _, name = target.rpartition("/")
    if parent:
        yield from _make_directory(parent, **more)
        yield find(parent, **more)
    call = syscalls.mknodat(TARGET if parent else ROOT, name, 0o100644)
    yield step(Phase.MOUNTS, call, f"make /{target}, unless it is there", tolerates={EEXIST, EROFS}, hint=PLACE_HINTS, **more)
    if parent:
        yield step(Phase.MOUNTS, syscalls.close(TARGET), "%target is done with", **more)


def make_place(place: Place, **more: Any) -> Iterator[Step]:
    """Make the missing path that a link in the root leads to, before something is mounted there."""
    yield from (_make_directory if place.directory else _make_file)(place.path, **more)


# --- mounts ------------------------------------------------------------------------------------------------------


def filesystem(
    fstype: str, target: str, options: Mapping[str, str | None], why: str, *, attr: int = 0, hint: Any = PRIVILEGE, **more: Any
) -> Iterator[Step]:
    """Yield a new filesystem at `target` inside the root."""
    kernels = True if fstype != "tmpfs" else None
    if kernel.has("fsopen"):
        yield from detached(fstype, [("source", fstype), *options.items()], why, attr=attr, hint=hint, **more)
        yield from attach(target, kernels=kernels, **more)
    else:
        yield from _at_target(target, True, more, kernels)
        call = syscalls.mount(fstype, CLASSIC_TARGET, fstype, classic_flags(attr), classic_data(options.items()))
        yield step(Phase.MOUNTS, call, why, hint=hint, mounted=target, **more)
        yield step(Phase.MOUNTS, syscalls.close(CLASSIC_FD), "the place is done with", **more)


def either(plain: Iterable[Step], own: Iterable[Step]) -> Iterator[Step]:
    """Yield steps for a plan in which the child keeps the caller's ids, and for one with a range of ids of its own."""
    if not idmaps.has_own_ids():
        yield from plain
        return
    yield from (made.with_(unless=OWN_IDS) for made in plain)
    yield from (made.with_(only_with=OWN_IDS) for made in own)


def bind(
    source: str, target: str, why: str, *, attr: int, recursive: bool, directory: bool, userns: syscalls.Fd | bool | None = None,
    hosts: bool = True, **more: Any,
) -> Iterator[Step]:  # fmt: skip
    """Show the host's `source` at `target` inside the root too.

    :param userns: the user namespace whose ids it shows; True: that of the plan's own range, where it has one
    :param hosts: False where the source is the child's own work
    :see: open_tree(2), mount_setattr(2)
    """
    if (attr and recursive) or (userns and userns is not True):
        kernel.require("mount_setattr", "attributes for every mount of a tree, or an idmapped mount")
    if kernel.has("open_tree"):
        cloned = [clone_tree(source, why, recursive=recursive, phase=Phase.MOUNTS, **more), *set_attributes(MOUNT, attr, recursive, **more)]
        if userns and userns is not True:
            theirs = Slot(f"{source} for /{target}")
            yield from idmapped(source, why, attr, recursive, userns, phase=Phase.MOUNTS, save=MOUNT, theirs=theirs)
        elif hosts:
            yield from either(cloned, _opened_before(source, target, why, attr, recursive, shown=bool(userns)))
        else:
            yield from cloned
        yield from attach(target, directory=directory, **more)
    else:
        yield from _at_target(target, directory, more)
        call = syscalls.mount(source, CLASSIC_TARGET, None, MS.BIND | (MS.REC if recursive else MS(0)))
        yield step(Phase.MOUNTS, call, why, hint=SOURCE_HINTS, mounted=target, **more)
        yield step(Phase.MOUNTS, syscalls.close(CLASSIC_FD), "the place is done with", **more)
        if attr:
            yield from change(target, attr, directory=directory, **more)


def change(target: str, attr: int, *, directory: bool = True, **more: Any) -> Iterator[Step]:
    """Add attributes to the mount at `target`.  :see: mount(2), "Changing the mount flags of an existing mount" """
    yield from _at_target(target, directory, more)
    call = syscalls.mount(None, CLASSIC_TARGET, None, MS.REMOUNT | MS.BIND | classic_flags(attr))
    why = f"/{target} becomes {'|'.join(k for k, v in OPTIONS.items() if attr & v)}{UNDONE}"
    hint = {EPERM: "a mount from another user namespace keeps the attributes it was locked with: ask for those too"}
    yield step(Phase.MOUNTS, call, why, hint=hint, **more)
    yield step(Phase.MOUNTS, syscalls.close(CLASSIC_FD), "the place is done with", **more)


def set_attributes(mount: Slot, attr: int, recursive: bool, phase: Phase = Phase.MOUNTS, **more: Any) -> Iterator[Step]:
    """Set attributes of a mount that is attached nowhere yet."""
    if attr:
        kernel.require("mount_setattr", "attributes for a whole tree of mounts")
        why = ", ".join(k for k, v in OPTIONS.items() if attr & v) + (", and every mount below it" if recursive else "") + UNDONE
        yield step(phase, syscalls.mount_setattr(mount, attr, recursive=recursive), why, **more)


def idmapped(
    source: str, why: str, attr: int, recursive: bool, userns: syscalls.Fd, *, phase: Phase, save: Slot, theirs: Slot
) -> Iterator[Step]:
    """Yield a copy of the mount at `source` with its ids translated -> `save`; `theirs` is its name in the parent, in use once.

    The parent makes it and hands it on: that takes power over the filesystem, which no process in a new user namespace has.
    :see: mount_setattr(2), "ID-mapped mounts"
    """
    kernel.require("mount_setattr", "an idmapped mount")
    made = clone_tree(source, why, recursive=recursive, phase=Phase.PREPARE, save=theirs)
    yield made.with_(side=Side.PARENT)
    hint = {EINVAL: "this filesystem cannot be idmapped, or it is already", EPERM: "mapping ids needs CAP_SYS_ADMIN over the filesystem"}
    call = syscalls.mount_setattr(theirs, attr | ATTR.IDMAP, recursive=recursive, userns=userns, propagation=MS.PRIVATE)
    why = "its ids are shown as the user namespace maps them, and no mount in it reaches the host"
    yield Step.parent(Phase.PREPARE, call, why=why, hint=hint)
    yield step(phase, Call("dup", (theirs,)), "the parent's mount", save=save)
    yield step(phase, syscalls.close(theirs), "under one name only")


def can_idmap() -> bool:
    """Whether the kernel has the calls for idmapped mounts.  A filesystem may refuse all the same."""
    return all(map(kernel.has, ("open_tree", "move_mount", "mount_setattr")))


def shown(
    source: str, why: str, save: Slot, *, attr: int = 0, recursive: bool = True, below: bool = True, fd: int = SHOWN_FD, order: int = SHOW
) -> Iterator[Step]:
    """Yield a copy of the mount at `source` -> `save`, and `fd`; the parent shows its files with the ids that the plan has inside.

    The child opens it with the caller's ids, so that restrictions of the host's mounts stay.  The parent maps it, since that takes
    power over the filesystem.

    :param below: translate the mounts below it too; otherwise their files show as nobody's
    :see: mount_setattr(2), "ID-mapped mounts"
    """
    needs, first = {"needs": NEEDS if can_idmap() else {IDMAPPED}}, OPEN if order == SHOW else order
    yield clone_tree(source, why, recursive=recursive, phase=Phase.IDENTITY, save=save, order=first, **needs)
    yield step(Phase.IDENTITY, syscalls.dup3(save, fd, O.CLOEXEC), "under a number that the parent can name", order=first)
    there = f"/proc/{{pid}}/fd/{fd}"
    call = syscalls.mount_setattr(AT_FDCWD, attr | ATTR.IDMAP, recursive=recursive and below, userns=IDS, path=there)
    whys = ["its files have the owners that they have on disk", *(k for k, v in OPTIONS.items() if attr & v)]
    yield Step.parent(Phase.IDENTITY, call, why=", ".join(whys) + (UNDONE if attr else ""), hint=IDMAP_HINTS, order=order)


def shown_root(source: str, why: str, attr: int) -> Iterator[Step]:
    """Yield a directory as %root, attached."""
    yield from shown(source, why, ROOT, attr=attr)
    yield step(Phase.ROOTFS, syscalls.close(SHOWN_FD), "it is %root")
    yield root_at()


def _opened_before(source: str, target: str, why: str, attr: int, recursive: bool, *, shown: bool) -> Iterator[Step]:
    """The child opens the source while it still is the caller: another user may not reach it."""
    mount, order = Slot(f"{source} for /{target}"), SHOW_ONE if shown else OPEN
    more: dict[str, Any] = {"phase": Phase.IDENTITY, "order": order}
    yield from (
        _shown_alone(source, why, attr, recursive)
        if shown
        else (clone_tree(source, why, recursive=recursive, **more), *set_attributes(MOUNT, attr, recursive, **more))
    )
    call = Call("fcntl", (MOUNT, Labelled(F_DUPFD_CLOEXEC, "DUPFD_CLOEXEC"), HIGH), "fcntl(2)")
    hint = {
        EINVAL: "the limit of open files (RLIMIT_NOFILE) is too low for this many binds",
        EMFILE: "too many binds for the limit of open files",
    }
    yield step(Phase.IDENTITY, call, "under a number that no other step uses", save=mount, order=order, hint=hint)
    yield step(Phase.IDENTITY, syscalls.close(MOUNT), "%mount is done with", order=order)
    yield step(Phase.MOUNTS, Call("dup", (mount,)), f"what was opened for /{target}", save=MOUNT)
    yield step(Phase.MOUNTS, syscalls.close(mount), "under one name only")


def _shown_alone(source: str, why: str, attr: int, recursive: bool) -> Iterator[Step]:
    """Make a handshake for the binds: one descriptor serves any number of them."""
    yield from shown(source, why, MOUNT, attr=attr, recursive=recursive, fd=BIND_FD, order=SHOW_ONE)
    yield step(Phase.IDENTITY, syscalls.close(BIND_FD), "the number is free again", order=SHOW_ONE)


def detached(
    fstype: str, options: Iterable[tuple[str, str | None]], why: str, *, attr: int = 0, phase: Phase = Phase.MOUNTS, save: Slot = MOUNT,
    hint: Any = PRIVILEGE, **more: Any,
) -> Iterator[Step]:  # fmt: skip
    """Yield a new filesystem, attached nowhere yet -> `save`.  :see: fsopen(2), fsconfig(2), fsmount(2)"""
    opening = {ENODEV: f"this kernel has no {fstype}", EPERM: hint if isinstance(hint, str) else hint.get(EPERM, PRIVILEGE)}
    yield step(phase, syscalls.fsopen(fstype), why, save=FS, hint=opening, **more)
    for key, value in options:
        call = syscalls.fsconfig(FS, "SET_FLAG", key) if value is None else syscalls.fsconfig(FS, "SET_STRING", key, value)
        yield step(phase, call, key if value is None else f"{key} is {value}", hint=hint, **more)
    yield step(phase, syscalls.fsconfig(FS, "CREATE"), f"the {fstype} comes to be", hint=hint, **more)
    yield step(phase, syscalls.fsmount(FS, attr), "as a mount, attached nowhere yet", save=save, hint=hint, **more)
    yield step(phase, syscalls.close(FS), "its configuration is done with", **more)


def clone_tree(source: str, why: str, *, recursive: bool, phase: Phase, save: Slot = MOUNT, **more: Any) -> Step:
    """Return a copy of the mount at `source`, attached nowhere yet -> `save`."""
    flag = OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC | (OPEN_TREE.AT_RECURSIVE if recursive else OPEN_TREE(0))
    return step(phase, syscalls.open_tree(AT_FDCWD, source, flag), why, **{"save": save, "hint": SOURCE_HINTS, **more})


def attach(target: str, *, directory: bool = True, mount: Slot = MOUNT, kernels: bool | None = None, **more: Any) -> Iterator[Step]:
    """Attach a mount at `target` inside the root.  :see: move_mount(2)"""
    yield find(target, directory=directory, kernels=kernels, **more)
    yield step(Phase.MOUNTS, syscalls.move_mount(mount, TARGET), f"attach it at /{target}", mounted=target, **more)
    for slot in (TARGET, mount):
        yield step(Phase.MOUNTS, syscalls.close(slot), f"{slot} is done with", **more)


def _at_target(target: str, directory: bool, more: Mapping[str, Any], kernels: bool | None = None) -> Iterator[Step]:
    yield find(target, directory=directory, kernels=kernels, **more)
    yield step(Phase.MOUNTS, syscalls.dup3(TARGET, CLASSIC_FD, O.CLOEXEC), "under a number that a path can name", **more)
    yield step(Phase.MOUNTS, syscalls.close(TARGET), "%target is done with", **more)


def classic_data(options: Iterable[tuple[str, str | None]]) -> str:
    """Return the options as one string.  Raise PlanError when it is longer than the page that mount(2) reads."""
    data = ",".join(key if value is None else f"{key}={value}" for key, value in options)
    if len(os.fsencode(data)) > 4095:
        raise PlanError("these mount options are longer than mount(2) takes (4095 bytes), and fsconfig(2) is not there")
    return data


# --- the root ----------------------------------------------------------------------------------------------------


def root_at(path: str = "/") -> Step:
    """Attach the detached %root: pivot_root(2) takes only an attached mount.

    On "/" it covers the old root, but no path leads there: absolute paths still begin below it.  No directory of the
    host's is covered, and none has to be reachable for the child, whose ids may have changed by now.
    """
    return step(Phase.ROOTFS, syscalls.move_mount(ROOT, AT_FDCWD, path), "in this mount namespace only")


def cover_root(mount: Slot, **more: Any) -> Step:
    """Attach a detached mount where no path leads, on the host's root, for as long as something needs it attached."""
    return step(Phase.ROOTFS, syscalls.move_mount(mount, AT_FDCWD, "/"), "attached for a moment, where no path leads", **more)


def uncover_root(**more: Any) -> Step:
    """Unmount what `cover_root` attached last, before the pivot: its umount would meet that mount instead of the old root."""
    call = syscalls.umount2("/..", MNT.DETACH)
    return step(Phase.ROOTFS, call, "attached nowhere again: a path that ends in .. leads to what covers the root", **more)


def enter_root() -> Iterator[Step]:
    """Make %root the root directory and let the old one go, with everything that was mounted in it.

    With both arguments ".", the new root covers the old one, and umount takes the old one away: no directory is
    needed to put it in.  :see: pivot_root(2)
    """
    hint = {
        EINVAL: "the new root is no mount point, or a mount on the way is shared, or / is the initial ramfs",
        EBUSY: "the new root is on the current root's mount",
    }
    yield step(Phase.PIVOT, syscalls.fchdir(ROOT), "stand in the new root")
    yield step(Phase.PIVOT, syscalls.pivot_root(".", "."), "it becomes /", hint=hint)
    yield step(Phase.PIVOT, syscalls.umount2(".", MNT.DETACH), "the host's root goes, with all its mounts")
    yield step(Phase.PIVOT, syscalls.close(ROOT), "%root is done with")
    yield step(Phase.PIVOT, syscalls.chdir("/"), "and stand in it")
