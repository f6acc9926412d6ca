"""Root directories made from the programs of this host, with no download.

    root = from_programs(["sh", "ls", "hostname"])      # the programs, and the libraries they load
    root = busybox()                                    # one static program under 300 names

A path is copied to the same path below the root.  Each symbolic link on the way is made again as a link, so what
/bin/sh or /lib64/ld-linux-x86-64.so.2 means on the host it means in the root too.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from . import elf
from .errors import PlanError

__all__ = ["busybox", "from_programs"]

StrPath = str | os.PathLike[str]

_FORM = "1"  # part of every cache key: raise it when the same files would make another root
_FICLONE = 0x40049409
_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_EMPTY = ("dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp")
_SHARED = ("/tmp", "/var/tmp")  # the directories anybody may write: mode 1777
_SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
}
_PYTHON = re.compile(r"python[23]?(\.\d+)?$")
_NOT_STDLIB = frozenset({"test", "tests", "idlelib", "turtledemo", "ensurepip", "site-packages", "dist-packages"})


@dataclass
class _Tree:
    """A root directory that is not written yet: what goes where, all by absolute path as seen from inside."""

    files: dict[str, os.stat_result] = field(default_factory=dict)  # path, the same on the host and inside
    links: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)  # for the few files that come from another path

    def place(self, path: str) -> str:
        """Take one path along, and each link on the way to it.  Returns the real path, whether it exists or not."""
        real, ahead, hops = "/", path.split("/"), 0
        while ahead:
            here = os.path.join(real, part := ahead.pop(0))
            if part == "..":
                real = os.path.dirname(real)
            elif part in ("", "."):
                continue
            elif os.path.islink(here):
                if (hops := hops + 1) > 40:
                    raise PlanError(f"{path}: too many symbolic links")
                target = self.links[here] = os.readlink(here)
                real = "/" if target.startswith("/") else real
                ahead = target.split("/") + ahead
            else:
                real = here
        if os.path.isfile(real):
            self.files[real] = os.stat(real)
        elif os.path.isdir(real):
            self.directories.add(real)
        return real

    def place_empty(self) -> None:
        """Take the empty directories along, with the host's links on the way to them."""
        for name in _EMPTY:
            self.directories.add(self.place(f"/{name}"))

    def place_tree(self, path: str, skip: frozenset[str] = frozenset()) -> Iterator[str]:
        """Take a path along with all that is below it.  Yields the real path of each file."""
        real = self.place(path)
        if not os.path.isdir(real):
            yield real
            return
        for directory, below, names in os.walk(real):
            below[:] = [name for name in below if name not in skip]
            for name in (*below, *names):
                there = self.place(os.path.join(directory, name))
                if name in names and os.path.exists(there):
                    yield there

    def digest(self) -> str:
        """A name for this content: equal when each file is the same file, unchanged."""
        stats = {path: (self.sources.get(path), s.st_size, s.st_mtime_ns, s.st_mode) for path, s in self.files.items()}
        known = (_FORM, sorted(stats.items()), sorted(self.links.items()), sorted(self.directories), sorted(_ETC.items()))
        return hashlib.sha256(repr(known).encode()).hexdigest()[:32]

    def whole(self, root: Path) -> bool:
        """True when each file of this tree is in `root` with its size: a power cut may leave a file short."""
        try:
            return all(os.lstat(f"{root}{path}").st_size == s.st_size for path, s in self.files.items())
        except OSError:
            return False

    def write(self, root: Path) -> None:
        """Make it.  `root` is an empty directory.  The umask does not count: others than the maker will look inside."""
        os.chmod(root, 0o755)
        for path in sorted(self.directories):
            _directory(root, path)
        for path, target in self.links.items():
            os.symlink(target, f"{_directory(root, os.path.dirname(path))}/{os.path.basename(path)}")
        for path, status in self.files.items():
            source, parent = self.sources.get(path, path), _directory(root, os.path.dirname(path))
            _copy(source, f"{parent}/{os.path.basename(path)}", status)
        for name in _ETC.keys() - {os.path.basename(path) for path in self.files if os.path.dirname(path) == "/etc"}:
            _write(f"{_directory(root, '/etc')}/{name}", _ETC[name])
        for path in self.directories.intersection(_SHARED):
            os.chmod(f"{root}{path}", 0o1777)


def _directory(root: Path, path: str) -> str:
    """Make one directory of the root, and those above it.  No part of it may be a link: that would lead out of it."""
    here = str(root)
    for part in path.strip("/").split("/") if path.strip("/") else ():
        here = f"{here}/{part}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(here)
            os.chmod(here, 0o755)
        if not stat.S_ISDIR(os.lstat(here).st_mode):
            raise PlanError(f"{path} goes through {here.removeprefix(str(root))}, which is not a directory in the new root")
    return here


def _write(path: str, text: str) -> None:
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)


def _copy(source: str, target: str, status: os.stat_result) -> None:
    """Copy one file, sharing its blocks where the file system can.

    The set-user-ID and set-group-ID bits stay behind: a cached copy would outlive the host's security updates.
    """
    with open(source, "rb") as from_file, open(target, "xb") as to_file:
        try:
            fcntl.ioctl(to_file.fileno(), _FICLONE, from_file.fileno())
        except OSError:
            shutil.copyfileobj(from_file, to_file, 1 << 20)
        os.fchmod(to_file.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(to_file.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))


# Which files a program needs ------------------------------------------------------------------------------------


def _find(name: str) -> str:
    """Look a program up as execvp(3) would.  A Python must be the interpreter itself, not a script that picks one."""
    if "/" in name:
        if not os.path.isabs(name):
            raise PlanError(f"program {name!r} is neither a name nor an absolute path")
        hits = [name] if os.path.isfile(name) else []
    else:
        places = [os.path.join(place or ".", name) for place in os.environ.get("PATH", os.defpath).split(":")]
        hits = [place for place in places if os.path.isfile(place) and os.access(place, os.X_OK)]
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
    """The interpreter of a `#!` script; for env(1) also the program that env will look up."""
    head = _head(path)
    words = head[2:].split(b"\n")[0].decode(errors="replace").split() if head.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return words[:1] + named[:1]
    return words[:1]


class _Gathering:
    """Programs and what they need, put into a tree."""

    def __init__(self) -> None:
        self.tree = _Tree()
        self.known: dict[tuple[str, str, int], elf.Elf] = {}
        self.seen: set[str] = set()
        for path in _TOP:
            if os.path.islink(path):
                self.tree.place(path)
        self.tree.place_empty()

    def program(self, name: str) -> None:
        path = _find(name)
        real = self.tree.place(path)
        if "/" not in name and os.path.dirname(path) not in _SEARCHED:
            # A container's PATH has the usual directories only: let the name be found there.
            self.tree.links.setdefault(f"/usr/local/bin/{name}", path)
        if path not in self.seen:
            self.seen.add(path)
            self.contents(path)
            for needed in _script_needs(path):
                self.program(needed)
            if _PYTHON.match(os.path.basename(real)):
                self.stdlib(real)

    def contents(self, path: str) -> None:
        """Take along what an ELF file loads.  Any other file needs nothing."""
        try:
            found = elf.read(path)
        except OSError as error:
            raise PlanError(f"{path} cannot be read: {error.strerror}") from error
        if not found:
            return
        if found.interpreter and not os.path.isfile(self.tree.place(found.interpreter)):
            raise PlanError(f"the interpreter {found.interpreter} is not on this host; {path} needs it")
        for name, library in elf.libraries(found, self.known).items():
            self.known[name, library.machine, library.bits] = library
            if os.path.dirname(self.tree.place(library.path)) not in _built_in():
                # ld.so finds a library of ld.so.conf through its cache alone; entries for absent files do no harm.
                self.tree.place("/etc/ld.so.cache")

    def extra(self, path: str, skip: frozenset[str] = frozenset()) -> None:
        if not os.path.exists(path):
            raise PlanError(f"extra file {path} is not on this host")
        for file in self.tree.place_tree(path, skip):
            if not os.path.isfile(file):
                raise PlanError(f"extra file {file} is neither a file, a directory nor a link")
            if file not in self.seen and (".so" in os.path.basename(file) or os.access(file, os.X_OK)):
                self.seen.add(file)
                self.contents(file)

    def stdlib(self, python: str) -> None:
        """The standard library of a Python, where that Python looks: PREFIX/lib/pythonX.Y beside PREFIX/bin."""
        prefix = os.path.dirname(os.path.dirname(python))
        names = [os.path.basename(python)] if "." in os.path.basename(python) else os.listdir(f"{prefix}/lib")
        for name in names:
            if os.path.isfile(f"{prefix}/lib/{name}/os.py"):
                self.extra(f"{prefix}/lib/{name}", _NOT_STDLIB)


@cache
def _built_in() -> frozenset[str]:
    """The directories ld.so knows without its cache."""
    multiarch = f"{os.uname().machine}-linux-gnu"
    names = (f"lib/{multiarch}", "lib64", "lib")
    return frozenset(os.path.realpath(f"{prefix}/{name}") for prefix in ("", "/usr") for name in names)


# Where the root goes --------------------------------------------------------------------------------------------


def _cache_directory() -> Path:
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (own if os.geteuid() else Path("/var/cache")) / "containerkit" / "rootfs"


@contextlib.contextmanager
def _locked(path: Path, flags: int = 0) -> Iterator[int]:
    """Hold an flock(2) on a file or directory.  The kernel lets go of it when the holder dies, however it dies."""
    fd = os.open(path, flags | os.O_RDONLY | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _sweep(cache: Path) -> None:
    """Remove the staging directories whose makers are gone: nobody holds their lock."""
    for stale in cache.glob(".staging-*"):
        with contextlib.suppress(OSError):
            fd = os.open(stale, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stale)
            finally:
                os.close(fd)


def _cached(tree: _Tree, cache: Path) -> Path:
    """The root for this tree: the one made before, or a new one that appears whole or not at all."""
    final = cache / tree.digest()
    if tree.whole(final):
        return final
    cache.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(cache / ".lock", os.O_CREAT):  # nobody sweeps between making the directory and locking it
            _sweep(cache)
            staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=cache))
            stack.enter_context(_locked(staging))
        stack.callback(shutil.rmtree, staging, ignore_errors=True)
        tree.write(staging)
        with _locked(cache / ".lock", os.O_CREAT):
            if not tree.whole(final):
                if final.exists():
                    final.rename(cache / f".staging-damaged-{os.getpid()}")  # the next sweep takes it
                staging.rename(final)
    return final


def _make(tree: _Tree, dest: StrPath | None) -> Path:
    if dest is None:
        return _cached(tree, _cache_directory())
    root = Path(dest)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} is there and is not an empty directory")
    existed = root.exists()
    root.mkdir(parents=True, exist_ok=True)
    try:
        tree.write(root)
    except BaseException:
        for entry in root.iterdir() if existed else [root]:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        raise
    return root.resolve()


def from_programs(programs: Iterable[str], dest: StrPath | None = None, *, extra_files: Iterable[StrPath] = ()) -> Path:
    """Make a root directory from programs of this host.

    A program is a name to look up in PATH or an absolute path.  With it come the interpreter of a `#!` script, the
    ELF interpreter, every library it loads, and for Python its standard library.

    :param programs: names or absolute paths
    :param dest: a directory that is empty or not there yet; None for one in the cache that is shared and must not
        be written to: use it as a lower layer.  The cache is /var/cache/containerkit/rootfs for root,
        $XDG_CACHE_HOME/containerkit/rootfs for others
    :param extra_files: absolute paths to take along, directories with all that is below them, ELF files with their
        libraries
    :returns: the root directory, absolute
    :raises PlanError: a program, its interpreter or a library is not on this host; nothing was written
    :raises FileExistsError: `dest` has something in it
    :raises Unavailable: pyelftools is not installed
    :see: ld.so(8), execve(2), hier(7)
    """
    if isinstance(programs, str):
        raise PlanError(f"programs is a list of names, not one string: [{programs!r}]")
    gathering = _Gathering()
    for name in programs:
        gathering.program(name)
    for path in (os.fspath(item) for item in extra_files):
        if not os.path.isabs(path):
            raise PlanError(f"extra file {path!r} is not an absolute path")
        gathering.extra(path)
    return _make(gathering.tree, dest)


def busybox(path: StrPath | None = None, dest: StrPath | None = None) -> Path:
    """Make a root directory from a static busybox: one program, and a link to it under each of its names.

    :param path: the busybox program; None looks it up in PATH
    :param dest: as for `from_programs`
    :returns: the root directory, absolute
    :raises PlanError: there is no busybox, it needs libraries, or it does not list its names
    :raises FileExistsError: `dest` has something in it
    :raises Unavailable: pyelftools is not installed
    """
    source = os.path.realpath(_find(os.fspath(path) if path else "busybox"))
    found = elf.read(source)
    if not found or found.interpreter or found.needed:
        raise PlanError(f"{source} is not a static program; from_programs() takes libraries along")
    tree = _Tree(files={"/bin/busybox": os.stat(source)}, sources={"/bin/busybox": source})
    tree.directories = {f"/{name}" for name in _EMPTY}
    for name in _applets(source):
        tree.links[f"/{name}"] = "/bin/busybox"
    tree.links.pop("/bin/busybox", None)
    return _make(tree, dest)


def _applets(program: str) -> list[str]:
    """The paths of its names, as busybox itself lists them."""
    try:
        listed = subprocess.run([program, "--list-full"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise PlanError(f"{program} does not list its names: {error}") from error
    names = [name for name in listed.stdout.split() if ".." not in name.split("/")]
    if "bin/sh" not in names:
        raise PlanError(f"{program} --list-full names no bin/sh: is it busybox?")
    return names
