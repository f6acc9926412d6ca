"""Parts of a plan that only a build needs: files in memory, a umask, a directory.

:see: tmpfs(5), umask(2)
"""

from __future__ import annotations

from collections.abc import Iterable

from ..base.frozen import field, frozen
from ..core import mounting
from ..core.mount_targets import order_of
from ..core.step import Phase, Step
from ..linux import syscalls
from ..linux.syscalls import ATTR, OPEN_TREE, Bytes, Call, Labelled, O, Slot

__all__ = ["Directory", "File", "Files", "Umask"]

FIRST = -1  # inside ROOTFS: before the root
ATTEMPT = 1 << 20  # the most bytes of one write(2)


@frozen
class File:
    """A file of `Files`.

    :param target: the path of the file, inside
    :param data: the content; it is never shown
    :param mode: permission bits
    :param uid: the owner, inside
    :param gid: the group, inside
    :param readonly: make the mount read-only; without it the program may write, and its changes end with it
    """

    target: str
    data: bytes = field(repr=False)
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    readonly: bool = False


@frozen
class Files:
    """Files in a tmpfs of their own, each bound to its target: they touch no disk and no layer.

    The tmpfs is attached only for a moment, so that no directory of the host must be within the child's reach.
    """

    files: tuple[File, ...]

    def steps(self) -> Iterable[Step]:
        memory = Slot("files")
        options = [("source", "tmpfs"), ("mode", "711")]
        more = {"order": FIRST}
        yield from mounting.detached(
            "tmpfs", options, "for files that are on no disk", phase=Phase.ROOTFS, save=memory, attr=ATTR.NOSUID | ATTR.NODEV, **more
        )
        yield mounting.cover_root(memory, **more)
        for number, each in enumerate(self.files):
            yield from self._write(memory, str(number), each)
            yield from self._take(memory, str(number), each)
        yield mounting.uncover_root(**more)
        yield mounting.step(Phase.ROOTFS, syscalls.close(memory), "%files is done with", **more)
        for number, each in enumerate(self.files):
            target = mounting.target_of(each.target)
            yield from mounting.placed(
                target, [*mounting.make_file(target), *mounting.attach(target, directory=False, mount=Slot(f"file{number}"))]
            )

    @staticmethod
    def _take(memory: Slot, name: str, file: File) -> Iterable[Step]:
        mount, more = Slot(f"file{name}"), {"order": FIRST}
        call = syscalls.open_tree(memory, name, OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC)
        yield mounting.step(Phase.ROOTFS, call, f"a mount of {file.target} alone", save=mount, **more)
        if file.readonly:
            yield from mounting.set_attributes(mount, ATTR.RDONLY, False, phase=Phase.ROOTFS, **more)

    def _write(self, memory: Slot, name: str, file: File) -> Iterable[Step]:
        fd, more = Slot("file"), {"order": FIRST}
        make = syscalls.openat(name, O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, 0o600, at=memory)
        yield mounting.step(Phase.ROOTFS, make, f"the file for {file.target}", save=fd, **more)
        for at in range(0, len(file.data), ATTEMPT):
            piece = file.data[at : at + ATTEMPT]
            call = Call("write", (fd, Bytes(piece, f"{{{len(piece)} bytes}}"), len(piece)))
            yield mounting.step(Phase.ROOTFS, call, "its content", at_least=len(piece), **more)
        if file.uid or file.gid:
            yield mounting.step(Phase.ROOTFS, Call("fchown", (fd, file.uid, file.gid)), "its owner", **more)
        yield mounting.step(Phase.ROOTFS, Call("fchmod", (fd, Labelled(file.mode, f"{file.mode:#o}"))), "its mode", **more)
        yield mounting.step(Phase.ROOTFS, syscalls.close(fd), "%file is done with", **more)


@frozen
class Umask:
    """The permissions that new files do not get, independent of the caller's umask.

    :see: umask(2)
    """

    mask: int = 0o022

    def steps(self) -> Iterable[Step]:
        call = Call("umask", (Labelled(self.mask, f"{self.mask:#o}"),))
        yield Step.child(Phase.IDENTITY, call, why="new files do not depend on the caller's umask")


@frozen
class Directory:
    """A directory that is made in the root when it does not exist.

    :param path: absolute, inside
    """

    path: str

    def steps(self) -> Iterable[Step]:
        if (path := mounting.inside(self.path)) != ".":
            yield from mounting.make_directory(path, order=order_of(path))  # after the mounts that may contain it
