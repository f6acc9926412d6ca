"""The libraries that a program needs before it can start, read from its ELF file.  No program is run to find them.

`ldd` may run the program it is asked about, so a root directory made with it would trust every file it copies.
This module reads the dynamic section instead, and searches for each library in the directories of ld.so(8).
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..base.frozen import frozen
from ..errors import PlanError

__all__ = ["Elf", "MissingLibrary", "libraries", "read"]

Chain = tuple[tuple[str, ...], ...]

# A C library opens these by name while a program runs, so no file lists them.  A root gets them if the host has them:
# without the first an old glibc knows no user names, without the second pthread_cancel(3) aborts.
_OPENED_LATER = {"libc.so.6": ("libnss_files.so.2", "libgcc_s.so.1")}


IDENT = 16  # bytes of e_ident
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 15, 29
MACHINES = {
    3: "EM_386", 8: "EM_MIPS", 20: "EM_PPC", 21: "EM_PPC64", 22: "EM_S390", 40: "EM_ARM", 62: "EM_X86_64", 183: "EM_AARCH64",
    243: "EM_RISCV", 258: "EM_LOONGARCH",
}  # fmt: skip
# The most that is read of a file, which a stranger may have written.
LONGEST_PATH, MOST_TAGS, MOST_STRINGS, LONGEST = 4096, 1 << 16, 1 << 26, 1 << 62


class Segment(NamedTuple):
    """A program header: the part of the file that is loaded at an address."""

    kind: int
    offset: int
    address: int
    size: int


class MissingLibrary(PlanError):
    """A library is in no directory that ld.so(8) would search."""


@frozen(slots=False)
class Elf:
    """The part of an ELF file that names other files.

    :ivar path: the file's path, links not followed
    :ivar machine: e_machine, for example "EM_X86_64"
    :ivar bits: 32 or 64
    :ivar interpreter: PT_INTERP, None for a library or a static program
    :ivar needed: the DT_NEEDED names
    :ivar rpath: DT_RPATH directories, empty if DT_RUNPATH makes ld.so ignore them
    :ivar runpath: DT_RUNPATH directories
    """

    path: str
    machine: str
    bits: int
    interpreter: str | None = None
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()

    def fits(self, other: Elf) -> bool:
        """Whether `other` can be loaded into the same process."""
        return (self.machine, self.bits) == (other.machine, other.bits)


def read(path: str) -> Elf | None:
    """Read one file.

    :param path: the file to read
    :returns: None for a file that is not ELF
    :raises PlanError: the file begins like an ELF file and is malformed
    :raises OSError: the file cannot be read
    :see: elf(5)
    """
    status = os.stat(path)
    return _read(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=4096)
def _read(path: str, version: tuple[int, ...]) -> Elf | None:
    """Read one version of one file, and remember the result: programs share most of their libraries."""
    with open(path, "rb") as file:
        ident = file.read(IDENT)
        if not ident.startswith(b"\x7fELF"):
            return None
        try:
            return _parse(path, _File(file, ident))
        except (ValueError, struct.error) as error:
            raise PlanError(f"{path} is a broken ELF file: {error}") from error


class _File:
    """The bytes of an ELF file: its header, its segments, its strings."""

    def __init__(self, file: BinaryIO, ident: bytes) -> None:
        if len(ident) < IDENT or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise ValueError("it has neither 32 nor 64 bits, or no known byte order")
        self._file, self._order, self.bits = file, "<>"[ident[5] - 1], 32 * ident[4]
        wide = self.bits == 64
        header = self._unpack("HHIQQQIHHH" if wide else "HHIIIIIHHH", IDENT)
        self.machine, at, size, count = header[1], header[4], header[8], header[9]
        self.segments = [self._segment(at + index * size, wide) for index in range(count)]

    def _segment(self, at: int, wide: bool) -> Segment:
        if wide:
            kind, _, offset, address, _, size = self._unpack("IIQQQQ", at)
        else:
            kind, offset, address, _, size = self._unpack("IIIII", at)
        return Segment(kind, offset, address, size)

    def bytes(self, offset: int, size: int, most: int) -> bytes:
        """Read `size` bytes.  :raises ValueError: more than `most`, or beyond the end of the file"""
        if size > most or offset > LONGEST:
            raise ValueError(f"{size} bytes at {offset} where at most {most} are expected")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError(f"it ends before byte {offset + size}")
        return data

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        layout = struct.Struct(self._order + form)
        return layout.unpack(self.bytes(offset, layout.size, layout.size))

    def tags(self, dynamic: Segment) -> Iterator[tuple[int, int]]:
        """Yield the tags of the dynamic section with their values, up to DT_NULL."""
        entry = struct.Struct(self._order + ("qQ" if self.bits == 64 else "iI"))
        data = self.bytes(dynamic.offset, dynamic.size - dynamic.size % entry.size, MOST_TAGS * entry.size)
        for tag, value in entry.iter_unpack(data):
            if tag == DT_NULL:
                return
            yield tag, value

    def offset_of(self, address: int) -> int:
        """Return the offset in the file of the bytes at an address.  :raises ValueError: no segment holds the address"""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        raise ValueError(f"no segment holds address {address:#x}")


def _parse(path: str, file: _File) -> Elf:
    interpreter = next((_text(file.bytes(s.offset, s.size, LONGEST_PATH)) for s in file.segments if s.kind == PT_INTERP), None)
    tags = [tag for segment in file.segments if segment.kind == PT_DYNAMIC for tag in file.tags(segment)]
    strings = _strings(file, dict(tags)) if any(tag in (DT_NEEDED, DT_RPATH, DT_RUNPATH) for tag, _ in tags) else b""
    found = {kind: [_string(strings, value) for tag, value in tags if tag == kind] for kind in (DT_NEEDED, DT_RPATH, DT_RUNPATH)}
    runpath = _directories(found[DT_RUNPATH], path)
    rpath = () if runpath else _directories(found[DT_RPATH], path)
    machine = MACHINES.get(file.machine, f"EM_{file.machine}")
    return Elf(path, machine, file.bits, interpreter, tuple(found[DT_NEEDED]), rpath, runpath)


def _strings(file: _File, tags: dict[int, int]) -> bytes:
    """Return the table of strings that holds the names."""
    if DT_STRTAB not in tags or DT_STRSZ not in tags:
        raise ValueError("there are names but no table of strings")
    return file.bytes(file.offset_of(tags[DT_STRTAB]), tags[DT_STRSZ], MOST_STRINGS)


def _string(table: bytes, at: int) -> str:
    if at >= len(table):
        raise ValueError(f"a name at byte {at} of a table of {len(table)}")
    return _text(table[at : at + LONGEST_PATH])


def _text(data: bytes) -> str:
    return os.fsdecode(data.partition(b"\0")[0])


def _directories(values: list[str], path: str) -> tuple[str, ...]:
    """Expand the tokens of DT_RPATH.  $LIB is the distribution's choice, so every choice is searched."""
    origin = os.path.dirname(os.path.realpath(path))
    expanded = []
    for entry in (entry for value in values for entry in value.split(":") if entry):
        entry = entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin).replace("${LIB}", "$LIB")
        multiarch = f"lib/{os.uname().machine}-linux-gnu"
        choices = ("lib64", multiarch, "lib") if "$LIB" in entry else ("",)
        expanded += [entry.replace("$LIB", choice) for choice in choices]
    return tuple(entry for entry in expanded if "$" not in entry)


def _configured(path: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the directories of ld.so.conf, and of the files it includes.  :see: ldconfig(8)"""
    import glob

    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in (line.partition("#")[0].strip() for line in lines):
        if line.startswith("include"):
            for pattern in line.split()[1:]:
                for name in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern))):
                    if name not in seen:
                        yield from _configured(name, seen | {path, name})
        elif line and not line.startswith("hwcap"):
            yield line.partition("=")[0].strip()


@cache
def _system(bits: int, conf: str = "/etc/ld.so.conf") -> tuple[str, ...]:
    """Return the directories that ld.so searches for every program: the configured ones, then the built-in ones."""
    import glob

    multiarch = tuple(sorted(glob.glob("/lib/*-linux-*") + glob.glob("/usr/lib/*-linux-*")))
    wide = ("/lib64", "/usr/lib64") if bits == 64 else ("/lib32", "/usr/lib32")
    return (*_configured(conf), *multiarch, *wide, "/lib", "/usr/lib")


def _same_as_interpreter(name: str, interpreter: str | None) -> bool:
    """Whether a name is musl's C library, which is its own interpreter and is listed under a second name."""
    base = os.path.basename(interpreter or "")
    return base == name or (base.startswith("ld-musl") and name.startswith("libc."))


def _search(name: str, elf: Elf, chain: Chain) -> Elf | None:
    if "/" in name:
        candidates = [name]
    else:
        first = elf.runpath or tuple(entry for rpath in chain for entry in rpath)
        candidates = [os.path.join(directory, name) for directory in (*first, *_system(elf.bits))]
    for candidate in candidates:
        try:
            found = read(candidate)
        except OSError:
            continue
        if found and found.fits(elf):
            return found
    return None


def libraries(program: Elf, known: dict[tuple[str, str, int], Elf] | None = None) -> dict[str, Elf]:
    """Find every library that a program loads, in the order in which ld.so loads them.

    :param program: a program, or a library that a program will dlopen(3)
    :param known: libraries that are in the process already, by name, machine and bits; used last
    :returns: each library by its name in DT_NEEDED
    :raises MissingLibrary: a library is not found; the text names it and the file that needs it
    :see: ld.so(8)
    """
    loaded: dict[str, Elf] = {}
    waiting: deque[tuple[Elf, Chain]] = deque([(program, (program.rpath,))])
    while waiting:
        elf, chain = waiting.popleft()
        later = [name for known_as in elf.needed for name in _OPENED_LATER.get(known_as, ())]
        for name in (*elf.needed, *later):
            if name in loaded or _same_as_interpreter(name, program.interpreter):
                continue
            found = _search(name, elf, chain) or (known or {}).get((name, elf.machine, elf.bits))
            if found:
                loaded[name] = found
                waiting.append((found, (found.rpath, *chain)))
            elif name not in later:
                raise MissingLibrary(f"library {name} is not on this host; {elf.path} needs it")
    return loaded
