"""LayerFS: directories laid over each other, and one on top that takes the changes.

    with LayerFS(base, app) as root:            # app over base; changes go to a directory of its own
                                                # LayerFS(image): the layers of an image
        ck.run(["sh", "-c", "touch /new"], ns.User(), ns.Mount(), root)
        for change in root.changes():           # added /new
            print(change)
        layer = root.diff()                     # the changes as a Layer, for image.append(layer)
        root = root.commit()                    # the changes, frozen, as the next directory below

It is an overlay(7) mounted in the child's mount namespace: the host never sees it.
:see: https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from errno import EBUSY, EEXIST, EINVAL, ELOOP, ENODEV, ENOENT, EOPNOTSUPP, EOVERFLOW, EPERM
from types import TracebackType

from ..base import checks
from ..base.door import behind
from ..base.frozen import frozen
from ..base.pickling import OneProcess
from ..core import mounting
from ..core.mount_targets import ROOT
from ..core.parent import ParentExecutor
from ..core.process import run_undo
from ..core.remembered import Inexact, by
from ..core.step import Phase, Place, Side, Step
from ..core.timeline import IDMAPPED, USER_ATTRIBUTES
from ..errors import LayerError, PlanError, Unavailable
from ..linux import kernel, syscalls
from ..linux.facts import ask
from ..linux.syscalls import ATTR, MNT, MS, Bytes, Call, O, Slot
from ..state.journal import sweep_if_any
from ..state.owner import Identity
from ..state.private import check_private, private
from ..state.scratch import Scratch
from . import merged
from . import places as _places
from .lowers import Lower, Lowers
from .shown import changes_tree, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from ..image import Layer
    from .changes import Change, DiskUsage

__all__ = ["LayerFS"]

FSCONFIG_VALUE = 255  # bytes; fsconfig(2) takes no longer string
HINTS = {
    EPERM: "mounting an overlay needs CAP_SYS_ADMIN here: run as root, or ask for ns.User(); before Linux 5.11 only root can",
    ENOENT: "one of the layers is gone",
    EBUSY: "the upper or work directory is in use by another overlay that is still mounted",
    EEXIST: "a layer is named twice",
    ENODEV: "this kernel has no overlay filesystem",
    EINVAL: "the upper directory's filesystem cannot hold one, as an overlay or NFS cannot: set TMPDIR or directory= to a tmpfs or a disk",
    ELOOP: "overlays are stacked too deep: two levels at most",
    EOVERFLOW: "the layers are too many, or stacked too deep",
}
XATTRS = ("user", "trusted")
IN_USE = "in-use"
PLACES = [("upperdir", f"{mounting.CLASSIC_TARGET}/upper"), ("workdir", f"{mounting.CLASSIC_TARGET}/work")]
"""The tmpfs on top, in which a read-only root gets the mount targets that its layers lack."""
LAID = "lay the directories over each other"
PROBE = "user.containerkit.probe"


@frozen
class _State:
    """The directories in which one LayerFS keeps its changes.

    :ivar upper: the directory that takes the changes
    :ivar work: the directory in which the kernel prepares a change before it shows; on the same filesystem, and empty in between
    :ivar in_use: a link that exists while a child has the overlay mounted: two of them on one upper lose data.  It names its
        owner, so that one left by a killed owner is told from a living one's
    """

    directory: str

    @property
    def upper(self) -> str:
        return f"{self.directory}/upper"

    @property
    def work(self) -> str:
        return f"{self.directory}/work"

    @property
    def in_use(self) -> str:
        return f"{self.directory}/{IN_USE}"

    @property
    def mark(self) -> str:
        """The source of an overlay whose upper directory is a relative path: in a table of mounts it tells the owner."""
        return ask(_mark, self.upper)

    def is_taken(self, by: Identity | None = None) -> bool:
        try:
            return Identity.parse(os.readlink(self.in_use)) == by or not by
        except FileNotFoundError:
            return False

    def free_if_abandoned(self) -> None:
        """Remove the link of an owner that was killed, unless its child lives on and has the overlay mounted."""
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
            lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)  # no other process may judge an old link, and then remove a newer one
            owner = Identity.parse(os.readlink(self.in_use))
            if not (owner and owner.alive) and not _mounted_anywhere(self.upper, self.mark):
                os.unlink(self.in_use)


def _value(root: LayerFS) -> Hashable:
    """Return everything that the steps of a LayerFS depend on, beside the host.  Images are unpacked for that, as for its steps."""
    if root._state is None and not root.readonly:
        raise Inexact
    directory = root._state.directory if root._state else ""
    return root._lowers.paths, root.readonly, directory, root.xattrs, bool(root._devices)


@by(_value)
class LayerFS(OneProcess):
    """A root made of layers.  A part, once it is entered; a read-only one needs no entering.

    :param lowers: directories and images, the lowest first, at most 500 layers; another LayerFS stands for its own lowers.  An
        image is unpacked when this is entered or its steps are asked for, unless its store has it unpacked, and it is
        not collected from there before this is closed
    :param readonly: no upper directory: nothing is changed.  With several layers that holds for every program; a single directory
        is shown itself, and a program with CAP_SYS_ADMIN over these mounts can make it writable.  Missing mount targets are made
        in a tmpfs on top
    :param directory: keeps the changes here, after this object and for the next one, in a directory of mode 700 that is made in it,
        so that no other user runs a set-user-ID file that a program left; a temporary directory unless given
    :param scratch: where the temporary directory is made; the directory for temporary files unless given
    :param xattrs: which extended attributes say "opaque": "user" works with and without privilege, "trusted" is what other
        tools write as root; all layers must agree
    :raises PlanError: no layer, too many of them, or one that is no directory
    """

    stays = "its directories and leases belong to this process; send the image or the directories, and make a LayerFS there"

    def __init__(
        self, *lowers: Lower | LayerFS, readonly: bool = False, directory: str | os.PathLike[str] | None = None,
        scratch: str | os.PathLike[str] | None = None, xattrs: str | None = None, devices: bool = False,
    ) -> None:  # fmt: skip
        for name, place in (("directory", directory), ("scratch", scratch)):
            if place is not None:
                checks.path(place, name)
        self.xattrs = xattrs or ("user" if kernel.has("userxattr") else "trusted")
        self._lowers = Lowers(_flat(lowers), self.xattrs)
        self.readonly, self._directory, self._parent, self._devices = readonly, directory, scratch, devices
        self._scratch: Scratch | None = None
        self._state: _State | None = None
        self._owned: list[Scratch] = []
        if self.xattrs not in XATTRS:
            raise PlanError(f"xattrs is 'user' or 'trusted', not {xattrs!r}")
        if readonly and directory:
            raise PlanError("a read-only LayerFS keeps no changes: leave directory out")

    # --- its directories -----------------------------------------------------------------------------------------

    @property
    def lowers(self) -> tuple[Path, ...]:
        """The directories below, the lowest first.  :raises ImageError: an image cannot be unpacked"""
        return tuple(map(_as_path, self._lowers.paths))

    def __enter__(self) -> LayerFS:
        if self._state:
            raise LayerError("this LayerFS was entered already")
        if not self.readonly:
            self._lowers.paths  # noqa: B018  # what cannot be unpacked fails before a directory is made
            self._state = self._make_state()
        return self

    def _make_state(self) -> _State:
        if self._directory is None:
            self._scratch = Scratch("layer", self._parent)
            state = _State(self._scratch.place)
        else:
            state = _State(str(private(_as_path(os.path.realpath(self._directory)))))
        for path in (state.upper, state.work):
            os.makedirs(path, exist_ok=True)
        sweep_if_any()
        state.free_if_abandoned()
        os.chmod(state.upper, os.stat(self._lowers.paths[-1]).st_mode & 0o7777)
        self._check_attributes(state.upper)
        return state

    def _check_attributes(self, upper: str) -> None:
        """Refuse a filesystem without extended attributes: it would mount, but a program that replaces a directory would get EIO."""
        if self.xattrs != "user":
            return
        try:
            os.setxattr(upper, PROBE, b"")
            os.removexattr(upper, PROBE)
        except OSError as error:
            self.close()
            if error.errno != EOPNOTSUPP:
                raise
            probed = f"setxattr on {upper}: EOPNOTSUPP"
            remedy = 'a directory on a disk as scratch= or TMPDIR; a tmpfs needs Linux 6.6; or, as root without ns.User(), xattrs="trusted"'
            raise Unavailable("user.* attributes, which say what was removed", probed=probed, remedy=remedy) from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary directories; a kept one stays.  :raises LayerError: a child still has it mounted"""
        if self._state and self._state.is_taken(by=Identity.of()):
            raise LayerError(f"{self!r} is still mounted by a process that was not closed")
        self._state = None
        for scratch in filter(None, [self._scratch, *self._owned]):
            scratch.close()
        self._scratch, self._owned = None, []
        self._lowers.close()

    @property
    def upper(self) -> Path:
        """The directory that takes the changes.  :raises LayerError: there is none, or not yet"""
        if not self._state:
            raise LayerError("a read-only LayerFS has no changes" if self.readonly else "enter it first: with LayerFS(...) as root:")
        return _as_path(self._state.upper)

    # --- as a part -----------------------------------------------------------------------------------------------

    def steps(self) -> Iterable[Step]:
        """Return the steps that mount the overlay as the root, for a plan without further mounts in it."""
        return self.root_steps(())

    def root_steps(self, places: Sequence[Place]) -> Iterable[Step]:
        """Yield the steps, with those that make places where the layers lack them.

        A read-only root without a mount target gets a tmpfs on top for the targets, and is frozen when they are made.
        """
        if not self.readonly and not self._state:
            raise PlanError(
                "this LayerFS has no directory for changes yet: enter it first (with LayerFS(...) as root:), or make it readonly=True"
            )
        if self._state:
            yield self._take(self._state)
        layers = [*self._lowers.paths, *([self._state.upper] if self._state else [])]
        on_top = self.readonly and kernel.has("fsopen") and _places.are_missing(places, layers)
        yield from mounting.either(self._root_steps(on_top=on_top), self._shown(on_top=on_top))
        if on_top or not self.readonly:
            yield from _places.behind_links(places, layers)
        yield from self._frozen() if on_top else ()
        first, *rest = mounting.enter_root()
        yield from (first.with_(claims="root"), *rest)

    def _take(self, state: _State) -> Step:
        """Return the step that makes the link, so that only one child at a time has the overlay mounted.  Its undo removes the link."""
        path, owner = state.in_use, Bytes(ask(_owner, "self").encode() + b"\0", "{this process}")
        taken, mark = (
            Call("symlinkat", (owner, syscalls.AT_FDCWD, os.fsencode(path)), "symlink(2)"),
            Call("unlinkat", (syscalls.AT_FDCWD, os.fsencode(path), 0), "unlink(2)"),
        )
        hint = {
            EEXIST: "another process has this LayerFS mounted: join its mount namespace instead, "
            "or make another LayerFS over the same layers"
        }
        return Step.parent(Phase.PREPARE, taken, why="no other process may mount these changes meanwhile", undo=mark, hint=hint)

    @property
    def _attributes(self) -> ATTR:
        return ATTR(0) if self._devices else ATTR.NODEV

    def _options(self, on_top: bool = False) -> list[tuple[str, str | None]]:
        upper = [("upperdir", self._state.upper), ("workdir", self._state.work)] if self._state else []
        return [*upper, *(PLACES if on_top else []), *self._attribute_options]

    @property
    def _attribute_options(self) -> list[tuple[str, str | None]]:
        return [("userxattr", None)] if self.xattrs == "user" else []

    def _root_steps(self, place: str = "", *, on_top: bool = False) -> Iterator[Step]:
        """Mount the layers -> %root, attached at `place`; in a child that makes no difference.

        :param on_top: with a tmpfs on top, in which mount targets can be made
        """
        if self.readonly and len(self._lowers.paths) == 1 and not on_top:
            yield from self._single(place or "/")
        elif self._fits_new_api():
            yield from self._new_api(place or "/", on_top)
        else:
            yield from self._classic(place or self._lowers.paths[-1], on_top)

    def _memory(self) -> Iterator[Step]:
        """Yield the steps that attach the tmpfs, as an upper directory must be; it goes as soon as the overlay has its own view of it."""
        attr, here = ATTR.NOSUID | ATTR.NODEV | ATTR.NOEXEC, Slot("places")
        why, options = "a memory for the places that the layers lack", [("source", "tmpfs"), ("size", "4m")]
        yield from mounting.detached("tmpfs", options, why, attr=attr, phase=Phase.ROOTFS, save=here)
        yield mounting.step(Phase.ROOTFS, syscalls.move_mount(here, syscalls.AT_FDCWD, "/"), "where no path leads")
        mode = ask(_mode, self._lowers.paths[-1])
        for name in ("upper", "work"):
            yield mounting.step(Phase.ROOTFS, syscalls.mkdirat(here, name, 0o700), f"its {name} directory")
        yield mounting.step(Phase.ROOTFS, syscalls.fchmodat(here, "upper", mode), "the permissions of the topmost layer")
        yield mounting.step(Phase.ROOTFS, syscalls.dup3(here, mounting.CLASSIC_FD, O.CLOEXEC), "under a number that a path can name")
        yield mounting.step(Phase.ROOTFS, syscalls.close(here), "%places is done with")

    def _memory_goes(self) -> Iterator[Step]:
        gone = syscalls.umount2(mounting.CLASSIC_TARGET, MNT.DETACH)
        yield mounting.step(Phase.ROOTFS, gone, "the overlay has a view of its own, and nobody else needs one")
        yield mounting.step(Phase.ROOTFS, syscalls.close(mounting.CLASSIC_FD), "the memory is done with")

    def _frozen(self) -> Iterator[Step]:
        if kernel.has("mount_setattr"):
            yield mounting.step(Phase.MOUNTS, syscalls.mount_setattr(ROOT, ATTR.RDONLY), "all places are made: ro", order=mounting.FROZEN)
        else:
            yield from mounting.change(".", ATTR.RDONLY | self._attributes, order=mounting.FROZEN)

    def _single(self, place: str) -> Iterator[Step]:
        """Yield the steps that show a single read-only layer as it is: an overlay wants two layers."""
        yield mounting.clone_tree(self._lowers.paths[0], "the only layer", recursive=True, phase=Phase.ROOTFS, save=ROOT)
        yield from mounting.set_attributes(ROOT, ATTR.RDONLY | self._attributes, True, phase=Phase.ROOTFS)
        yield mounting.root_at(place)

    def _paths(self) -> list[str]:
        """Return the layers' paths, the topmost first, as the kernel wants them."""
        return [*reversed(self._lowers.paths)]

    def _fits_new_api(self) -> bool:
        values = [*self._paths(), *(v or "" for _, v in self._options())]  # a tmpfs on top has short paths
        return kernel.has("fsopen") and kernel.has("lowerdir+") and all(len(os.fsencode(v)) <= FSCONFIG_VALUE for v in values)

    def _new_api(self, place: str, on_top: bool) -> Iterator[Step]:
        yield from self._memory() if on_top else ()
        options = [("source", "overlay"), *(("lowerdir+", p) for p in self._paths()), *self._options(on_top)]
        yield from mounting.detached("overlay", options, LAID, attr=self._attributes, phase=Phase.ROOTFS, save=ROOT, hint=HINTS)
        yield from self._memory_goes() if on_top else ()
        yield mounting.root_at(place)

    def _classic(self, place: str, on_top: bool) -> Iterator[Step]:
        """Mount the overlay with mount(2), whose options are one string: some characters need a backslash, and a comma cannot be had."""
        yield from self._memory() if on_top else ()
        data = _one_string(self._paths(), self._options(on_top))
        call = syscalls.mount("overlay", place, "overlay", MS(0) if self._devices else MS.NODEV, data)
        yield mounting.step(Phase.ROOTFS, call, LAID, hint=HINTS)
        yield from self._memory_goes() if on_top else ()
        yield mounting.step(Phase.ROOTFS, syscalls.openat(place, O.PATH | O.DIRECTORY | O.CLOEXEC), "take hold of the root", save=ROOT)

    # --- as a part, in a plan whose root is nobody outside ---------------------------------------------------------

    def _shown(self, *, on_top: bool) -> Iterator[Step]:
        """Yield the same root, in which the files have the ids that they have on disk: the parent translates the mounts they are on."""
        if self.readonly and len(self._lowers.paths) == 1 and not on_top:
            yield from mounting.shown_root(self._lowers.paths[0], "the only layer", ATTR.RDONLY | self._attributes)
        else:
            yield from self._translated(on_top)

    def _translated(self, on_top: bool) -> Iterator[Step]:
        """Yield the steps by which the parent translates the mounts, and the child makes the overlay as root inside."""
        trees, lowers = shown([*reversed(self._lowers.paths)])
        changes = [changes_tree(str(self._state.directory))] if self._state else []
        for tree in trees:
            yield from self._translatable(tree.make("what holds the layers"))
        for tree in changes:
            yield from self._translatable(tree.make("what takes the changes"))
        for tree in (*trees, *changes):
            yield from tree.attach()
        yield from self._memory() if on_top else ()
        upper = [(option, tree.below(name)) for tree in changes for option, name in (("upperdir", "upper"), ("workdir", "work"))]
        source = self._state.mark if self._state else "overlay"
        yield from self._overlay(source, lowers, [*upper, *(PLACES if on_top else []), *self._attribute_options])
        yield from self._memory_goes() if on_top else ()
        for tree in reversed((*trees, *changes)):
            yield from tree.let_go()
        yield mounting.root_at()

    def _translatable(self, steps: Iterator[Step]) -> Iterator[Step]:
        lacks = {IDMAPPED} if not kernel.has("idmapped layers") else {USER_ATTRIBUTES} if self.xattrs == "trusted" else set()
        first, *rest = steps
        yield first.with_(needs=first.needs | lacks)
        yield from rest

    def _overlay(self, source: str, lowers: Sequence[str], options: Sequence[tuple[str, str | None]]) -> Iterator[Step]:
        if kernel.has("lowerdir+") and kernel.has("fsopen"):
            every = [("source", source), *(("lowerdir+", path) for path in lowers), *options]
            yield from mounting.detached("overlay", every, LAID, attr=self._attributes, phase=Phase.ROOTFS, save=ROOT, hint=HINTS)
        else:
            call = syscalls.mount(source, "/", "overlay", MS(0) if self._devices else MS.NODEV, _one_string(lowers, options))
            yield mounting.step(Phase.ROOTFS, call, LAID, hint=HINTS)
            yield mounting.clone_tree("/..", "take hold of what covers /", recursive=False, phase=Phase.ROOTFS, save=ROOT)
            yield mounting.uncover_root()

    # --- what changed --------------------------------------------------------------------------------------------

    def changes(self) -> Iterator[Change]:
        """Yield the differences to the lower layers: paths added, modified and deleted, in order of their names."""
        from .changes import changes

        return changes(self.upper, self.lowers)

    def read(self, path: str) -> bytes | None:
        """Return the file that shows at a path, with its links followed inside; None where there is none.

        :raises LayerError: it is something else, or more than 16 MiB
        """
        return merged.read(path, [*self._lowers.paths, *([self._state.upper] if self._state else [])])

    def usage(self) -> DiskUsage:
        """Return the size of the changes: bytes on disk and entries."""
        from .changes import usage

        return usage(self.upper)

    def diff(self, blobs: Any = None, **options: Any) -> Layer:
        """Return the changes as a layer of an image: ``image.append(root.diff())``.

        :param blobs: the store of the layer, a `FileBlobs` or `MemoryBlobs`; in a temporary file, gone with the layer, unless given
        :param options: those of `Layer.from_directory`: form, compression, level
        :raises LayerError: a child still has it mounted
        """
        upper = self.upper
        if self._state and self._state.is_taken():
            raise LayerError("still mounted: close the process first, so that the layer does not change while it is written")
        layer: Layer = behind("LayerFS.diff")(upper, blobs, **options)
        return layer

    def commit(self, directory: str | os.PathLike[str] | None = None) -> LayerFS:
        """Freeze the changes as one more read-only layer.  This LayerFS cannot be used any more; use the returned one.

        :param directory: the directory that the layer stays in; a temporary one, gone with the returned LayerFS, unless given.  It has
            to be below one of mode 700, or of one like it: a program may have left a set-user-ID file, which others could run
        :return: a LayerFS over the same lowers and the new layer, not entered yet
        :raises LayerError: a child still has it mounted; others may enter the directory
        """
        upper = self.upper
        assert self._state
        if self._state.is_taken():
            raise LayerError("still mounted: close the process first, so that the layer does not change any more")
        scratch = None if directory else Scratch("frozen", self._parent or (upper.parent.parent if self._scratch else None))
        if directory:
            check_private(_as_path(os.path.realpath(directory)).parent)
        frozen = _as_path(os.path.realpath(directory)) if directory else scratch.path / "layer"  # type: ignore[union-attr]
        _move(upper, frozen)
        following = LayerFS(*self._lowers.sources, frozen, scratch=self._parent, xattrs=self.xattrs, devices=self._devices)
        following._owned, self._owned = [*self._owned, *([scratch] if scratch else [])], []
        self.close()
        return following

    @contextlib.contextmanager
    def mounted(self, at: str | os.PathLike[str] | None = None) -> Iterator[Path]:
        """Mount the layers on the host, for as long as the `with` block lasts.  Needs root.

        :param at: an existing directory; a temporary one unless given
        :raises StepRefused: the caller may not mount; it is a PermissionError
        """
        place = Scratch("mounted") if at is None else None
        target = str(place.path / "root") if place else os.path.abspath(at or "")
        os.makedirs(target, exist_ok=True)
        actor = ParentExecutor()
        try:
            actor.perform([step.with_(side=Side.PARENT) for step in self._host_steps(target)])
            yield _as_path(target)
        finally:
            run_undo(actor.undo)
            if place:
                place.close()

    def _host_steps(self, target: str) -> Iterator[Step]:
        """Yield the same mount, attached in the caller's own mount namespace."""
        if self._state:
            yield self._take(self._state)
        elif not self.readonly:
            raise PlanError("enter it first: with LayerFS(...) as root:")
        *before, last = self._root_steps(target)
        yield from before
        yield last.with_(undo=syscalls.umount2(target, MNT.DETACH | MNT.UMOUNT_NOFOLLOW))

    def __repr__(self) -> str:
        state = "read-only" if self.readonly else self._state.upper if self._state else "not entered"
        return f"<LayerFS of {self._lowers}, {state}>"


def _as_path(path: str) -> Path:
    """For callers: `pathlib` takes as long to load as a whole plan takes to make."""
    from pathlib import Path

    return Path(path)


def _mode(path: str) -> int:
    return os.stat(path).st_mode & 0o7777


def _owner(pid: str) -> str:
    return str(Identity.of(pid))


def _mark(upper: str) -> str:
    status = os.stat(upper)
    return f"containerkit-{status.st_dev:x}-{status.st_ino:x}"


def _one_string(lowers: Iterable[str], options: Iterable[tuple[str, str | None]]) -> str:
    """Return the options as mount(2) takes them.  :raises PlanError: mount(2) cannot express them"""
    escaped = ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in lowers)
    every = [("lowerdir", escaped), *options]
    if any(value and "," in value for _, value in every):
        raise PlanError("a layer's path holds a comma, which mount(2) takes for the end of an option")
    return mounting.classic_data(every)


def _flat(lowers: Iterable[Lower | LayerFS]) -> Iterator[Lower]:
    for lower in lowers:
        yield from lower._lowers.sources if isinstance(lower, LayerFS) else [lower]


def _mounted_anywhere(upper: str, mark: str) -> bool:
    """Whether a process that the caller may look at has an overlay with these changes.  :see: proc_pid_mountinfo(5)"""
    wanted = rf"upperdir={re.escape(upper)}(,|$)| - overlay {re.escape(mark)} "
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/mountinfo", errors="surrogateescape") as file:
                table = file.read()
            shown = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), table)
            if re.search(wanted, shown, re.MULTILINE):
                return True
    return False


def _move(upper: Path, frozen: Path) -> None:
    """Rename where that is possible: a copy would have to keep attributes that only the kernel may write."""
    try:
        os.rename(upper, frozen)
    except OSError as error:
        raise LayerError(
            error.errno, f"cannot freeze the changes at {frozen}: {error.strerror}; it must be on the same filesystem as {upper}, and empty"
        ) from error
    upper.mkdir()
