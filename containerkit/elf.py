"""What a program needs before it can start, read from its ELF file.  Nothing is run to find out.

`ldd` may run the program it looks at, so a root directory made with it would trust every file it copies.
Here the dynamic section is read instead, and each library is looked for where ld.so(8) would look.
"""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from .errors import PlanError, Unavailable

__all__ = ["Elf", "MissingLibrary", "libraries", "read"]

Chain = tuple[tuple[str, ...], ...]

# A C library opens these by name while a program runs, so no file lists them.  They are taken along where the host
# has them: without the first an old glibc knows no user names, without the second pthread_cancel(3) aborts.
_OPENED_LATER = {"libc.so.6": ("libnss_files.so.2", "libgcc_s.so.1")}


class MissingLibrary(PlanError):
    """A library is nowhere that ld.so(8) would look."""


@dataclass(frozen=True)
class Elf:
    """The part of an ELF file that decides what else must be there.

    :ivar path: where the file is, links not followed
    :ivar machine: e_machine, for example "EM_X86_64"
    :ivar bits: 32 or 64
    :ivar interpreter: PT_INTERP, None for a library or a static program
    :ivar needed: the DT_NEEDED names
    :ivar rpath: DT_RPATH directories, empty where DT_RUNPATH makes ld.so ignore them
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
        """True when `other` can be loaded into the same process."""
        return (self.machine, self.bits) == (other.machine, other.bits)


def read(path: str) -> Elf | None:
    """Read one file.

    :param path: the file to read
    :returns: None when it is not an ELF file
    :raises Unavailable: pyelftools is not installed
    :raises PlanError: it starts like an ELF file and is broken
    :raises OSError: it cannot be read
    :see: elf(5)
    """
    status = os.stat(path)
    return _read(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=4096)
def _read(path: str, version: tuple[int, ...]) -> Elf | None:
    """Read one version of one file: programs share most of their libraries."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
        try:
            from elftools.common.exceptions import ELFError
            from elftools.elf.elffile import ELFFile
        except ImportError:
            remedy = "pip install containerkit[rootfs]"
            raise Unavailable("reading ELF files", probed="import elftools", remedy=remedy) from None
        try:
            return _parse(path, ELFFile(file))
        except (ELFError, UnicodeDecodeError, ValueError) as error:
            raise PlanError(f"{path} is a broken ELF file: {error}") from error


def _parse(path: str, file: ELFFile) -> Elf:  # type: ignore[name-defined]  # noqa: F821
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.segments import InterpSegment

    interpreter, found = None, {"DT_NEEDED": [], "DT_RPATH": [], "DT_RUNPATH": []}  # type: ignore[var-annotated]
    for segment in file.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                kind = tag.entry.d_tag
                if kind in found:
                    found[kind].append(getattr(tag, kind[3:].lower()))
    runpath = _directories(found["DT_RUNPATH"], path)
    rpath = () if runpath else _directories(found["DT_RPATH"], path)
    needed = tuple(found["DT_NEEDED"])
    return Elf(path, file.header.e_machine, file.elfclass, interpreter, needed, rpath, runpath)


def _directories(values: list[str], path: str) -> tuple[str, ...]:
    """Spell out the tokens of DT_RPATH.  $LIB is the distribution's choice, so each choice is looked at."""
    origin = os.path.dirname(os.path.realpath(path))
    expanded = []
    for entry in (entry for value in values for entry in value.split(":") if entry):
        entry = entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin).replace("${LIB}", "$LIB")
        multiarch = f"lib/{os.uname().machine}-linux-gnu"
        choices = ("lib64", multiarch, "lib") if "$LIB" in entry else ("",)
        expanded += [entry.replace("$LIB", choice) for choice in choices]
    return tuple(entry for entry in expanded if "$" not in entry)


def _configured(path: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The directories of ld.so.conf, with what it includes.  :see: ldconfig(8)"""
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
    """Where ld.so looks for every program: the configured directories, then those built into it."""
    multiarch = tuple(sorted(glob.glob("/lib/*-linux-*") + glob.glob("/usr/lib/*-linux-*")))
    wide = ("/lib64", "/usr/lib64") if bits == 64 else ("/lib32", "/usr/lib32")
    return (*_configured(conf), *multiarch, *wide, "/lib", "/usr/lib")


def _same_as_interpreter(name: str, interpreter: str | None) -> bool:
    """True for the C library of musl, which is its own interpreter and is listed under a name of its own."""
    base = os.path.basename(interpreter or "")
    return base == name or (base.startswith("ld-musl") and name.startswith("libc."))


def _search(name: str, elf: Elf, chain: Chain) -> Elf | None:
    if "/" in name:
        places = [name]
    else:
        first = elf.runpath or tuple(entry for rpath in chain for entry in rpath)
        places = [os.path.join(place, name) for place in (*first, *_system(elf.bits))]
    for place in places:
        try:
            found = read(place)
        except OSError:
            continue
        if found and found.fits(elf):
            return found
    return None


def libraries(program: Elf, known: dict[tuple[str, str, int], Elf] | None = None) -> dict[str, Elf]:
    """Every library a program loads, in the order ld.so loads them.

    :param program: a program, or a library that a program will dlopen(3)
    :param known: libraries that are in the process already, by name, machine and bits; used last
    :returns: the libraries by the name they were asked for
    :raises MissingLibrary: a library is not found; names it and who needs it
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
