"""Removing what belongs to ids that only a user namespace of the caller's reaches: those that /etc/subuid and /etc/subgid give it."""

from __future__ import annotations

import os
import sys

from ..linux.ids import subordinate

TYPE_CHECKING = False
if TYPE_CHECKING:
    StrPath = str | os.PathLike[str]

__all__ = ["remove_with_subids"]

PROGRAM = """
import ctypes, shutil, sys
if ctypes.CDLL(None).unshare(0x10000000):  # CLONE_NEWUSER
    sys.exit(1)
print(flush=True)
sys.stdin.readline()  # the ids are mapped
shutil.rmtree(sys.argv[1])
"""


def remove_with_subids(path: StrPath) -> bool:
    """Remove a tree as root of a new user namespace, in which those ids are mapped.  Return False where that cannot be done.

    :see: newuidmap(1), user_namespaces(7)
    """
    own = {"uid": os.geteuid(), "gid": os.getegid()}
    given = {kind: subordinate(f"/etc/sub{kind}") for kind in own}
    if not own["uid"] or not all(given.values()):
        return False
    from subprocess import PIPE, Popen, run

    with Popen([sys.executable, "-I", "-S", "-c", PROGRAM, path], stdin=PIPE, stdout=PIPE, stderr=-3) as process:
        assert process.stdout
        if process.stdout.readline():
            for kind, number in own.items():
                if run([f"new{kind}map", str(process.pid), *_map(number, given[kind])], stderr=-3, check=False).returncode:
                    process.kill()
        process.communicate(b"\n")
    return process.returncode == 0


def _map(own: int, given: list[tuple[int, int]]) -> list[str]:
    """Return the caller as root, and the ids that it was given as the rest."""
    words, inside = [0, own, 1], 1
    for first, count in given:
        words += [inside, first, count]
        inside += count
    return [str(word) for word in words]
