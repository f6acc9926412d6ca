"""Tree: a root directory that is planned first and written at once; and a cache in which a root appears only when it is complete."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..base.frozen import field, frozen, record
from ..errors import PlanError
from ..linux.descriptor import owned
from ..linux.ids import is_machine_root
from ..linux.kept import keeps
from ..state.locks import locked, try_lock
from ..state.scratch import LOCK, Scratch, remove, sweep

StrPath = str | os.PathLike[str]

STAGING = ".staging-"  # prefix of unfinished roots in the cache
_FORM = "1"  # part of every cache key: raise the number when the same files would make another root
_FICLONE = 0x40049409
EMPTY = ("dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp")
_SHARED = ("/tmp", "/var/tmp")  # directories that every user may write: mode 1777
_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
}


@record(slots=False)
class Tree:
    """A root directory that is not written yet: its files, links and directories, by absolute path inside the root."""

    files: dict[str, os.stat_result] = field(default_factory=dict)  # path, the same on the host and inside the root
    links: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)  # for the few files with another path on the host

    def add(self, path: str) -> str:
        """Add one path, and each link on the way to it.  Return the real path, whether it exists or not."""
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

    def add_empty(self) -> None:
        """Add the empty directories, with the host's links on the way to them."""
        for name in EMPTY:
            self.directories.add(self.add(f"/{name}"))

    def add_tree(self, path: str, skip: frozenset[str] = frozenset()) -> Iterator[str]:
        """Add a path and every path below it.  Yield the real path of each file."""
        real = self.add(path)
        if not os.path.isdir(real):
            yield real
            return
        for directory, below, names in os.walk(real):
            below[:] = [name for name in below if name not in skip]
            for name in (*below, *names):
                there = self.add(os.path.join(directory, name))
                if name in names and os.path.exists(there):
                    yield there

    def digest(self) -> str:
        """Return a name for this content: equal for the same files, unchanged."""
        import hashlib

        stats = {path: (self.sources.get(path), s.st_size, s.st_mtime_ns, s.st_mode) for path, s in self.files.items()}
        known = (_FORM, sorted(stats.items()), sorted(self.links.items()), sorted(self.directories), sorted(_ETC.items()))
        return hashlib.sha256(repr(known).encode()).hexdigest()[:32]

    def whole(self, root: Path) -> bool:
        """Whether every file of this tree is in `root` with its full size: a power cut may leave a file short."""
        try:
            return all(os.lstat(f"{root}{path}").st_size == s.st_size for path, s in self.files.items())
        except OSError:
            return False

    def write(self, root: Path) -> None:
        """Write the tree into `root`, an empty directory.  Modes do not depend on the umask, as other users will read the root."""
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
    """Make one directory of the root, and those above it.  None may be a link, which would lead out of the root."""
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
    """Copy one file, sharing its blocks if the file system can.

    The set-user-ID and set-group-ID bits are dropped: a cached copy would outlive the host's security updates.
    """
    with open(source, "rb") as from_file, open(target, "xb") as to_file:
        import shutil

        try:
            fcntl.ioctl(to_file.fileno(), _FICLONE, from_file.fileno())
        except OSError:
            shutil.copyfileobj(from_file, to_file, 1 << 20)
        os.fchmod(to_file.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(to_file.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))


# The directory of the root --------------------------------------------------------------------------------------------


def cache_directory() -> Path:
    """Return the directory of the cached roots: $CONTAINERKIT_ROOTFS; else below /var/cache for root, below $XDG_CACHE_HOME for others."""
    if given := os.environ.get("CONTAINERKIT_ROOTFS"):
        return Path(given).absolute()
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path("/var/cache") if is_machine_root() else own) / "containerkit" / "rootfs"


def _sweep(cache: Path) -> None:
    """Remove the leftovers of killed makers.  Version 0.1 locked the staging directory itself."""
    sweep(cache, STAGING)
    for stale in cache.glob(f"{STAGING}*"):
        if not os.path.lexists(stale / LOCK) and (fd := try_lock(stale)) is not None:
            with owned(fd), contextlib.suppress(OSError):
                remove(stale)


#: The cached roots that this process uses, each with a descriptor that holds the root's lock until the process ends, against `prune`.
_held: dict[Path, int] = {}


@keeps
def _held_descriptors() -> list[int]:
    return [*_held.values()]


def _hold(root: Path) -> bool:
    """Keep a cached root from being pruned while this process lives.  Return False if the root does not exist (any more)."""
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    fcntl.flock(fd, fcntl.LOCK_SH)
    if not _is(root, fd):  # pruned before we got the lock
        os.close(fd)
        return False
    if root in _held:
        os.close(_held[root])
    _held[root] = fd
    return True


def _is(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _cached(tree: Tree, cache: Path) -> Path:
    """Return the cached root for this tree, or write a new one and rename it into place.  It is not pruned while this process lives."""
    final = cache / tree.digest()
    if _hold(final) and tree.whole(final):
        return final
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock"):  # version 0.1 does not sweep between the directory and its lock
        _sweep(cache)
        scratch = Scratch("new", cache, prefix=STAGING)
    try:
        staging = scratch.path / "root"
        staging.mkdir(0o700)
        tree.write(staging)
        with locked(cache / ".lock"):
            if not tree.whole(final):
                if final.exists():
                    final.rename(scratch.path / "damaged")
                staging.rename(final)
    finally:
        scratch.close()
    return final if _hold(final) else _cached(tree, cache)  # pruned as soon as the maker's own lock was gone


@frozen
class CachedRoot:
    """A root of the cache.

    :ivar active: whether a living process uses it
    """

    path: Path
    active: bool


def cached_roots(cache: Path | None = None) -> list[CachedRoot]:
    """List the cached roots, and the unfinished ones that killed processes left."""
    return [CachedRoot(path, not _unused(path)) for path in sorted((cache or cache_directory()).glob("*")) if path.is_dir()]


def _unused(path: Path) -> bool:
    if (fd := try_lock(path)) is None:
        return False
    os.close(fd)
    return True


def prune_roots(cache: Path | None = None) -> list[Path]:
    """Remove the cached roots that no living process uses.  Return their paths."""
    cache, gone = cache or cache_directory(), []
    if not cache.is_dir():
        return []
    with locked(cache / ".lock"):
        _sweep(cache)
        scratch = Scratch("pruned", cache, prefix=STAGING)
        try:
            for path in sorted(cache.iterdir()):
                if not path.name.startswith(".") and (fd := try_lock(path)) is not None:
                    with owned(fd), contextlib.suppress(OSError):
                        path.rename(scratch.path / path.name)
                        gone.append(path)
        finally:
            scratch.close()
    return gone


def make(tree: Tree, dest: StrPath | None) -> Path:
    import shutil

    if dest is None:
        return _cached(tree, cache_directory())
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
