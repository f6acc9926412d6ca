"""Listings of the kernel's objects at one moment, as far as one process can see them.  `leaks` compares them.

A listing maps a key, which stays the same as long as the object exists, to its description.  A process that vanishes while it is
being read is left out.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from ..base.frozen import record
from ..linux import kept
from ..linux.ids import is_machine_root
from ..state import journal

Listing = Mapping[Hashable, str]
Process = tuple[int, int]  # pid and start time: the kernel reuses pids


def read(path: str) -> bytes:
    """Read a whole file of procfs; b"" if it or its process is gone.  Four times as fast as open()."""
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


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that this package uses."""

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


def stat_of(pid: str) -> Stat | None:
    """Return what /proc/PID/stat says about a process; None where it has ended."""
    head, _, tail = read(f"/proc/{pid}/stat").rpartition(b")")
    if not head:
        return None
    fields = tail.split()
    comm = head.partition(b"(")[2].decode(errors="replace")
    return Stat(int(pid), comm, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


@record(slots=False)
class Processes:
    """All processes of /proc at one moment.  `me` is the number of this process in the procfs mounted at /proc."""

    me: int
    all: dict[int, Stat]

    @classmethod
    def now(cls) -> Processes:
        stats = (stat_of(name) for name in os.listdir("/proc") if name.isdecimal())
        return cls(int(os.readlink("/proc/self")), {stat.pid: stat for stat in stats if stat})

    @property
    def keys(self) -> frozenset[Process]:
        return frozenset(stat.key for stat in self.all.values())

    def below(self, *roots: int) -> dict[int, Stat]:
        """Return the descendants of `roots`, without `roots`."""
        children: dict[int, list[Stat]] = {}
        for stat in self.all.values():
            children.setdefault(stat.parent, []).append(stat)
        found, waiting = {}, list(roots)
        while waiting:
            for stat in children.get(waiting.pop(), ()):
                found[stat.pid] = stat
                waiting.append(stat.pid)
        return found

    def ancestors(self) -> list[Stat]:
        """List the processes from the parent of this process up."""
        chain, stat = [], self.all.get(self.me)
        while stat and (stat := self.all.get(stat.parent)):
            chain.append(stat)
        return chain

    def orphans(self, before: frozenset[Process]) -> list[Stat]:
        """List new processes that have a parent to which the kernel gives orphans of this process.

        An orphan that has ended is not listed: only its new parent can collect it, and that parent may be slow.
        """
        adopters = {stat.pid for stat in self.ancestors()} | {1}
        young = [stat for stat in self.all.values() if stat.parent in adopters and stat.key not in before and stat.state != "Z"]
        return [stat for stat in young if stat.pid != self.me and stat not in self.ancestors()]


def namespaces(where: str) -> set[str]:
    """Return the namespaces of one process or thread, as "net:[4026531840]"; none if it is gone or hidden from us."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"{where}/ns"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"{where}/ns/{name}"))
    return found


def mountinfo() -> list[list[str]]:
    """Return the fields of each line of /proc/self/mountinfo."""
    return [line.split(" ") for line in read("/proc/self/mountinfo").decode(errors="surrogateescape").splitlines()]


def unescaped(field: str) -> str:
    """Decode mountinfo's octal numbers for space, tab, newline and backslash."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), field)


def mounts(table: list[list[str]]) -> Listing:
    """List mounts by the fields that do not change: the kernel reuses mount ids."""
    texts = (f"{unescaped(fields[4])} ({' '.join(fields[fields.index('-') + 1 :][:2])}, id {fields[0]})" for fields in table)
    return {tuple(fields[:5]): text for fields, text in zip(table, texts, strict=True)}


def cgroups(table: list[list[str]]) -> Listing:
    """List every directory of every cgroup hierarchy.  A directory with two links is a leaf, and its many files are not listed."""
    points = {fields[2]: unescaped(fields[4]) for fields in table if fields[fields.index("-") + 1] in ("cgroup", "cgroup2")}
    found: dict[Hashable, str] = {}
    waiting = list(points.values())
    while waiting:
        directory = waiting.pop()
        found[directory] = directory
        with contextlib.suppress(OSError):
            if os.stat(directory).st_nlink > 2:
                waiting += [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    return found


def inhabitants(cgroup: str, cgroups: Listing) -> set[int]:
    """Return the processes in a cgroup and below it."""
    tree = [path for path in cgroups.values() if path == cgroup or path.startswith(f"{cgroup}/")]
    return {int(pid) for path in tree for pid in read(f"{path}/cgroup.procs").split()}


def open_fds() -> Listing:
    """List the descriptors of this process, without those that the library keeps until it ends."""
    found: dict[Hashable, str] = {}
    for name in {*os.listdir("/proc/self/fd")} - {str(fd) for fd in kept.descriptors()}:
        with contextlib.suppress(OSError):  # the descriptor that listed the directory is closed by now
            target = os.readlink(f"/proc/self/fd/{name}")
            found[name, target] = f"{name} -> {target}"
    return found


def state_directories() -> Listing:
    """Return the directories that programs of this user keep state in while they run."""
    import glob
    import tempfile

    run = "/run" if is_machine_root() else os.environ.get("XDG_RUNTIME_DIR", "")
    patterns = [os.path.join(glob.escape(tempfile.gettempdir()), "containerkit-*")]
    patterns += [f"{glob.escape(run)}/containerkit/*"] if run else []
    found = [path for pattern in patterns for path in glob.iglob(pattern) if path != journal.directory()]
    return {path: path for path in (*found, *journal.left())}


def nftables_tables() -> Listing:
    """List the nftables tables of this network namespace, by the request that nft(8) sends.

    :raises OSError: not allowed, or no nf_tables in this kernel
    """
    import socket

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
    """Yield type and body of the netlink messages in one datagram.  :see: netlink(7)"""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        yield kind, data[16:length]
        data = data[(length + 3) & ~3 :]
