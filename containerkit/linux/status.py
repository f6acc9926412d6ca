"""The kernel's account of a process, read from a directory that is proven to be its own in a procfs.

with ProcDirectory(pid) as there:
    there.status().capabilities["Eff"]
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType

from ..base.frozen import frozen
from ..errors import Unavailable
from . import procfs

__all__ = ["ProcDirectory", "Status"]

SETS = ("Inh", "Prm", "Eff", "Bnd", "Amb")
DELETED = " (deleted)"
Range = tuple[int, int, int]


@frozen
class Status:
    """A part of /proc/PID/status.

    :ivar uid, gid, groups: the real ids, as the caller has them
    :ivar capabilities: "Inh", "Prm", "Eff", "Bnd" and "Amb": bit n for capability n
    :ivar filtered: whether there is a seccomp filter
    :ivar pid_inside: the process's id in its own pid namespace
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: dict[str, int]
    no_new_privileges: bool
    filtered: bool
    pid_inside: int


class ProcDirectory:
    """/proc/PID of one process, held open: nothing read from it is another's, also when the process ends and its number is used again.

    :param pid: 0 for this thread
    :raises ProcessLookupError: there is no such process
    :raises Unavailable: /proc is another filesystem, or the procfs of another pid namespace
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        with procfs.proven(of_this_pid_namespace=True) as proc:
            name = str(pid) if pid else f"{os.getpid()}/task/{_thread()}"
            try:
                self._fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=proc)
            except FileNotFoundError:
                raise ProcessLookupError(3, f"no process {pid}") from None
            self._device = os.fstat(proc).st_dev

    def open(self, name: str, flag: int = os.O_RDONLY) -> int:
        """Return a descriptor of what a file, or a link of the kernel's, in it leads to."""
        return os.open(name, flag | os.O_CLOEXEC, dir_fd=self._fd)

    def read(self, name: str) -> str:
        """Return the text of one file.  :raises ProcessLookupError: the process has ended;  :raises Unavailable: a mount covers the file"""
        try:
            with open(self.open(name, os.O_RDONLY | os.O_NOFOLLOW)) as file:
                if os.fstat(file.fileno()).st_dev != self._device:
                    raise Unavailable(f"/proc/{self.pid}/{name}", probed="something else is mounted there")
                return file.read()
        except FileNotFoundError:
            if not os.access("status", os.F_OK, dir_fd=self._fd):
                raise ProcessLookupError(3, f"no process {self.pid}") from None
            raise

    def status(self) -> Status:
        """Return the ids and capabilities of the process."""
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in self.read("status").splitlines())}
        return Status(
            int(fields["Uid"][0]), int(fields["Gid"][0]), tuple(map(int, fields["Groups"])),
            {name: int(fields[f"Cap{name}"][0], 16) for name in SETS}, fields["NoNewPrivs"] == ["1"],
            fields.get("Seccomp", ["0"]) != ["0"], int(fields["NSpid"][-1]),
        )  # fmt: skip

    def ids(self, kind: str) -> tuple[Range, ...]:
        """Return the ids of its user namespace, "uid" or "gid": (inside, as the caller has it, count)."""
        lines = self.read(f"{kind}_map").splitlines()
        return tuple((first, out, count) for first, out, count in (map(int, line.split()) for line in lines))

    def may_set_groups(self) -> bool:
        """Whether the process's user namespace lets its members change supplementary groups."""
        return self.read("setgroups").strip() == "allow"

    def cgroups(self) -> dict[str, str]:
        """Return the process's cgroup in each hierarchy: controllers, "" for v2 -> path."""
        lines = (line.split(":", 2) for line in self.read("cgroup").splitlines())
        return {controllers: path for _, controllers, path in lines}

    def namespace(self, kind: str) -> int:
        """Return a descriptor of the namespace that it is in; -1 where the kernel has no such kind."""
        try:
            return self.open(f"ns/{kind}")
        except FileNotFoundError:
            self.read("status")  # raises where it is the process that is not there
            return -1

    def label(self) -> str:
        """Return the label that a security module gives the process; "" where there is none."""
        with contextlib.suppress(OSError):
            return self.read("attr/current").strip("\0\n")
        return ""

    def same(self, name: str, other: ProcDirectory) -> bool:
        """Whether "root" or "cwd" of two processes is one directory."""
        return os.path.samestat(os.stat(name, dir_fd=self._fd), os.stat(name, dir_fd=other._fd))

    def working_directory(self) -> str:
        """Return the working directory as a path in the process's root; the root where the directory was removed, or lies outside."""
        root, path = (os.readlink(name, dir_fd=self._fd) for name in ("root", "cwd"))
        below = path.removeprefix(root.rstrip("/"))
        return below if path.startswith(root) and below.startswith("/") and not path.endswith(DELETED) else "/"

    def __enter__(self) -> ProcDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        os.close(self._fd)


def _thread() -> int:
    from threading import get_native_id

    return get_native_id()
