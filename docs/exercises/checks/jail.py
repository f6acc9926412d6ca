"""A program inside tries forbidden acts."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import containerkit as ck

PROGRAMS = ["sh", "cat", "ls", "head", "wc", "id"]


def check(answer: ModuleType) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        root, data = Path(directory, "root"), Path(directory, "data")
        shutil.copytree(ck.rootfs.from_programs(PROGRAMS), root, symlinks=True)
        (root / "data").mkdir()  # in a read-only root the plan makes no mount targets
        data.mkdir()
        (data / "report").write_text("all is well\n")
        (data / "report").chmod(0o666)  # root inside has another id outside: only the mount must stop it
        yield from _try(answer.jail(root, data), data)


def _try(parts: list[ck.Part], data: Path) -> Iterator[str]:
    def sh(command: str) -> ck.Result:
        return ck.run(["/bin/sh", "-c", command], *parts, env={"PATH": "/usr/bin:/bin"}, timeout=5)

    if sh("id -u").text != "0\n":
        yield "the program is not root inside: ask for a user namespace"
    if sh("cat /data/report").text != "all is well\n":
        yield "the program cannot read /data/report"
    if sh("echo x > /new").exit_code == 0:
        yield "the program could write to its root directory"
    if sh("echo x > /data/report").exit_code == 0 or (data / "report").read_text() != "all is well\n":
        yield "the program could write to /data, and so to the host's directory"
    if sh("echo x > /tmp/x && cat /tmp/x").text != "x\n":
        yield "the program cannot write to /tmp"
    elif sh("cat /lib/*/libc.so.6 > /tmp/x").exit_code == 0:
        yield "the program could write more than a megabyte to /tmp"
    processes = [name for name in sh("ls /proc").text.split() if name.isdigit()]
    if not processes:
        yield "/proc is empty: the program cannot see its own processes"
    if len(processes) > 3:
        yield f"/proc shows {len(processes)} processes: some of them are the host's"
