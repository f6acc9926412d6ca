"""Which interpreter a program names."""

from __future__ import annotations

import struct

import pytest

from containerkit.core.exec_failure import interpreter


@pytest.mark.parametrize(("data", "found"), [
    (b"#!/bin/sh\n", "/bin/sh"), (b"#! /bin/sh -e\nmore", "/bin/sh"), (b"#!/usr/bin/env python3", "/usr/bin/env"),
    (b"#!\n/bin/sh", ""), (b"#!", ""), (b"", ""), (b"text", ""), (b"\x7fELF", ""), (b"\x7fELF\x02\x01" + bytes(58), ""),
])  # fmt: skip
def test_scripts_and_what_is_none(data: bytes, found: str) -> None:
    assert interpreter(data) == found


def elf(kind: int, path: bytes, offset: int = 120) -> bytes:
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, 1)
    return bytes(head) + struct.pack("<I4xQ16xQ16x", kind, offset, len(path)) + path


def test_a_binary() -> None:
    assert interpreter(elf(3, b"/lib/ld.so\0")) == "/lib/ld.so"
    assert interpreter(elf(1, b"/lib/ld.so\0")) == ""
    assert interpreter(elf(3, b"/lib/ld.so\0", offset=9999)) == ""
    assert interpreter(elf(3, b"")[:100]) == ""


def test_headers_of_no_size_end() -> None:
    data = bytearray(elf(1, b"x"))
    struct.pack_into("<HH", data, 54, 0, 65535)
    assert interpreter(bytes(data)) == ""
