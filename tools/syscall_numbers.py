"""Write the table of system call numbers that spawn.c includes: lines `{"name", NUMBER},` sorted by name.

    python tools/syscall_numbers.py build/ck_numbers.h

The numbers come from the headers of the compiler in $CC, so a cross compiler gives those of its target.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

# From 424 on every architecture uses the same numbers, so those that older headers lack can be added.
# Source: the tables of the Linux kernel, include/uapi/asm-generic/unistd.h and arch/x86/entry/syscalls/syscall_64.tbl.
UNIFIED_FROM = 424
UNIFIED = """
pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount fspick
pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd
landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv
set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
open_tree_attr file_getattr file_setattr
""".split()

# Macros of the same form that name no system call.
NOT_CALLS = {"syscalls", "arch_specific_syscall"}


def macros(compiler: list[str]) -> dict[str, str]:
    """Return every macro that <sys/syscall.h> defines.  :raises CalledProcessError: `compiler` or its headers are missing"""
    command = [*compiler, "-dM", "-E", "-x", "c", "-"]
    text = subprocess.run(command, input="#include <sys/syscall.h>\n", capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^#define (\w+) (\S+)$", text, re.MULTILINE))


def resolve(defined: dict[str, str], value: str) -> int:
    """Follow `value` to a number: some headers name one macro by another."""
    seen = set()
    while value in defined and value not in seen:
        seen.add(value)
        value = defined[value]
    return int(value, 0)


def numbers(compiler: list[str]) -> dict[str, int]:
    """Return the number of each system call by name: those of the headers, and newer ones that the headers lack."""
    defined = macros(compiler)
    calls = {name[5:]: resolve(defined, value) for name, value in defined.items() if name.startswith("__NR_")}
    table = dict(zip(UNIFIED, range(UNIFIED_FROM, UNIFIED_FROM + len(UNIFIED)), strict=True)) | calls
    return {name: table[name] for name in sorted(table.keys() - NOT_CALLS)}


def write(target: Path) -> None:
    """Write the table to `target` atomically.  Do not touch a file that has the right content."""
    table = numbers(shlex.split(os.environ.get("CC") or "cc"))
    text = "".join(f'{{"{name}", {number}}},\n' for name, number in table.items())
    if target.exists() and target.read_text() == text:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(f".{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(target)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
