"""New namespaces, as parts: each adds its flag to the clone, and the steps that set the namespace up.

    ns.User()   users and rights    ns.Mount()   the mounts           ns.Pid()     the processes
    ns.Net()    the network         ns.Ipc()     shared memory        ns.Uts()     the host name
    ns.Cgroup() the cgroup's root   ns.Time()    the clocks since boot

To join an existing namespace put a `Namespace` in the plan.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from errno import EINVAL, ENOENT, ENOSYS, EPERM, ERANGE, EXDEV

from ..base import checks
from ..base.frozen import frozen
from ..core import mounting
from ..core.remembered import by_value
from ..core.step import Phase, Step
from ..core.timeline import OWN_IDS
from ..errors import PlanError, Unavailable
from ..linux import ids as idmaps
from ..linux import kernel, procfs, sockets, syscalls
from ..linux.facts import ask
from ..linux.ids import Range
from ..linux.syscalls import ATTR, CLONE, MS, Bytes, Call, HeaderAddress, O, Slot, Tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Cgroup", "Ipc", "Mount", "Net", "Pid", "Time", "User", "Uts", "subids"]

FILE = Slot("file")
PARENTS_FILE = Slot("map")  # a name of the parent's alone: one that both sides save would pass its descriptor to the child


def _made(kind: str, flag: CLONE, why: str) -> Step:
    return Step.parent(Phase.CLONE, syscalls.clone3(flag), why=why, claims=f"{kind} namespace")


_FILE_HINTS = {
    ENOENT: "the kernel has no such file, or /proc is that of a pid namespace in which the child is not",
    EXDEV: "something is mounted over the file",
    ENOSYS: "a sandbox hides openat2(2), without which no file of procfs is proven",
}


def write_file(path: str, data: bytes, why: str, *, phase: Phase, child: bool = True, hint: object = "") -> Iterator[Step]:
    """Open a file of procfs below the proven descriptor, write `data` in one call, and close it."""
    step, file = (Step.child, FILE) if child else (Step.parent, PARENTS_FILE)
    yield step(phase, procfs.open_file(path, O.WRONLY | O.CLOEXEC), why=why, save=file, hint=_FILE_HINTS)
    yield step(phase, syscalls.write(file, data), why=data.decode().replace("\n", "; "), at_least=len(data), hint=hint)
    yield step(phase, syscalls.close(file), why=f"{path} is done with")


@by_value
@frozen
class User:
    """A user namespace: root in here, and only in here.

    Made by root of the machine, and without ranges, its ids are those of no user outside: those that /etc/subuid and /etc/subgid give to
    "containerkit", or else to "root", or else a free range high up, which no other program uses.  So the program, root inside,
    makes, reads and signals outside as nobody.  All containers of root's have this one range: only `ns.Pid` and `ns.Ipc` keep them
    apart; without these one may signal the programs of another, and use its shared memory.  The files of the plan's root (of a
    `LayerFS`, a `mounts.Root`) show with the ids that they have on disk; bound files do so only by ``Bind(idmap=True)``.  For the
    caller's own ids inside there is `User.same`.

    Made by an ordinary user, and without ranges, the caller's own ids become `uid` and `gid` inside, which needs no privilege.  With
    ranges the caller's privilege is used where it has it, newuidmap(1) and newgidmap(1) otherwise, and files keep their ids.

    :param uid, gid: the program's user and group, inside
    :param uids, gids: (inside, outside, count) of each range; both or neither
    :raises PlanError: ranges that overlap or are empty, or do not hold `uid` and `gid`
    :see: user_namespaces(7), mount_setattr(2)
    """

    uid: int = 0
    gid: int = 0
    uids: Sequence[Range] = ()
    gids: Sequence[Range] = ()

    def __post_init__(self) -> None:
        if bool(self.uids) != bool(self.gids):
            raise PlanError("map ranges of both users and groups, or of neither")
        for name, inside, ranges in (("uid", self.uid, self.uids), ("gid", self.gid, self.gids)):
            if not 0 <= checks.number(inside, name) < 2**32 - 1:
                raise PlanError(f"not a {name}: {inside}")
            idmaps.check(name, ranges)
            if ranges:
                _held(name, ranges, inside)

    @classmethod
    def same(cls) -> User:
        """Return a user namespace whose ids are those outside: all that the caller has, or its own one without privilege.

        Made by root, root inside is root outside for every file that it reaches, and for every process that it sees.
        """
        uid, gid = ask(os.geteuid), ask(os.getegid)
        if not idmaps.may_map():
            return cls(uid, gid, ((uid, uid, 1),), ((gid, gid, 1),))
        uids, gids = (tuple((first, first, count) for first, _, count in idmaps.own(kind)) for kind in ("uid", "gid"))
        return cls(uid, gid, uids, gids)

    @property
    def maps(self) -> tuple[Sequence[Range], Sequence[Range]]:
        """The ranges of users and of groups, (inside, outside, count), as a plan made by this process has them.

        :raises Unavailable: root has no range free for containers
        """
        if self.uids:
            return self.uids, self.gids
        if idmaps.has_own_ids():
            return idmaps.own_range("uid"), idmaps.own_range("gid")
        return ((self.uid, ask(os.geteuid), 1),), ((self.gid, ask(os.getegid), 1),)

    def outside(self, uid: int = 0, gid: int = 0) -> tuple[int, int]:
        """Return the user and the group, for the caller, that a user and a group inside are.  :raises PlanError: they are not mapped"""
        uids, gids = self.maps
        _held("uid", uids, uid)
        _held("gid", gids, gid)
        return idmaps.outside_of(uids, uid), idmaps.outside_of(gids, gid)

    def steps(self) -> Iterable[Step]:
        yield _made("user", CLONE.NEWUSER, "a user namespace")
        if not self.uids and idmaps.has_own_ids():
            yield from self._own()
        elif not self.uids or self._is_one_id():
            yield from self._single()
        else:
            yield from self._mapped(self.uids, self.gids)

    def _is_one_id(self) -> bool:
        """Whether the ranges are the caller's own ids: the child maps them itself, without privilege and without waiting."""
        ids = ((self.uid, ask(os.geteuid), 1),), ((self.gid, ask(os.getegid), 1),)
        return (tuple(self.uids), tuple(self.gids)) == ids

    def _own(self) -> Iterator[Step]:
        """Yield a range that is nobody's outside, and a descriptor of the same map for the files that are shown inside."""
        if not idmaps.may_map():
            raise PlanError("root inside cannot be nobody outside without CAP_SETUID and CAP_SETGID; as the caller itself: ns.User.same()")
        uids, gids = self.maps
        _held("uid", uids, self.uid)
        _held("gid", gids, self.gid)
        first, *rest = self._mapped(uids, gids)
        yield from (first.with_(claims=OWN_IDS), *rest)
        there = syscalls.openat("/proc/{pid}/ns/user", O.CLOEXEC)
        why = "files are shown through the map that the container has"
        yield Step.parent(Phase.IDENTITY, there, why=why, save=mounting.IDS, only_with=str(mounting.IDS), order=mounting.TAKE)

    def _mapped(self, uids: Sequence[Range], gids: Sequence[Range]) -> Iterator[Step]:
        yield from (self._direct if idmaps.may_map() else self._by_tool)(uids, gids)
        yield from self._become(uids, gids)

    def _single(self) -> Iterator[Step]:
        hint = {EPERM: "one process maps its own id, and once only; a group only after setgroups is denied"}
        why = "no process inside can drop a group, for the group may be one that is denied access"
        yield from write_file("/proc/self/setgroups", b"deny", why, phase=Phase.IDENTITY)
        for name, inside, own in (("uid", self.uid, ask(os.geteuid)), ("gid", self.gid, ask(os.getegid))):
            data = b"%d %d 1" % (inside, own)
            yield from write_file(
                f"/proc/self/{name}_map", data, f"{name} {inside} in here is {own} outside", phase=Phase.IDENTITY, hint=hint
            )

    @staticmethod
    def _direct(uids: Sequence[Range], gids: Sequence[Range]) -> Iterator[Step]:
        hint = {EPERM: "mapping these ids needs CAP_SETUID and CAP_SETGID outside"}
        for name, ranges in (("uid", uids), ("gid", gids)):
            data = b"\n".join(b"%d %d %d" % r for r in ranges)
            steps = write_file(f"/proc/{{pid}}/{name}_map", data, f"map ranges of {name}s", phase=Phase.IDENTITY, child=False, hint=hint)
            yield from (each.with_(order=mounting.MAP) for each in steps)

    @staticmethod
    def _by_tool(uids: Sequence[Range], gids: Sequence[Range]) -> Iterator[Step]:
        for name, ranges in (("uid", uids), ("gid", gids)):
            words = tuple(str(number) for r in ranges for number in r)
            tool = Tool((f"new{name}map", "{pid}", *words), "install the package uidmap (shadow-utils)")
            hint = f"/etc/sub{name} does not give the caller these ids"
            yield Step.parent(Phase.IDENTITY, tool, order=mounting.MAP, why=f"map ranges of {name}s that /etc/sub{name} allows", hint=hint)

    def _become(self, uids: Sequence[Range], gids: Sequence[Range]) -> Iterator[Step]:
        """Yield the steps that change ids, after the steps that still need the caller's ids, as for the child's own files in /proc.

        After a change of ids no process without privilege may trace the memory.  For root that is no loss, and the
        spawn gives it back; an ordinary caller would lose its own files in /proc meanwhile, so there the child leaves its memory first.
        """
        moved = (idmaps.outside_of(uids, self.uid), idmaps.outside_of(gids, self.gid)) != (ask(os.geteuid), ask(os.getegid))
        more: dict[str, Any] = {"helper": "join" if moved and ask(os.geteuid) else "", "order": mounting.BECOME}
        for call in (syscalls.setgroups(()), syscalls.setresgid(self.gid), syscalls.setresuid(self.uid)):
            yield Step.child(Phase.IDENTITY, call, why="become the user and group of the plan", **more)


def _held(name: str, ranges: Sequence[Range], inside: int) -> None:
    if not any(first <= inside < first + count for first, _, count in ranges):
        raise PlanError(f"no range holds {name} {inside}")


def subids(size: int = 65536) -> User:
    """Return a User with a whole range: the caller as root, and the ids that /etc/subuid and /etc/subgid give it as the rest.

    For root of the machine this is `User()`: its range has no id of the caller's in it.

    :param size: the largest number of ids inside
    :raises Unavailable: the files give the caller none
    :see: subuid(5), newuidmap(1)
    """
    if idmaps.has_own_ids():
        return User()
    maps = []
    for name, own in (("uid", ask(os.geteuid)), ("gid", ask(os.getegid))):
        ranges, next_id = [(0, own, 1)], 1
        for first, count in idmaps.subordinate(f"/etc/sub{name}"):
            count = min(count, size - next_id)
            if count > 0:
                ranges.append((next_id, first, count))
                next_id += count
        if len(ranges) == 1:
            remedy = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, as root"
            raise Unavailable(f"a range of {name}s for this user", probed=f"/etc/sub{name}", remedy=remedy)
        maps.append(tuple(ranges))
    return User(uids=maps[0], gids=maps[1])


@by_value
@frozen
class Mount:
    """A mount namespace: a copy of the host's table of mounts, whose changes do not reach the host.

    :param propagation: "private", or "slave" to still see what the host mounts later
    :see: mount_namespaces(7)
    """

    propagation: str = "private"

    def __post_init__(self) -> None:
        if self.propagation not in ("private", "slave"):
            raise PlanError(f"propagation is 'private' or 'slave', not {self.propagation!r}: a shared one would mount on the host")

    def steps(self) -> Iterable[Step]:
        yield _made("mnt", CLONE.NEWNS, "a mount namespace")
        flag = MS.REC | (MS.PRIVATE if self.propagation == "private" else MS.SLAVE)
        why = "no mount from here on reaches the host" + ("" if self.propagation == "slave" else ", and none of the host's arrives")
        yield Step.child(
            Phase.IDENTITY, syscalls.mount(None, "/", None, flag), why=why, hint={EINVAL: "/ is no mount point: the caller was chrooted"}
        )


@by_value
@frozen
class Pid:
    """A pid namespace: the program is process 1, and sees only processes that it started.  When it ends, all of them end.

    :param proc: mount a /proc that shows it, when the plan has a mount namespace
    :param init: put a small process 1 before the program: it passes signals on, and reaps orphans.  A program that is
        process 1 itself gets no signal it has no handler for.  The exit code of a program that a signal ended is then
        128 and the signal's number
    :see: pid_namespaces(7)
    """

    proc: bool = True
    init: bool = False

    def steps(self) -> Iterable[Step]:
        yield _made("pid", CLONE.NEWPID, "a pid namespace")
        if self.proc:
            hint = {EPERM: "a new proc needs a fully visible one still mounted here: the caller's own /proc may be hidden in part"}
            more: dict[str, Any] = {"only_with": "new mnt namespace", "needs": frozenset()}
            attr = ATTR.NOSUID | ATTR.NODEV | ATTR.NOEXEC
            shown = mounting.filesystem("proc", "proc", {}, "show this pid namespace in /proc", attr=attr, hint=hint, **more)
            yield from mounting.placed("proc", [*mounting.make_directory("proc", 0o555, **more), *shown])
        if self.init:
            flags = CLONE.PARENT_SETTID
            call = Call("clone", (syscalls.Labelled(flags | 17, "PARENT_SETTID|SIGCHLD"), 0, HeaderAddress("payload"), None, 0))
            yield Step.child(Phase.EXEC, call, why="this stays as process 1; its child becomes the program", at_most=0, helper="init")


@by_value
@frozen
class Net:
    """A network namespace: no interface but its own loopback.

    :param loopback: bring `lo` up
    :see: network_namespaces(7), netdevice(7)
    """

    loopback: bool = True

    def steps(self) -> Iterable[Step]:
        yield _made("net", CLONE.NEWNET, "a network namespace")
        if self.loopback:
            endpoint, request = Slot("socket"), struct.pack("16sH22x", b"lo", 1)
            call = syscalls.socket(sockets.AF_INET, sockets.SOCK_DGRAM | sockets.SOCK_CLOEXEC, shown="AF_INET")
            yield Step.child(Phase.INSIDE, call, why="a way to talk to the network namespace", save=endpoint)
            up = syscalls.ioctl(endpoint, 0x8914, Bytes(request, "{lo, UP}"), shown="SIOCSIFFLAGS")
            yield Step.child(Phase.INSIDE, up, why="127.0.0.1 answers", hint={EPERM: "this needs CAP_NET_ADMIN over the network namespace"})
            yield Step.child(Phase.INSIDE, syscalls.close(endpoint), why="%socket is done with")


@by_value
@frozen
class Ipc:
    """An IPC namespace: System V objects and POSIX message queues of its own.  :see: ipc_namespaces(7)"""

    def steps(self) -> Iterable[Step]:
        yield _made("ipc", CLONE.NEWIPC, "an IPC namespace")


@by_value
@frozen
class Uts:
    """A UTS namespace: a host name of its own.

    :param hostname, domainname: at most 64 bytes each; the host's stay where none is given
    :raises PlanError: a name that is too long
    :see: uts_namespaces(7)
    """

    hostname: str | None = None
    domainname: str | None = None

    def __post_init__(self) -> None:
        for name in (self.hostname, self.domainname):
            if name is not None and not 0 < len(syscalls.text(name)) <= 64:
                raise PlanError(f"a host or domain name has 1 to 64 bytes, not {len(syscalls.text(name))}")

    def steps(self) -> Iterable[Step]:
        yield _made("uts", CLONE.NEWUTS, "a UTS namespace")
        if self.hostname is not None:
            yield Step.child(Phase.INSIDE, syscalls.sethostname(self.hostname), why=f"be called {self.hostname}")
        if self.domainname is not None:
            yield Step.child(Phase.INSIDE, syscalls.setdomainname(self.domainname), why=f"in the domain {self.domainname}")


@by_value
@frozen
class Cgroup:
    """A cgroup namespace: the cgroup the child is in looks like the root.  It sets no limits.  :see: cgroup_namespaces(7)"""

    def steps(self) -> Iterable[Step]:
        yield _made("cgroup", CLONE.NEWCGROUP, "a cgroup namespace")


@by_value
@frozen
class Time:
    """A time namespace: other offsets of the clocks that count since boot.  The wall clock stays.

    :param monotonic, boottime: seconds to add; negative ones may not reach before the boot
    :see: time_namespaces(7)
    """

    monotonic: float = 0.0
    boottime: float = 0.0

    def __post_init__(self) -> None:
        checks.seconds(self.monotonic, "monotonic"), checks.seconds(self.boottime, "boottime")

    def steps(self) -> Iterable[Step]:
        hint = {EPERM: "this needs CAP_SYS_ADMIN: run as root, or ask for ns.User()", EINVAL: "this kernel has no time namespaces"}
        call = Call("unshare", (CLONE.NEWTIME,))
        yield Step.child(Phase.IDENTITY, call, why="a time namespace for the program after the exec", claims="time namespace", hint=hint)
        offsets = "".join(
            f"{clock} {self._split(value)}\n" for clock, value in (("monotonic", self.monotonic), ("boottime", self.boottime))
        )
        hint = {
            ERANGE: "an offset leads to before the boot, or too far ahead",
            EPERM: "setting clocks needs CAP_SYS_TIME over the namespace",
        }
        yield from write_file("/proc/self/timens_offsets", offsets.encode(), "clocks that only it sees", phase=Phase.IDENTITY, hint=hint)
        if not kernel.has("exec enters time namespaces"):
            yield from self._enter()

    def _enter(self) -> Iterator[Step]:
        """Join the namespace before the exec, which enters it only since Linux 6.3.  Only a process that shares no memory may join."""
        links, fd = Slot("links"), Slot("time")
        found = procfs.open_file("/proc/self/ns", O.PATH | O.DIRECTORY | O.CLOEXEC)
        yield Step.child(Phase.IDENTITY, found, why="find the child's own namespaces", save=links, hint=_FILE_HINTS)
        call = syscalls.openat("time_for_children", O.CLOEXEC, at=links)
        yield Step.child(Phase.IDENTITY, call, why="take hold of it", save=fd)
        yield Step.child(Phase.IDENTITY, syscalls.close(links), why="%links is done with")
        yield Step.child(Phase.IDENTITY, syscalls.setns(fd, CLONE.NEWTIME), why="and enter", helper="join")
        yield Step.child(Phase.IDENTITY, syscalls.close(fd), why="%time is done with")

    @staticmethod
    def _split(seconds: float) -> str:
        whole, rest = divmod(round(seconds * 1e9), 1_000_000_000)
        return f"{whole} {rest}"
