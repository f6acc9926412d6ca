"""Keep this process traceable while a child that shares its memory changes its ids.

A change of ids makes the memory of the process that changes them non-dumpable: no process without privilege may trace it, or read
its /proc/PID/mem.  That is right for the child, whose new user may have other processes.  But the memory is the caller's as well,
and is the caller's alone again when the child has left it.
:see: PR_SET_DUMPABLE(2const), ptrace(2)
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from .native import extension, number

__all__ = ["changing_ids"]

GET, SET = 3, 4
_lock = threading.Lock()
_children, _before = 0, 1


@contextlib.contextmanager
def changing_ids() -> Iterator[None]:
    """Let children change their ids in this memory during the block.  After the last of them it is dumpable as it was before."""
    global _children, _before  # the memory is the process's, so there is one of these
    with _lock:
        if not _children:
            _before = _prctl(GET, 0)
        _children += 1
    try:
        yield
    finally:
        with _lock:
            _children -= 1
            if not _children:
                _prctl(SET, _before)  # 2, which only the kernel sets, is refused, and is what the kernel has set again


def _after_fork() -> None:
    """Begin anew in a forked child: the other threads' spawns are not in it, and its memory is a copy, as dumpable as ours was then."""
    global _children, _lock
    under_way, _children, _lock = _children, 0, threading.Lock()
    if under_way:
        _prctl(SET, _before)


os.register_at_fork(after_in_child=_after_fork)


def _prctl(option: int, value: int) -> int:
    trace = extension().ffi.new("struct ck_trace *")
    return int(extension().lib.ck_call(trace, number("prctl"), option, value, 0, 0, 0, 0))
