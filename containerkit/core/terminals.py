"""A terminal of the container's own: the child opens it in the container's devpts, and hands our end to us.

So the program finds its terminal under the name that it has (`tty` says /dev/pts/0, and that exists), as its owner, and no
device of the host's is inside.  No other process has been in there when the child opens the terminal, and no link is followed
on the way: so it hands over a pseudo-terminal of the devpts that the plan mounted (CVE-2025-52565).
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Sequence
from errno import EEXIST, ENOENT, ENOSPC

from ..linux import kernel, syscalls
from ..linux.syscalls import AT_FDCWD, MS, OPEN_TREE, RESOLVE, Bytes, Call, Labelled, O, Slot
from . import stream_owners
from .standard_steps import SYNC
from .step import Phase, Step

__all__ = ["has_own_devpts", "steps"]

FD = 60  # the number of our end when it is handed over, which the message can name
FIRST = -20  # inside INSIDE
OWNER = 5  # inside DROP: while changing owners is allowed
MASTER, TERMINAL, DEV, CONSOLE = Slot("ptmx"), Slot("terminal"), Slot("dev"), Slot("console")


def has_own_devpts(settled: Sequence[Step]) -> bool:
    """Whether a plan mounts a devpts at /dev/pts."""
    mounted = any(step.call.name in ("fsopen", "mount") and b"devpts" in step.call.args for step in settled)
    return mounted and any(step.claims == "mount at /dev/pts" for step in settled)


def steps(settled: Sequence[Step], size: tuple[int, int] | None) -> Iterator[Step]:
    """Open the terminal, make it the program's, and hand our end to the caller.

    :param settled: the steps of the plan's parts
    :param size: rows and columns
    """
    hint = {ENOENT: "the plan's devpts is not at /dev/pts", ENOSPC: "a limit on pseudo-terminals is reached: /proc/sys/kernel/pty/max"}
    flag = O.RDWR | O.NOCTTY | O.CLOEXEC
    call = syscalls.openat2(AT_FDCWD, "/dev/pts/ptmx", flag, RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS)
    yield _step(call, "a new pseudo-terminal, of the container's own", save=MASTER, hint=hint)
    yield _step(syscalls.ioctl(MASTER, 0x40045431, Bytes(bytes(4), "{0}"), shown="TIOCSPTLCK"), "its other end may be opened")
    if size:
        data = Bytes(struct.pack("4H", *size, 0, 0), f"{{{size[0]} rows, {size[1]} columns}}")
        yield _step(syscalls.ioctl(MASTER, 0x5414, data, shown="TIOCSWINSZ"), "as large as the caller says")
    peer = syscalls.ioctl(MASTER, 0x5441, Labelled(int(flag), "RDWR|NOCTTY|CLOEXEC"), shown="TIOCGPTPEER")
    yield _step(peer, "the other end, by no path", save=TERMINAL)
    for number, name in enumerate(("input", "output", "errors")):
        yield _step(syscalls.dup3(TERMINAL, number), f"standard {name}")
    yield _step(syscalls.ioctl(0, 0x540E, 0, shown="TIOCSCTTY"), "the pseudo-terminal becomes the session's own")
    yield from _console(settled)
    yield _step(syscalls.close(TERMINAL), "%terminal is done with")
    yield from _hand_over()
    yield from _owner(settled)


def _step(call: Call, why: str, **more: object) -> Step:
    return Step.child(Phase.INSIDE, call, why=why, **{"order": FIRST, **more})


def _console(settled: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps that make /dev/console the same terminal, where /dev is the plan's own."""
    if not any(step.claims == "mount at /dev" for step in settled):
        return
    find = syscalls.openat2(AT_FDCWD, "/dev", O.PATH | O.DIRECTORY | O.CLOEXEC, RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS)
    yield _step(find, "the container's own /dev", save=DEV)
    yield _step(syscalls.mknodat(DEV, "console", stat.S_IFREG | 0o600), "a place for /dev/console", tolerates={EEXIST})
    if kernel.has("open_tree"):
        flag = OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC | OPEN_TREE.AT_EMPTY_PATH
        yield _step(syscalls.open_tree(TERMINAL, "", flag), "the terminal", save=CONSOLE)
        yield _step(syscalls.move_mount(CONSOLE, DEV, "console"), "is the console too")
        yield _step(syscalls.close(CONSOLE), "%console is done with")
    else:
        yield _step(syscalls.mount("/dev/pts/0", "/dev/console", None, MS.BIND), "the terminal is the console too")
    yield _step(syscalls.close(DEV), "%dev is done with")


def _hand_over() -> Iterator[Step]:
    yield _step(syscalls.dup3(MASTER, FD, O.CLOEXEC), "under a number that a message can name")
    yield _step(syscalls.close(MASTER), "%ptmx is done with")
    rights = Bytes(struct.pack("QiiiI", 20, 1, 1, FD, 0), f"SCM_RIGHTS [{FD}]")
    data = Bytes(struct.pack("QQ", 0, 1), "t", ((0, Bytes(b"t", "t")),))
    header = Bytes(struct.pack("QQQQQQQ", 0, 0, 0, 1, 0, 24, 0), f"{{'t', SCM_RIGHTS [{FD}]}}", ((16, data), (32, rights)))
    call = Call("sendmsg", (SYNC, header, Labelled(0x4000, "NOSIGNAL")))
    yield _step(call, "the caller gets its end of the terminal", at_least=1)
    yield _step(syscalls.close(FD), "and only the caller")


def _owner(settled: Sequence[Step]) -> Iterator[Step]:
    """Yield the opener owns the terminal; the program may become another user later."""
    uid = stream_owners.inside([step for step in settled if step.phase is Phase.DROP], "uid")
    if uid is not None:
        call = Call("fchown", (0, uid, Labelled(0xFFFFFFFF, "-1")), "chown(2)")
        yield Step.child(Phase.DROP, call, why="the terminal belongs to the program's user, who may then open /dev/stdout", order=OWNER)
