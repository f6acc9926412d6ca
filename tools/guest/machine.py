"""Boot a guest and run a command in it."""

from __future__ import annotations

import io
import os
import shlex
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .archive import initramfs
from .package import Missing, fetch, tool

#: The variables that the command gets from the caller's environment.
KEPT = ("PATH", "LANG", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE")
VIRTIOFSD = ("virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
QUIET = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on"

#: Run in a mount namespace of its own: make every mount read-only, or unmount it, then start the file server on the rest.
LEND = """
findmnt -rno TARGET | while read -r place; do
    place=$(printf %b "$place")
    mount -o remount,bind,ro "$place" || umount -l "$place" || exit 1
done && exec "$@"
"""


class TimedOut(Exception):
    """The guest was turned off because its time was over."""


class Died(Exception):
    """The guest ended without an exit code."""


class Machine:
    """A guest, running as long as the `with` lasts, or until its command ends.  It cannot write to this machine.

    :param argv: the command, run as root in the caller's working directory
    :param kernel: a key of KERNELS
    :param seconds: the guest is turned off after so many seconds
    :param memory, disk: MiB of memory, and of the empty disk /dev/vda
    :param env: more variables for the command's environment
    :ivar output: the command's output; read it to its end, or the guest waits
    :raises Missing: QEMU, virtiofsd, busybox, apt or the kernel's package is not available

    Lines that one writer writes to /run/guest/notes in the guest are yielded by `notes()`.
    """

    output: io.BufferedReader

    def __init__(
        self, argv: Sequence[str], *, kernel: str, seconds: float, memory: int = 2048, disk: int = 64, env: Mapping[str, str] | None = None
    ) -> None:
        self.argv, self.series, self.seconds, self.memory, self.disk, self.env = argv, kernel, seconds, memory, disk, env or {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._code: int | None = None
        self._late = False

    def __enter__(self) -> Machine:
        if os.geteuid() != 0:
            raise Missing("needs root: virtiofsd lends the guest the whole root file system")
        self._console = tempfile.TemporaryFile()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        self._timer = threading.Timer(self.seconds, self._give_up)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._timer.cancel()
        self.stop()
        for file in (self.output, self._notes, self._console):
            file.close()

    def _start(self) -> None:
        kernel = fetch(self.series)
        archive, disk = _memory("initramfs", initramfs(kernel, self._command())), _memory("disk", b"")
        os.truncate(disk, self.disk << 20)
        (output, output_end), (notes, notes_end) = os.pipe(), os.pipe()
        self.output, self._notes = os.fdopen(output, "rb"), os.fdopen(notes, "rb")
        files = self._serve()
        theirs = [archive, disk, output_end, notes_end, files]
        try:
            self._spawn(self._qemu(kernel.image, *theirs), theirs)
        finally:
            for fd in theirs:
                os.close(fd)

    def _command(self) -> str:
        """Return the shell script that the guest runs."""
        env = {name: os.environ[name] for name in KEPT if name in os.environ} | {"HOME": "/root", "TMPDIR": "/run/tmp", **self.env}
        exports = (f"export {name}={shlex.quote(value)}" for name, value in env.items())
        return "\n".join([*exports, f"cd {shlex.quote(os.getcwd())} || exit 126", f"exec {shlex.join(self.argv)}", ""])

    def _serve(self) -> int:
        """Start virtiofsd on read-only mounts.  Return a socket connected to it."""
        lend = [tool("unshare"), "--mount", "--propagation", "private", "sh", "-c", LEND, "sh"]
        daemon = [tool(*VIRTIOFSD), *"-f -o source=/ -o cache=always -o xattr -o sandbox=chroot --rlimit-nofile=0".split()]
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("")  # an address without a file, chosen by the kernel
            listening.listen(1)
            self._spawn([*lend, *daemon, f"--fd={listening.fileno()}"], [listening.fileno()])
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(listening.getsockname())
                return client.detach()

    def _qemu(self, image: Path, archive: int, disk: int, output: int, notes: int, files: int) -> list[str]:
        """Return the command line of one machine: two processors, a disk, two output ports, and the file server."""
        console = self._console.fileno()
        return [
            # One thread for both processors: with two, one may still run code that the other has just patched, and the kernel dies.
            *(
                tool("qemu-system-x86_64"),
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "Nehalem",
                "-smp",
                "2",
                "-m",
                str(self.memory),
            ),
            *("-object", f"memory-backend-memfd,id=memory,size={self.memory}M,share=on", "-numa", "node,memdev=memory"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:/dev/fd/{console}"),
            *("-kernel", str(image), "-initrd", f"/dev/fd/{archive}", "-append", QUIET),
            *("-drive", f"file=/dev/fd/{disk},if=virtio,format=raw,cache=unsafe,file.locking=off"),
            *("-device", "virtio-serial-pci", *_port("output", output), *_port("notes", notes)),
            *("-chardev", f"socket,id=files,fd={files}", "-device", "vhost-user-fs-pci,chardev=files,tag=root"),
        ]

    def _spawn(self, argv: Sequence[str], fds: Sequence[int]) -> None:
        """Start a process that ends with this one, even if this one is killed."""
        console = self._console.fileno()
        guarded = [tool("setpriv"), "--pdeathsig", "KILL", *argv]
        made = subprocess.Popen(guarded, stdin=subprocess.DEVNULL, stdout=console, stderr=console, pass_fds=[*fds, console])
        self._processes.append(made)

    def notes(self) -> Iterator[str]:
        """Yield lines that the command writes to /run/guest/notes, as they arrive; end with the guest."""
        for line in self._notes:
            word, _, code = line.decode().partition(" ")
            if word == "exit":
                self._code = int(code)
            else:
                yield line.decode()

    def wait(self) -> int:
        """Return the command's exit code, once the guest is off.  :raises TimedOut, Died: there is none"""
        for _ in self.notes():
            pass
        if self._code is not None:
            return self._code
        if self._late:
            raise TimedOut(f"Linux {self.series} was turned off after {self.seconds:g} s")
        raise Died(f"Linux {self.series} ended without an exit code:\n{self.console()}")

    def console(self) -> str:
        """Return the end of the output of the kernel, QEMU and virtiofsd."""
        size = self._console.seek(0, os.SEEK_END)
        self._console.seek(max(0, size - 4000))
        return self._console.read().decode(errors="replace").replace("\r", "").strip()

    def _give_up(self) -> None:
        self._late = True
        self.stop()

    def stop(self) -> None:
        """Turn the guest off at once."""
        for process in self._processes:
            process.kill()
            process.wait()


def _memory(name: str, data: bytes) -> int:
    """Return a file without a path."""
    fd = os.memfd_create(name)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def _port(name: str, fd: int) -> list[str]:
    """Return the options for a device in the guest whose writes arrive at `fd`."""
    return ["-chardev", f"file,id={name},path=/dev/fd/{fd},append=on", "-device", f"virtserialport,chardev={name},name={name}"]
