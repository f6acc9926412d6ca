"""A container that has some namespaces of its own and shares the others with us."""

import os
from collections.abc import Iterator
from types import ModuleType

import containerkit as ck
from containerkit import ns
from containerkit.linux import kept
from containerkit.parts.namespace import KINDS

MEANING = {
    "user": "ids and capabilities",
    "mnt": "the tree of files",
    "pid": "the other processes",
    "uts": "the machine's name",
    "ipc": "shared memory and queues",
    "net": "devices and addresses",
}


def names(pid: int | str) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}


def descriptors() -> int:
    """The number of this process's descriptors, without those that the library itself keeps."""
    return len({*os.listdir("/proc/self/fd")} - {str(fd) for fd in kept.descriptors()})


def check(answer: ModuleType) -> Iterator[str]:
    ck.run(["/bin/true"])
    open_files = descriptors()
    for parts in (
        [ns.User(), ns.Mount(), ns.Pid(), ns.Uts("kubia"), ns.Ipc()],
        [ns.User(), ns.Net()],
    ):
        with ck.plan(*parts, run=["sleep", "60"]).spawn() as container:
            yield from _compare(answer, container.pid)
    if descriptors() > open_files:
        yield "namespaces stay open after your function returned: use them in a `with`, or close() them"


def _compare(answer: ModuleType, pid: int) -> Iterator[str]:
    wanted = names(pid)
    result = answer.enter(
        pid,
        [
            "/bin/sh",
            "-c",
            f"for kind in {' '.join(KINDS)}; do readlink /proc/self/ns/$kind; done",
        ],
    )
    if not isinstance(result, ck.Result):
        yield f"enter() returned {result!r}: return the result of ck.run()"
        return
    found = dict(zip(KINDS, result.text.split(), strict=False))
    for kind in KINDS:
        if found.get(kind) != wanted[kind]:
            yield f"the program is not in the container's {kind} namespace" + (f" ({MEANING[kind]})" if kind in MEANING else "")
