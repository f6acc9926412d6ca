"""The v2 device filter: an allow list as a small BPF program, attached to a group.

v2 has no devices controller.  The kernel asks a program of the type CGROUP_DEVICE before every open and mknod of a device instead.
This module builds such a program without a compiler: comparisons for each rule, and "yes" when all comparisons of one rule hold; after
the last rule, "no".
:see: bpf(2), https://docs.kernel.org/bpf/libbpf/program_types.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import CgroupError, Unavailable
from ..linux.native import extension, number
from .values import DeviceRule

PROG_LOAD, PROG_ATTACH = 5, 8
CGROUP_DEVICE_TYPE, CGROUP_DEVICE_ATTACH = 15, 6
ALLOW_MULTI, REPLACE = 2, 4
KINDS = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}
EVERY_ACCESS = 7

# Instructions: a code, and the registers it works on.  r1 points to {access << 16 | kind, major, minor}.
LOAD_WORD, MOVE, MOVE_REGISTER, AND, SHIFT_RIGHT, JUMP_UNEQUAL, EXIT = 0x61, 0xB7, 0xBF, 0x57, 0x77, 0x55, 0x95
R0, R1, ASKED, KIND, MAJOR, MINOR, SCRATCH = range(7)


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """Encode one struct bpf_insn."""
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def build(rules: Iterable[DeviceRule]) -> bytes:
    """Build the instructions of an allow list."""
    program = [
        instruction(LOAD_WORD, ASKED, R1, 0),
        instruction(MOVE_REGISTER, KIND, ASKED),
        instruction(AND, KIND, value=0xFFFF),
        instruction(SHIFT_RIGHT, ASKED, value=16),
        instruction(LOAD_WORD, MAJOR, R1, 4),
        instruction(LOAD_WORD, MINOR, R1, 8),
    ]
    for rule in rules:
        tests = _tests(rule)
        program += [*_with_jumps(tests), *_answer(1)]
        if not tests:  # the rule allows everything: the kernel refuses code that cannot be reached
            return b"".join(program)
    return b"".join([*program, *_answer(0)])


def _answer(value: int) -> list[bytes]:
    return [instruction(MOVE, R0, value=value), instruction(EXIT)]


def _tests(rule: DeviceRule) -> list[tuple[list[bytes], int, int]]:
    """Return the comparisons of a rule, each as the instructions before it, a register, and the value that the register must have."""
    tests: list[tuple[list[bytes], int, int]] = []
    if rule.kind != "a":
        tests.append(([], KIND, KINDS[rule.kind]))
    denied = EVERY_ACCESS & ~sum(ACCESS[letter] for letter in set(rule.access))
    if denied:
        tests.append(([instruction(MOVE_REGISTER, SCRATCH, ASKED), instruction(AND, SCRATCH, value=denied)], SCRATCH, 0))
    for register, wanted in ((MAJOR, rule.major), (MINOR, rule.minor)):
        if wanted is not None:
            tests.append(([], register, wanted))
    return tests


def _with_jumps(tests: Sequence[tuple[list[bytes], int, int]]) -> list[bytes]:
    """Let a comparison that fails jump to the next rule: over the comparisons that are left and the two instructions of "yes"."""
    out: list[bytes] = []
    for before, register, value in reversed(tests):
        out = [*before, instruction(JUMP_UNEQUAL, register, offset=len(out) + 2, value=value), *out]
    return out


def attach(path: str, rules: Iterable[DeviceRule], replaces: int | None = None) -> int:
    """Load the program of an allow list and attach it to the group at `path`.  The kernel drops the program with the group.

    :param replaces: the descriptor of the program attached before; `attach` closes it
    :return: the program's descriptor
    :raises Unavailable: this user may not load programs
    """
    program = _load(build(rules))
    group = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = ALLOW_MULTI | (0 if replaces is None else REPLACE)
        result = _bpf(PROG_ATTACH, struct.pack("5I", group, program, CGROUP_DEVICE_ATTACH, flags, replaces or 0))
    finally:
        os.close(group)
    if result < 0:
        os.close(program)
        raise CgroupError(-result, f"cannot attach the device filter: {os.strerror(-result)}", path)
    if replaces is not None:
        os.close(replaces)
    return program


def _load(code: bytes) -> int:
    ffi = extension().ffi
    memory, license, log = ffi.from_buffer(code), ffi.new("char[]", b"Apache-2.0"), ffi.new("char[4096]")
    address = [int(ffi.cast("uintptr_t", pointer)) for pointer in (memory, license, log)]
    attributes = struct.pack("IIQQIIQII16s", CGROUP_DEVICE_TYPE, len(code) // 8, *address[:2], 1, 4096, address[2], 0, 0, b"ck_devices")
    result = _bpf(PROG_LOAD, attributes)
    if result < 0:
        said = ffi.string(log).decode(errors="replace").strip()
        remedy = "CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, on the host"
        raise Unavailable("a device filter on cgroup v2", probed=f"bpf(PROG_LOAD): {os.strerror(-result)} {said}".strip(), remedy=remedy)
    return result


def _bpf(command: int, attributes: bytes) -> int:
    ffi, lib = extension().ffi, extension().lib
    memory: Any = ffi.from_buffer(attributes)
    trace = ffi.new("struct ck_trace *")
    return int(lib.ck_call(trace, number("bpf"), command, int(ffi.cast("uintptr_t", memory)), len(attributes), 0, 0, 0))
