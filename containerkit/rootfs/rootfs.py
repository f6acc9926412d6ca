"""Root directories made from the programs of this host, with no download.

    root = from_programs(["sh", "ls", "hostname"])      # the programs, and the libraries they load
    root = busybox()                                    # one static program under 300 names

A file is copied to the same path below the root.  Each symbolic link on the way is made again as a link, so that /bin/sh or
/lib64/ld-linux-x86-64.so.2 means the same in the root as on the host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache

from ..base import checks
from ..errors import PlanError
from . import elf
from .tree import EMPTY, StrPath, Tree, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["busybox", "from_programs"]

_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PYTHON = re.compile(r"python[23]?(\.\d+)?$")
_NOT_STDLIB = frozenset({"test", "tests", "idlelib", "turtledemo", "ensurepip", "site-packages", "dist-packages"})


def _find(name: str) -> str:
    """Look a program up as execvp(3) would.  A Python must be the interpreter itself, not a script that starts one."""
    if "/" in name:
        if not os.path.isabs(name):
            raise PlanError(f"program {name!r} is neither a name nor an absolute path")
        hits = [name] if os.path.isfile(name) else []
    else:
        candidates = [os.path.join(directory or ".", name) for directory in os.environ.get("PATH", os.defpath).split(":")]
        hits = [path for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)]
    if _PYTHON.match(os.path.basename(name)):
        hits = [hit for hit in hits if _head(hit).startswith(b"\x7fELF")] or hits
    if not hits:
        raise PlanError(f"program {name!r} is not on this host" + ("" if "/" in name else " (looked in PATH)"))
    return os.path.abspath(hits[0])


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(256)
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from error


def _script_needs(path: str) -> list[str]:
    """Return the interpreter of a `#!` script; for env(1) also the program that env will look up."""
    head = _head(path)
    words = head[2:].split(b"\n")[0].decode(errors="replace").split() if head.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return words[:1] + named[:1]
    return words[:1]


class _Gathering:
    """Collects programs and the files they need in a tree."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.known: dict[tuple[str, str, int], elf.Elf] = {}
        self.seen: set[str] = set()
        for path in _TOP:
            if os.path.islink(path):
                self.tree.add(path)
        self.tree.add_empty()

    def program(self, name: str) -> None:
        path = _find(name)
        real = self.tree.add(path)
        if "/" not in name and os.path.dirname(path) not in _SEARCHED:
            # A container's PATH has the usual directories only: link the program's name in one of them.
            self.tree.links.setdefault(f"/usr/local/bin/{name}", path)
        if path not in self.seen:
            self.seen.add(path)
            self.contents(path)
            for needed in _script_needs(path):
                self.program(needed)
            if _PYTHON.match(os.path.basename(real)):
                self.stdlib(real)

    def contents(self, path: str) -> None:
        """Add the files that an ELF file loads.  Any other file needs none."""
        try:
            found = elf.read(path)
        except OSError as error:
            raise PlanError(f"{path} cannot be read: {error.strerror}") from error
        if not found:
            return
        if found.interpreter and not os.path.isfile(self.tree.add(found.interpreter)):
            raise PlanError(f"the interpreter {found.interpreter} is not on this host; {path} needs it")
        for name, library in elf.libraries(found, self.known).items():
            self.known[name, library.machine, library.bits] = library
            if os.path.dirname(self.tree.add(library.path)) not in _built_in():
                # ld.so finds a library of ld.so.conf only through its cache, whose entries for absent files do no harm.
                self.tree.add("/etc/ld.so.cache")

    def extra(self, path: str, skip: frozenset[str] = frozenset()) -> None:
        if not os.path.exists(path):
            raise PlanError(f"extra file {path} is not on this host")
        for file in self.tree.add_tree(path, skip):
            if not os.path.isfile(file):
                raise PlanError(f"extra file {file} is neither a file, a directory nor a link")
            if file not in self.seen and (".so" in os.path.basename(file) or os.access(file, os.X_OK)):
                self.seen.add(file)
                self.contents(file)

    def stdlib(self, python: str) -> None:
        """Add the standard library of a Python, from the directory where it searches: PREFIX/lib/pythonX.Y beside PREFIX/bin."""
        prefix = os.path.dirname(os.path.dirname(python))
        names = [os.path.basename(python)] if "." in os.path.basename(python) else os.listdir(f"{prefix}/lib")
        for name in names:
            if os.path.isfile(f"{prefix}/lib/{name}/os.py"):
                self.extra(f"{prefix}/lib/{name}", _NOT_STDLIB)


@cache
def _built_in() -> frozenset[str]:
    """Return the directories that ld.so searches without its cache."""
    multiarch = f"{os.uname().machine}-linux-gnu"
    names = (f"lib/{multiarch}", "lib64", "lib")
    return frozenset(os.path.realpath(f"{prefix}/{name}") for prefix in ("", "/usr") for name in names)


def from_programs(programs: Iterable[StrPath], dest: StrPath | None = None, *, extra_files: Iterable[StrPath] = ()) -> Path:
    """Make a root directory from programs of this host.

    Each program comes with the interpreter of a `#!` script, the ELF interpreter, every library it loads, and for Python its
    standard library.

    :param programs: names to look up in PATH, or absolute paths
    :param dest: an empty or new directory; None for a shared one in the cache, which must not be written to: use it as a lower layer.
        The cache is /var/cache/containerkit/rootfs for root, $XDG_CACHE_HOME/containerkit/rootfs for other users
    :param extra_files: absolute paths to add, directories with every file below them, ELF files with their libraries
    :returns: the root directory, absolute
    :raises PlanError: a program, its interpreter or a library is not on this host; nothing was written
    :raises FileExistsError: `dest` is not empty
    :see: ld.so(8), execve(2), hier(7)
    """
    names, extra = checks.words(programs, "programs", "names"), checks.words(extra_files, "extra_files", "paths")
    gathering = _Gathering()
    for name in names:
        gathering.program(os.fspath(name))
    for path in map(os.fspath, extra):
        if not os.path.isabs(path):
            raise PlanError(f"extra file {path!r} is not an absolute path")
        gathering.extra(path)
    return make(gathering.tree, dest)


def busybox(path: StrPath | None = None, dest: StrPath | None = None) -> Path:
    """Make a root directory from a static busybox: one program, and a link to it under each of its names.

    :param path: the busybox program; None looks it up in PATH
    :param dest: as for `from_programs`
    :returns: the root directory, absolute
    :raises PlanError: there is no busybox, it needs libraries, or it does not list its names
    :raises FileExistsError: `dest` is not empty
    """
    source = os.path.realpath(_find(os.fspath(path) if path else "busybox"))
    found = elf.read(source)
    if not found or found.interpreter or found.needed:
        raise PlanError(f"{source} is not a static program; from_programs() copies libraries too")
    tree = Tree(files={"/bin/busybox": os.stat(source)}, sources={"/bin/busybox": source})
    tree.directories = {f"/{name}" for name in EMPTY}
    for name in _applets(source):
        tree.links[f"/{name}"] = "/bin/busybox"
    tree.links.pop("/bin/busybox", None)
    return make(tree, dest)


def _applets(program: str) -> list[str]:
    """Return the paths of busybox's names, as the program itself lists them."""
    import subprocess

    try:
        listed = subprocess.run([program, "--list-full"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise PlanError(f"{program} does not list its names: {error}") from error
    names = [name for name in listed.stdout.split() if ".." not in name.split("/")]
    if "bin/sh" not in names:
        raise PlanError(f"{program} --list-full names no bin/sh: is it busybox?")
    return names
