"""What a piece of code left behind in the kernel.

    with leaks() as found:
        plan.run()
    found.check()           # LeakError, with a list, when something is still there

The machine is looked at before and after; what is new is a leak.  Other processes come and go meanwhile, so a
process counts only when it can be traced to this one:

- it descends from this process, or
- it is an orphan (its parent is init or an ancestor of this process, which is where the kernel hands orphans), it is
  new, and it is either in a namespace that did not exist before or still in this process's session.

A new cgroup in which only processes of others run is theirs.  Mounts, links and nftables tables carry no owner: all
new ones in this process's namespaces count, so two of these at once must not share a mount or network namespace.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import socket
import struct
import tempfile
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

from .errors import ContainerKitError

__all__ = ["Found", "Leak", "LeakError", "leaks"]

GRACE = 2.0  # seconds that the kernel gets to finish what it does in the background

Look = Mapping[Hashable, str]
Process = tuple[int, int]  # pid and start time: a pid alone is used again


class LeakError(ContainerKitError, AssertionError):
    """Something is still there that was not there before."""


@dataclass(frozen=True)
class Leak:
    """One thing left behind: its kind ("mount", "cgroup", "process", ...) and what it is."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


# Looking --------------------------------------------------------------------------------------------------------


def _read(path: str) -> bytes:
    """A whole file of procfs, b"" when it or its process is gone.  Four times as fast as open()."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = b""
        while piece := os.read(fd, 1 << 16):
            data += piece
        return data
    except OSError:
        return b""
    finally:
        os.close(fd)


class _Stat(NamedTuple):
    """The fields of /proc/PID/stat used here."""

    pid: int
    comm: str
    state: str
    parent: int
    session: int
    started: int  # clock ticks since boot

    @property
    def key(self) -> Process:
        return self.pid, self.started

    def __str__(self) -> str:
        return f"{self.pid} ({self.comm})" + (" zombie" if self.state == "Z" else "")


def _stat(pid: str) -> _Stat | None:
    head, _, tail = _read(f"/proc/{pid}/stat").rpartition(b")")
    if not head:
        return None
    fields = tail.split()
    comm = head.partition(b"(")[2].decode(errors="replace")
    return _Stat(int(pid), comm, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


@dataclass
class _Processes:
    """All processes of /proc at one moment.  `me` is this one, as the procfs mounted at /proc counts."""

    me: int
    all: dict[int, _Stat]

    @classmethod
    def now(cls) -> _Processes:
        stats = (_stat(name) for name in os.listdir("/proc") if name.isdecimal())
        return cls(int(os.readlink("/proc/self")), {stat.pid: stat for stat in stats if stat})

    @property
    def keys(self) -> frozenset[Process]:
        return frozenset(stat.key for stat in self.all.values())

    def below(self, *roots: int) -> dict[int, _Stat]:
        """The descendants of `roots`, without them."""
        children: dict[int, list[_Stat]] = {}
        for stat in self.all.values():
            children.setdefault(stat.parent, []).append(stat)
        found, waiting = {}, list(roots)
        while waiting:
            for stat in children.get(waiting.pop(), ()):
                found[stat.pid] = stat
                waiting.append(stat.pid)
        return found

    def ancestors(self) -> list[_Stat]:
        """From the parent of this process up."""
        chain, stat = [], self.all.get(self.me)
        while stat and (stat := self.all.get(stat.parent)):
            chain.append(stat)
        return chain

    def orphans(self, before: frozenset[Process]) -> list[_Stat]:
        """New processes whose parent is where the kernel hands orphans of this process."""
        adopters = {stat.pid for stat in self.ancestors()} | {1}
        young = [stat for stat in self.all.values() if stat.parent in adopters and stat.key not in before]
        return [stat for stat in young if stat.pid != self.me and stat not in self.ancestors()]


def _namespaces(where: str) -> set[str]:
    """The namespaces of one process or thread, as "net:[4026531840]"; none when it is gone or hidden from us."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"{where}/ns"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"{where}/ns/{name}"))
    return found


def _mountinfo() -> list[list[str]]:
    return [line.split(" ") for line in _read("/proc/self/mountinfo").decode(errors="surrogateescape").splitlines()]


def _path(field: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal numbers."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), field)


def _mounts(table: list[list[str]]) -> Look:
    """By all that does not change: a mount id alone is used again."""
    return {tuple(fields[:5]): f"{_path(fields[4])} ({' '.join(fields[fields.index('-') + 1 :][:2])}, id {fields[0]})" for fields in table}


def _cgroups(table: list[list[str]]) -> Look:
    """Every directory of every cgroup hierarchy.  A leaf has two links, so its many files need not be listed."""
    points = {fields[2]: _path(fields[4]) for fields in table if fields[fields.index("-") + 1] in ("cgroup", "cgroup2")}
    found: dict[Hashable, str] = {}
    waiting = list(points.values())
    while waiting:
        directory = waiting.pop()
        found[directory] = directory
        with contextlib.suppress(OSError):
            if os.stat(directory).st_nlink > 2:
                waiting += [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    return found


def _inhabitants(cgroup: str, cgroups: Look) -> set[int]:
    """The processes in a cgroup and below it."""
    tree = [path for path in cgroups.values() if path == cgroup or path.startswith(f"{cgroup}/")]
    return {int(pid) for path in tree for pid in _read(f"{path}/cgroup.procs").split()}


def _fds() -> Look:
    found: dict[Hashable, str] = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listed the directory is closed by now
            target = os.readlink(f"/proc/self/fd/{name}")
            found[name, target] = f"{name} -> {target}"
    return found


def _state() -> Look:
    run = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    patterns = [os.path.join(glob.escape(tempfile.gettempdir()), "containerkit-*")]
    patterns += [f"{glob.escape(run)}/containerkit/*"] if run else []
    return {path: path for pattern in patterns for path in glob.iglob(pattern)}


def _tables() -> Look:
    """The nftables tables of this network namespace, asked of the kernel as nft(8) asks.

    :raises OSError: not allowed, or no nf_tables in this kernel
    """
    request = struct.pack("=IHHII BBH", 20, 0x0A01, 0x301, 1, 0, 0, 0, 0)  # NFT_MSG_GETTABLE, REQUEST | DUMP
    found: dict[Hashable, str] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12) as netlink:  # NETLINK_NETFILTER
        netlink.settimeout(1)
        netlink.sendto(request, (0, 0))
        while True:
            for kind, body in _messages(netlink.recv(1 << 16)):
                if kind == 3:  # NLMSG_DONE
                    return found
                if kind == 2 and (error := -struct.unpack_from("=i", body)[0]):  # NLMSG_ERROR
                    raise OSError(error, os.strerror(error))
                if kind == 0x0A00:  # NFT_MSG_NEWTABLE: the first attribute is the name
                    length = struct.unpack_from("=H", body, 4)[0]
                    found[body[0], body[8 : 4 + length]] = f"{body[8 : 4 + length].rstrip(bytes(1)).decode()} (family {body[0]})"


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The netlink messages in one datagram: type and body.  :see: netlink(7)"""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        yield kind, data[16:length]
        data = data[(length + 3) & ~3 :]


# Comparing ------------------------------------------------------------------------------------------------------


@dataclass
class _Snapshot:
    """What there is at one moment, by kind."""

    processes: _Processes
    looks: dict[str, Look]
    held: dict[str, str]  # namespace: who holds it, as far as that is this process or one below it
    not_looked_at: dict[str, str] = field(default_factory=dict)

    @classmethod
    def now(cls) -> _Snapshot:
        processes, table, fds = _Processes.now(), _mountinfo(), _fds()
        links: Look = {(index, name): name for index, name in socket.if_nameindex()}
        looks: dict[str, Look] = {"mount": _mounts(table), "cgroup": _cgroups(table), "link": links}
        looks |= {"fd": fds, "state directory": _state()}
        snapshot = cls(processes, looks, _held(processes, table, fds))
        try:
            looks["nftables table"] = _tables()
        except OSError as error:
            snapshot.not_looked_at["nftables table"] = str(error)
        return snapshot

    def since(self, before: _Snapshot) -> list[Leak]:
        """What is here and was not in `before`."""
        ours, held = self._attributed(before)
        found = [Leak("process", str(stat)) for stat in ours.values() if stat.key not in before.processes.keys]
        found += [Leak("namespace", f"{name} held by {held[name]}") for name in sorted(held.keys() - before.held.keys())]
        mine = {*ours, self.processes.me}
        for kind, look in self.looks.items():
            # what could not be looked at before cannot be compared: not_looked_at says so
            new = look.keys() - before.looks.get(kind, look).keys()
            found += [Leak(kind, look[key]) for key in look if key in new and not self._foreign(kind, look[key], mine)]
        return found

    def _foreign(self, kind: str, what: str, mine: set[int]) -> bool:
        if kind != "cgroup":
            return False
        inside = _inhabitants(what, self.looks["cgroup"])
        return bool(inside) and not inside & mine

    def _attributed(self, before: _Snapshot) -> tuple[dict[int, _Stat], dict[str, str]]:
        """The processes that are this one's doing, and the namespaces held by it or by them."""
        now, held = self.processes, dict(self.held)
        ours = now.below(now.me)
        orphans = now.orphans(before.processes.keys)
        old = self._seen_elsewhere(before) if orphans else set()
        outside = {stat.pid for stat in now.ancestors() if stat.session != now.all[now.me].session} | {1}
        for stat in orphans:
            fresh = _namespaces(f"/proc/{stat.pid}") - before.held.keys() - old
            same_session = stat.session == now.all[now.me].session and stat.parent in outside
            if fresh or same_session:
                family = {stat.pid: stat, **now.below(stat.pid)}
                ours |= family
                for member in family.values():
                    held |= dict.fromkeys(_namespaces(f"/proc/{member.pid}") - old, f"process {member}")
        return ours, held

    def _seen_elsewhere(self, before: _Snapshot) -> set[str]:
        """The namespaces of processes that were there before: an orphan of others may have joined one."""
        old = [stat.pid for stat in self.processes.all.values() if stat.key in before.processes.keys]
        return {name for pid in old for name in _namespaces(f"/proc/{pid}")}


def _held(processes: _Processes, table: list[list[str]], fds: Look) -> dict[str, str]:
    """The namespaces held by threads of this process, its descendants, its fds, and mounts it sees."""
    held = {_path(fields[3]): f"the mount {_path(fields[4])}" for fields in table if fields[fields.index("-") + 1] == "nsfs"}
    for text in fds.values():
        number, _, target = text.partition(" -> ")
        if re.fullmatch(r"[a-z]+:\[\d+\]", target) and not target.startswith(("pipe:", "socket:")):
            held[target] = f"fd {number}"
    for stat in processes.below(processes.me).values():
        held |= dict.fromkeys(_namespaces(f"/proc/{stat.pid}"), f"process {stat}")
    for thread in os.listdir("/proc/self/task"):
        held |= dict.fromkeys(_namespaces(f"/proc/self/task/{thread}"), f"thread {thread} of this process")
    return held


class Found:
    """What was left behind, once the `with` block has ended.  True when there is something.

    :ivar not_looked_at: kinds that this machine did not let us see, with the reason
    """

    def __init__(self) -> None:
        self._leaks: tuple[Leak, ...] | None = None
        self.not_looked_at: Mapping[str, str] = {}

    def _all(self) -> tuple[Leak, ...]:
        if self._leaks is None:
            raise ContainerKitError("leaks() has not ended: look after the with block")
        return self._leaks

    def __bool__(self) -> bool:
        return bool(self._all())

    def __iter__(self) -> Iterator[Leak]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __str__(self) -> str:
        lines = [str(leak) for leak in self._all()] or ["nothing was left behind"]
        return "\n".join(lines + [f"(not looked at: {kind}: {why})" for kind, why in self.not_looked_at.items()])

    def check(self) -> None:
        """Do nothing when nothing was left behind.

        :raises LeakError: something was; its text is the list
        """
        if self:
            raise LeakError(f"{len(self)} left behind\n{self}")


class leaks:
    """Compare the kernel's state before and after a block of code.

    Looks at mounts, cgroups, namespaces, network links, nftables tables, processes (zombies too), file descriptors and
    the state directories of containerkit.  What the kernel tears down in the background gets up to two seconds, waited for
    only while something is still there.

    :returns: a `Found`, readable once the block has ended
    :see: proc(5), cgroups(7), namespaces(7)
    """

    def __init__(self, *, grace: float = GRACE) -> None:
        """:param grace: seconds to wait for what is being torn down"""
        self._grace, self._found = grace, Found()

    def __enter__(self) -> Found:
        self._before = _Snapshot.now()
        return self._found

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        deadline, pause = time.monotonic() + self._grace, 0.002
        now = _Snapshot.now()
        while (new := now.since(self._before)) and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
            now = _Snapshot.now()
        self._found._leaks = tuple(new)
        self._found.not_looked_at = self._before.not_looked_at | now.not_looked_at
