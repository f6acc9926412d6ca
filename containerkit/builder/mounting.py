"""RUN --mount: binds of the context, of stages and of images, caches, memory and secrets.

    with Mounting(workspace, secrets, tree_of, directory, digests, check) as mounting:
        for mount in step.mounts:
            mounting.add(mount)
        mounting.binds, mounting.files, mounting.places, mounting.environment, mounting.key

A cache is a directory beside the store; it is in no layer.  A secret is in memory; it is in no layer and in no cache key.
:see: https://docs.docker.com/reference/dockerfile/#run---mount
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..dockerfile import instructions as dockerfile
from ..image.blobs import FileBlobs
from ..image.layer import Layer
from ..parts import mounts
from ..parts.files import File
from .caches import Caches
from .digests import Digests
from .errors import BuildError
from .laying import Laying
from .picking import Pick, clean
from .tree import Tree
from .workspace import Workspace

__all__ = ["Mounting", "SecretSource"]

SecretSource = bytes | str | os.PathLike[str]
TreeOf = Callable[[str], tuple[Tree, bool]]


class Mounting:
    """The mounts of one RUN.  Close it when the program has ended: it keeps caches locked.

    :param secrets: by id: bytes, or the path of a file
    :param tree_of: returns the tree of a stage or an image, and whether its files keep their owners; "" means the context
    :param directory: the parent of a relative target
    :param check: raises an exception when the build was stopped
    :ivar binds: the mounts, as parts of a plan
    :ivar files: secrets, as files for the plan
    :ivar places: the mount targets
    :ivar environment: secrets, as variables
    :ivar key: the mounts' part of the cache key
    """

    def __init__(
        self,
        workshop: Workspace,
        secrets: Mapping[str, SecretSource],
        tree_of: TreeOf,
        directory: str,
        digests: Digests,
        check: Callable[[], object],
    ) -> None:
        self._workshop, self._secrets, self._tree_of, self._directory, self._digests = workshop, secrets, tree_of, directory, digests
        self.binds: list[mounts.Bind | mounts.Tmpfs] = []
        self.files: list[File] = []
        self.places: list[str] = []
        self.environment: dict[str, str] = {}
        self.key: list[Any] = []
        self._later: list[tuple[str, Callable[[], None]]] = []
        self._caches = Caches(workshop.store.directory, check)

    def add(self, mount: dockerfile.Mount) -> None:
        """Register one more mount.  Caches are locked and files are copied later, in `prepare`.

        :raises BuildError: the source of the mount does not exist
        """
        if isinstance(mount, dockerfile.Ssh):
            raise BuildError("--mount=type=ssh: sockets of an ssh agent are not passed on; give the key as a secret")
        adders: Mapping[type, Callable[[Any], None]] = {
            dockerfile.Bind: self._bind, dockerfile.Cache: self._cache, dockerfile.Tmpfs: self._tmpfs, dockerfile.Secret: self._secret,
        }  # fmt: skip
        adders[type(mount)](mount)

    def prepare(self) -> None:
        """Lock the caches and copy the files that the program will see."""
        for _, each in sorted(self._later, key=lambda pair: pair[0]):  # in one order, against deadlocks
            each()

    def _target(self, target: str) -> str:
        return posixpath.normpath(posixpath.join("/", self._directory, target)).replace("//", "/")

    def _mount(self, part: mounts.Bind | mounts.Tmpfs, target: str) -> None:
        self.binds.append(part)
        self.places.append(target)

    # --- kinds ---------------------------------------------------------------------------------------------------

    def _bind(self, mount: dockerfile.Bind) -> None:
        picked, target = self._picked(mount.from_, mount.source), self._target(mount.target)
        self.key.append(["bind", target, mount.readonly, self._digests.of([picked])])
        self._later.append(("", lambda: self._show(self._copied(picked), target, mount.readonly)))

    def _show(self, source: Path, target: str, readonly: bool) -> None:
        """Bind a source without devices: a program that may make device nodes could open any disk through one."""
        self._mount(mounts.Bind(str(source), target, readonly=readonly, options=("nodev",), idmap=True), target)

    def _picked(self, from_: str, source: str) -> Pick:
        tree, owned = self._tree_of(from_)
        node = tree.get(tree.follow(clean(os.fsencode(source))))
        if node is None:
            raise BuildError(f"--mount: {source!r} does not exist")
        return Pick(tree, node, b"file", owned=owned)

    def _copied(self, picked: Pick) -> Path:
        """Copy a source, so that the program's changes to it end with the program."""
        place = self._workshop.directory()
        os.chmod(place, 0o755)
        self._fill(picked, place)
        return place if picked.node.is_dir else place / "file"

    def _fill(self, picked: Pick, place: Path) -> None:
        with Tree() as nothing:
            laying = Laying(nothing, self._workshop.form)
            laying.put([picked], b"" if picked.node.is_dir else b"file")
            layer = Layer.written(laying.write, FileBlobs(self._workshop.directory()), "none")
        trees = self._workshop.store.trees
        layer.unpack_into(place, whiteouts="plain", ids=trees.ids, limits=trees.limits, skip=trees.skip)

    def _tmpfs(self, mount: dockerfile.Tmpfs) -> None:
        target = self._target(mount.target)
        self.key.append(["tmpfs", target, mount.size])
        self._mount(mounts.Tmpfs(target, size=mount.size or None), target)

    def _cache(self, mount: dockerfile.Cache) -> None:
        target = self._target(mount.target)
        name = mount.id or target
        picked = self._picked(mount.from_, mount.source) if mount.from_ else None  # may wait, so not in `prepare`
        self.key.append(["cache", target, name, self._digests.of([picked] if picked else [])])
        begin = partial(self._begin, mount, picked)
        self._later.append((name, lambda: self._show(self._caches.take(name, mount.sharing, begin), target, mount.readonly)))

    def _begin(self, mount: dockerfile.Cache, picked: Pick | None, place: Path) -> None:
        """Fill a new cache, and set its owner and mode."""
        if picked:
            self._fill(picked, place)
        if os.geteuid() == 0:
            os.chown(place, mount.uid or 0, mount.gid or 0)
        os.chmod(place, mount.mode if mount.mode is not None else 0o755)

    def _secret(self, mount: dockerfile.Secret) -> None:
        name = mount.id or posixpath.basename(mount.target)
        target = self._target(mount.target) if mount.target else "" if mount.env else f"/run/secrets/{name}"
        self.key.append(["secret", name, target, mount.env, mount.uid, mount.gid, mount.mode])
        if name not in self._secrets:
            if mount.required:
                raise BuildError(f"the secret {name!r} is required and was not given")
            return
        data = self._read(name)
        if mount.env:
            if b"\0" in data:  # checked here, because a later error would show the secret
                raise BuildError(f"the secret {name!r} has a zero byte in it, so it can be a file, but no variable")
            self.environment[mount.env] = os.fsdecode(data)
        if target:
            mode = mount.mode if mount.mode is not None else 0o400
            self.files.append(File(target, data, mode, mount.uid or 0, mount.gid or 0, readonly=True))

    def _read(self, name: str) -> bytes:
        source = self._secrets[name]
        if isinstance(source, bytes):
            return source
        try:
            return Path(source).read_bytes()
        except (OSError, ValueError) as error:
            raise BuildError(f"the secret {name!r} cannot be read: {error}") from error

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Unlock the caches."""
        self._caches.close()

    def __enter__(self) -> Mounting:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
