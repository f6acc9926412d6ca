"""Why an exec failed with ENOENT: the program is missing, or the interpreter that it names."""

from __future__ import annotations

import os
import struct

PT_INTERP = 3


def interpreter(data: bytes) -> str:
    """Return the interpreter that a program's first bytes name, after `#!` or in PT_INTERP; "" when they name none.

    :param data: the first 4096 bytes, or fewer
    :see: execve(2), elf(5)
    """
    if data.startswith(b"#!"):
        words = data[2:].split(b"\n")[0].split(b"\0")[0].split()
        return os.fsdecode(words[0]) if words else ""
    return _elf_interpreter(data) if data.startswith(b"\x7fELF\x02\x01") and len(data) >= 64 else ""


def _elf_interpreter(data: bytes) -> str:
    headers, (size, count) = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<HH", data, 54)
    for at in range(headers, headers + size * count, size or 1):
        if at + 56 > len(data):
            break
        kind, offset, length = struct.unpack_from("<I4xQ16xQ", data, at)
        if kind == PT_INTERP:
            return os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
    return ""
