"""Mounts, as parts: the filesystems that the program sees, and their targets.

    mounts.Root(dir)   a directory as /        mounts.Bind(src, dst)  something of the host's
    mounts.Tmpfs(dst)  memory                  mounts.Proc, Sysfs, Mqueue, Devpts   the kernel's own
    mounts.Dev()       the usual devices
    mounts.Masked()    paths that a container should not see;  mounts.ReadOnly()  paths that it should not change

Every target is an absolute path inside the root.  Missing targets are made there, also where a dangling link leads to, and also
in a read-only `LayerFS`; not in a read-only `Root`, nor on the host.

No link leads to /proc, /sys or /dev or to anything in them: a root in which one is a link is refused.  A target in a mount of
the plan's is found from that mount, not by its path from the root.

Attributes such as read-only, nosuid and nodev hold for every program that has no CAP_SYS_ADMIN in the user namespace that owns
the mounts, such as those of `ck.sandbox` and `containerkit run`.  A program with that capability,
as root of its own ``ns.User()`` has it without `Capabilities`, takes them off again: its writes then change the host's files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from errno import EBADF, EINVAL, ENOENT, ENOTDIR, EPERM

from ..base import checks
from ..base.frozen import frozen
from ..core import mounting
from ..core.mount_targets import ROOT
from ..core.remembered import by_value
from ..core.step import Phase, Place, Step
from ..errors import PlanError, Unavailable
from ..layers import places as _places
from ..linux import kernel, syscalls
from ..linux.facts import ask
from ..linux.syscalls import ATTR, MS, OPEN_TREE, Fd, HasFileno, O, Slot
from . import devices
from .devices import DEVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MASKED", "READONLY", "Bind", "Dev", "Devpts", "Masked", "Mqueue", "Proc", "ReadOnly", "Root", "Sysfs", "Tmpfs"]

#: The paths that runtimes hide by default, so that no secret of the kernel's shows.
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
#: The paths that runtimes make read-only by default, so that no setting of the kernel's changes.
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SAFE = ATTR.NOSUID | ATTR.NODEV | ATTR.NOEXEC
HOSTS_FD = 62
NULL_FD = 63  # the highest: where RLIMIT_NOFILE denies a number, it is this one, whose failure is never tolerated
PROC_NULL = f"/proc/self/fd/{NULL_FD}"
EARLY, LATE = -1, 1 << 15  # before every mount, and after every one, however deep
LAST = LATE + 2  # after the masked paths of all parts, and the frozen ones
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}

Path = str | os.PathLike[str]


@by_value
@frozen
class Root:
    """A directory of the host's as the root; the host's own root is unmounted, with all its mounts.

    :param path: an absolute path
    :param readonly: nothing in it is changed, nor in any mount below it, by a program without CAP_SYS_ADMIN over these mounts
    :param idmap: a user `Namespace`: files of its root show as the program's root, and so on
    :see: pivot_root(2)
    """

    path: Path
    readonly: bool = False
    idmap: HasFileno | None = None

    def __post_init__(self) -> None:
        mounting.outside(self.path)

    def steps(self) -> Iterable[Step]:
        """Return the steps, for a plan that needs no mount targets in the root."""
        return self.root_steps(())

    def root_steps(self, places: Sequence[Place]) -> Iterable[Step]:
        """Yield the steps, and those that make places where links in the directory lead to, unless it is read-only."""
        yield from self._attached()
        yield from () if self.readonly else _places.behind_links(places, [mounting.outside(self.path)])
        first, *rest = mounting.enter_root()
        yield from (first.with_(claims="root"), *rest)

    def _attached(self) -> Iterator[Step]:
        path, why = mounting.outside(self.path), "the directory that becomes the root"
        attr, userns = ATTR.RDONLY if self.readonly else ATTR(0), _id_map(self.idmap)
        if userns:
            theirs = Slot(f"{path} for /")
            yield from mounting.idmapped(path, why, attr, True, userns, phase=Phase.ROOTFS, save=ROOT, theirs=theirs)
            yield mounting.root_at()
        else:
            yield from mounting.either(self._plain(path, attr, why), mounting.shown_root(path, why, attr))

    @staticmethod
    def _plain(path: str, attr: ATTR, why: str) -> Iterator[Step]:
        if kernel.has("open_tree"):
            yield mounting.clone_tree(path, why, recursive=True, phase=Phase.ROOTFS, save=ROOT)
            yield from mounting.set_attributes(ROOT, attr, True, phase=Phase.ROOTFS)
            yield mounting.root_at()
        else:
            bind = syscalls.mount(path, path, None, MS.BIND | MS.REC)
            yield mounting.step(Phase.ROOTFS, bind, why, hint=mounting.SOURCE_HINTS)
            yield mounting.step(Phase.ROOTFS, syscalls.openat(path, O.PATH | O.DIRECTORY | O.CLOEXEC), "take hold of it", save=ROOT)
            yield from mounting.set_attributes(ROOT, attr, True, phase=Phase.ROOTFS)


@by_value
@frozen
class Bind:
    """A file or directory of the host's, also visible inside.

    :param source: an absolute path of the host
    :param target: an absolute path inside; the same as `source` unless given
    :param readonly: it, and every mount below it, is not changed by a program without CAP_SYS_ADMIN over these mounts; one that
        has it, as in a plan with ``ns.User()`` and without `Capabilities`, makes it writable again
    :param recursive: with the mounts below it
    :param options: more attributes by their names in mount(8): "nosuid", "nodev", "noexec", "noatime", ...; they hold as
        `readonly` does
    :param directory: whether the source is a directory; looked up unless given
    :param idmap: a user `Namespace` whose ids the files are shown with; True: the ids that the plan has inside.  A plan that root
        makes with `ns.User()` has a range of its own, which no user outside has; so without this a file of root's shows as
        nobody's, cannot be changed, and can be read only where every user may read it
    :see: mount_namespaces(7), mount_setattr(2)
    """

    source: Path
    target: Path | None = None
    readonly: bool = False
    recursive: bool = True
    options: Sequence[str] = ()
    directory: bool | None = None
    idmap: HasFileno | bool | None = None

    def __post_init__(self) -> None:
        mounting.outside(self.source)
        mounting.target_of(self.target or self.source)
        mounting.attributes(self.options)

    def steps(self) -> Iterable[Step]:
        source, target = mounting.outside(self.source), mounting.inside(self.target or self.source)
        directory = ask(os.path.isdir, source) if self.directory is None else self.directory
        attr = mounting.attributes(self.options) | (ATTR.RDONLY if self.readonly else ATTR(0))
        place = mounting.make_directory(target) if directory else mounting.make_file(target)
        shown = mounting.bind(
            source, target, f"show {source} inside", attr=attr, recursive=self.recursive, directory=directory, userns=_id_map(self.idmap)
        )
        yield from mounting.placed(target, [*place, *shown])


@by_value
@frozen
class Tmpfs:
    """A directory in memory, a tmpfs.

    :param size: at most so many bytes, or "64M", or "50%" of the machine's memory
    :param mode: permissions of the directory
    :param options: attributes by their names in mount(8)
    :see: tmpfs(5)
    """

    target: Path
    size: int | str | None = None
    mode: int = 0o1777
    options: Sequence[str] = ("nosuid", "nodev")

    def __post_init__(self) -> None:
        mounting.target_of(self.target)
        mounting.attributes(self.options)
        size = str(self.size if self.size is not None else 0)
        if not size.rstrip("%kKmMgG").isdigit() or len(size) - len(size.rstrip("%kKmMgG")) > 1:
            raise PlanError(f"a size is bytes, '64M' or '50%', not {self.size!r}")
        if not 0 <= checks.number(self.mode, "mode") <= 0o7777:
            raise PlanError(f"not a mode: {self.mode:#o}")

    def steps(self) -> Iterable[Step]:
        target = mounting.inside(self.target)
        options = {"mode": f"{self.mode:o}"} | ({} if self.size is None else {"size": str(self.size)})
        yield from _placed("tmpfs", target, 0o755, options, f"memory at /{target}", attr=mounting.attributes(self.options))


@by_value
@frozen
class Proc:
    """A proc of the program's pid namespace.  `ns.Pid()` brings one along.

    :param hidepid: "invisible": processes of other users do not show
    :see: proc(5)
    """

    target: Path = "/proc"
    hidepid: str | None = None

    def __post_init__(self) -> None:
        mounting.target_of(self.target)
        if self.hidepid not in (None, "off", "noaccess", "invisible", "ptraceable"):
            raise PlanError(f"hidepid is off, noaccess, invisible or ptraceable, not {self.hidepid!r}")

    def steps(self) -> Iterable[Step]:
        target = mounting.inside(self.target)
        hint = {EPERM: "a proc for a new user namespace needs a new pid namespace, and a fully visible proc still mounted here"}
        yield from _placed(
            "proc", target, 0o555, {"hidepid": self.hidepid} if self.hidepid else {}, "the kernel's view of processes", attr=SAFE, hint=hint
        )


@by_value
@frozen
class Sysfs:
    """The kernel's view of devices, read-only unless asked otherwise.  :see: sysfs(5)"""

    target: Path = "/sys"
    readonly: bool = True

    def __post_init__(self) -> None:
        mounting.target_of(self.target)

    def steps(self) -> Iterable[Step]:
        target, hint = mounting.inside(self.target), {EPERM: "a sysfs for a new user namespace needs a new network namespace too: ns.Net()"}
        attr = SAFE | (ATTR.RDONLY if self.readonly else ATTR(0))
        yield from _placed("sysfs", target, 0o555, {}, "the kernel's view of devices", attr=attr, hint=hint)


@by_value
@frozen
class Mqueue:
    """The IPC namespace's POSIX message queues, as files.  :see: mq_overview(7)"""

    target: Path = "/dev/mqueue"

    def __post_init__(self) -> None:
        mounting.target_of(self.target)

    def steps(self) -> Iterable[Step]:
        target, hint = (
            mounting.inside(self.target),
            {EPERM: "message queues for a new user namespace need a new IPC namespace too: ns.Ipc()"},
        )
        yield from _placed("mqueue", target, 0o755, {}, "message queues as files", attr=SAFE, hint=hint)


@by_value
@frozen
class Devpts:
    """Pseudo-terminals of the program's own.

    :param gid: the group that terminals belong to; it has to be mapped in the user namespace
    :see: pts(4)
    """

    target: Path = "/dev/pts"
    gid: int | None = None

    def __post_init__(self) -> None:
        mounting.target_of(self.target)

    def steps(self) -> Iterable[Step]:
        target = mounting.inside(self.target)
        options = {"newinstance": None, "ptmxmode": "0666", "mode": "0620"} | ({} if self.gid is None else {"gid": str(self.gid)})
        hint = {EINVAL: "the group is not mapped in this user namespace", EPERM: mounting.PRIVILEGE}
        yield from _placed("devpts", target, 0o755, options, "terminals of its own", attr=ATTR.NOSUID | ATTR.NOEXEC, hint=hint)


@by_value
@frozen
class Dev:
    """A minimal /dev: null zero full random urandom tty, ptmx and pts, shm, fd and the standard streams.

    Root makes the device nodes anew, in the parent, for a user namespace allows no mknod(2).  A caller who may make none shows
    the host's read-only: the devices work, while chmod(2), chown(2) and utimes(2) on them fail with EROFS.  A program with
    CAP_SYS_ADMIN in the user namespace of these mounts can make them writable, and change what its user may change.

    :param shm_size: the size of /dev/shm
    :param mknod: the child makes the devices, in /dev itself; needs CAP_MKNOD over the host
    :param hosts: show the host's nodes; True unless given where the caller may make none
    :raises PlanError: both `mknod` and `hosts`
    """

    shm_size: int | str = "64M"
    mknod: bool = False
    hosts: bool | None = None

    def __post_init__(self) -> None:
        if self.mknod and self.hosts:
            raise PlanError("devices are made (mknod) or the host's (hosts), not both")

    def steps(self) -> Iterable[Step]:
        yield from mounting.placed("dev", self._all())
        shm = _placed("tmpfs", "dev/shm", 0o755, {"mode": "1777", "size": str(self.shm_size)}, "shared memory", attr=SAFE)
        yield from (made for made in (*Devpts().steps(), *shm) if made.only_with != "root")  # their targets are made already

    def _all(self) -> Iterator[Step]:
        yield from mounting.make_directory("dev")
        hosts = self.hosts if self.hosts is not None else not devices.may_make()
        yield from () if self.mknod else self._hosts() if hosts else devices.from_own()
        attr = ATTR.NOSUID | ATTR.NOEXEC | (ATTR(0) if self.mknod else ATTR.NODEV)  # a bound device has a mount of its own
        yield from mounting.filesystem("tmpfs", "dev", {"mode": "755", "size": "64k"}, "an empty /dev", attr=attr)
        yield mounting.find("dev")
        for name, target in LINKS.items():
            yield mounting.step(Phase.MOUNTS, syscalls.symlinkat(target, mounting.TARGET, name), f"/dev/{name}")
        for name in ("pts", "shm", "mqueue"):
            yield mounting.step(Phase.MOUNTS, syscalls.mkdirat(mounting.TARGET, name), f"a place for /dev/{name}")
        yield from self._made() if self.mknod else self._bound()
        yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.TARGET), "%target is done with")

    def _made(self) -> Iterator[Step]:
        for name, (major, minor) in DEVICES.items():
            call = syscalls.mknodat(mounting.TARGET, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            yield mounting.step(
                Phase.MOUNTS, call, f"/dev/{name}", hint={EPERM: "mknod needs CAP_MKNOD over the host: let it bind the devices instead"}
            )

    def _hosts(self) -> Iterator[Step]:
        """Open the host's devices before the empty /dev is mounted, which in a plan without a root of its own covers them."""
        if kernel.has("open_tree"):
            yield from devices.from_hosts()
            return
        for name in DEVICES:
            yield from devices.readonly_node(f"/dev/{name}")
        there = syscalls.openat("/dev", O.PATH | O.DIRECTORY | O.CLOEXEC)
        yield mounting.step(Phase.MOUNTS, there, "the host's devices", save=mounting.MOUNT)
        yield mounting.step(Phase.MOUNTS, syscalls.dup3(mounting.MOUNT, HOSTS_FD, O.CLOEXEC), "under a number that a path can name")
        yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.MOUNT), "%mount is done with")

    def _bound(self) -> Iterator[Step]:
        for name in DEVICES:
            yield mounting.step(Phase.MOUNTS, syscalls.mknodat(mounting.TARGET, name, stat.S_IFREG | 0o666), f"a place for /dev/{name}")
            if kernel.has("open_tree"):
                yield mounting.step(Phase.MOUNTS, syscalls.move_mount(Slot(name), mounting.TARGET, name), "attach it")
                yield mounting.step(Phase.MOUNTS, syscalls.close(Slot(name)), f"%{name} is done with")
            else:
                yield mounting.step(
                    Phase.MOUNTS, syscalls.dup3(mounting.TARGET, mounting.CLASSIC_FD, O.CLOEXEC), "under a number that a path can name"
                )
                device = syscalls.mount(f"/proc/self/fd/{HOSTS_FD}/{name}", f"{mounting.CLASSIC_TARGET}/{name}", None, MS.BIND)
                yield mounting.step(Phase.MOUNTS, device, f"the host's /dev/{name}, read-only as the mount it is copied from")
                yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.CLASSIC_FD), "the place is done with")
        if not kernel.has("open_tree"):
            yield mounting.step(Phase.MOUNTS, syscalls.close(HOSTS_FD), "the host's devices are done with")


@by_value
@frozen
class Masked:
    """A part that hides paths: files behind /dev/null, directories behind an empty read-only tmpfs.  Missing ones stay missing.

    A file is covered by a null device, which is checked and opened before anything is mounted: no link planted in a
    root, and no other part's /dev, comes in between (CVE-2025-31133).  No program inside changes its mode or owner: it is our
    own where the caller is root (Linux 6.15), and otherwise the host's, read-only.

    A path in a mount of the plan's is found from that mount, and one in /proc, /sys or /dev through no link, so that a path
    counts as missing only where it is missing.  In a root without that path there is nothing to hide, and the plan shows nothing else.

    :param paths: absolute paths inside
    :raises Unavailable: the host's /dev/null is no null device
    """

    paths: Sequence[Path] = MASKED

    def __post_init__(self) -> None:
        for path in checks.words(self.paths, "paths", "paths"):
            mounting.target_of(path)

    def steps(self) -> Iterable[Step]:
        ask(_check_null)
        yield from devices.null_to_bind(order=EARLY)
        null = syscalls.openat("/dev/null", O.PATH | O.CLOEXEC)
        yield mounting.step(Phase.MOUNTS, null, "the null device, before anything is mounted", save=mounting.MOUNT, order=EARLY)
        yield mounting.step(
            Phase.MOUNTS, syscalls.dup3(mounting.MOUNT, NULL_FD, O.CLOEXEC), "under a number that a path can name", order=EARLY
        )
        yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.MOUNT), "%mount is done with", order=EARLY)
        yield mounting.step(
            Phase.MOUNTS, syscalls.openat(PROC_NULL, O.PATH | O.CLOEXEC), "without it nothing is hidden", save=mounting.MOUNT, order=LATE
        )
        yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.MOUNT), "it is there", order=LATE)
        for path in map(mounting.inside, self.paths):
            yield from self._hide(path)
        done = syscalls.close(NULL_FD)
        yield mounting.step(Phase.MOUNTS, done, "the null device is done with, here or in another part", order=LAST, tolerates={EBADF})

    def _hide(self, path: str) -> Iterator[Step]:
        """Mount the directory or the file, whichever fits: the kernel refuses a directory on a file, and a file on a directory (ENOTDIR).

        Only a path that does not exist gets neither mount.
        """
        absent = {"order": LATE, "tolerates": {ENOENT, EBADF}}
        other = {"order": LATE, "tolerates": {ENOENT, ENOTDIR}}
        yield mounting.find(path, directory=False, order=LATE, tolerates={ENOENT, ENOTDIR})
        yield mounting.step(
            Phase.MOUNTS, syscalls.dup3(mounting.TARGET, mounting.CLASSIC_FD, O.CLOEXEC), "under a number that a path can name", **absent
        )
        yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.TARGET), "%target is done with", **absent)
        null = syscalls.mount(PROC_NULL, mounting.CLASSIC_TARGET, None, MS.BIND)
        yield mounting.step(Phase.MOUNTS, null, f"a file /{path} reads as empty", **other)
        empty = syscalls.mount("tmpfs", mounting.CLASSIC_TARGET, "tmpfs", MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC, "size=0,mode=755")
        yield mounting.step(Phase.MOUNTS, empty, f"a directory /{path} is empty", **other)
        yield mounting.step(Phase.MOUNTS, syscalls.close(mounting.CLASSIC_FD), "the place is done with", **absent)


@by_value
@frozen
class ReadOnly:
    """A part that makes paths read-only which another part mounted, with every mount below them.  Missing ones stay missing.

    That holds for a program without CAP_SYS_ADMIN over these mounts: a program with it can unmount the cover.  Paths are found as those of
    `Masked` are.

    :param paths: absolute paths inside
    """

    paths: Sequence[Path] = READONLY

    def __post_init__(self) -> None:
        for path in checks.words(self.paths, "paths", "paths"):
            mounting.target_of(path)

    def steps(self) -> Iterable[Step]:
        kernel.require("mount_setattr", "a tree of mounts made read-only at once")
        for path in map(mounting.inside, self.paths):
            yield from self._freeze(path)

    def _freeze(self, path: str) -> Iterator[Step]:
        """Bind the path over itself, read-only.  Where it does not exist, the later steps fail with EBADF, which is allowed."""
        absent = {"order": LATE + 1, "tolerates": {EBADF}}
        yield mounting.find(path, directory=False, order=LATE + 1, tolerates={ENOENT, ENOTDIR})
        flag = OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC | OPEN_TREE.AT_EMPTY_PATH | OPEN_TREE.AT_RECURSIVE
        yield mounting.step(
            Phase.MOUNTS, syscalls.open_tree(mounting.TARGET, "", flag), f"another view of /{path}", save=mounting.MOUNT, **absent
        )
        yield mounting.step(
            Phase.MOUNTS, syscalls.mount_setattr(mounting.MOUNT, ATTR.RDONLY, recursive=True), "the view cannot be written to", **absent
        )
        yield mounting.step(Phase.MOUNTS, syscalls.move_mount(mounting.MOUNT, mounting.TARGET), "covers it", **absent)
        for slot in (mounting.MOUNT, mounting.TARGET):
            yield mounting.step(Phase.MOUNTS, syscalls.close(slot), f"{slot} is done with", **absent)


def _check_null() -> None:
    status = os.stat("/dev/null", follow_symlinks=False)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(*DEVICES["null"]):
        raise Unavailable("a null device to hide files behind", probed="/dev/null is something else", remedy="mknod -m 666 /dev/null c 1 3")


def _placed(fstype: str, target: str, mode: int, options: Mapping[str, str | None], why: str, **more: Any) -> Iterator[Step]:
    place = mounting.make_directory(target, mode, kernels=True if fstype != "tmpfs" else None)
    return mounting.placed(target, [*place, *mounting.filesystem(fstype, target, options, why, **more)])


def _id_map(namespace: HasFileno | bool | None) -> Any:
    if isinstance(namespace, bool):
        return namespace
    return Fd(f"user namespace {os.fstat(namespace.fileno()).st_ino}", namespace) if namespace else None
