"""Unpacked layers in a store: one directory for each chain of layers, made once, and only ever complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence

from ..base.frozen import frozen
from ..image.blobs import FileBlobs
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.documents import Fields, dump, parse
from ..image.errors import ImageError, Missing
from ..image.ids import Ids
from ..image.limits import Limits
from ..linux.descriptor import DIRECTORY, owned
from ..state.files import rename, sync_filesystem
from ..state.locks import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from ..image.layer import Layer
    from ..image.unpack.meaning import Borrowed
    from ..state.leases import Lease
    from .arriving import Arriving

__all__ = ["UnpackedLayers", "first_difference", "same_bytes"]

TREE, LABEL = "diff", "layer.json"


@frozen
class Needs:
    """The files and directories that an unpacked layer needs of those below it."""

    implied: list[bytes]
    hiding: list[bytes]
    borrowed: list[Borrowed]

    def inherit_attributes(self, tree: Path, below: Sequence[Path]) -> None:
        """Give an unpacked layer these files and directories.  :raises InvalidLayer: a hard link leads to a file that no layer below has"""
        from ..image.unpack.implied import inherit_attributes

        inherit_attributes(tree, self.implied, below, self.borrowed, self.hiding)

    def __bool__(self) -> bool:
        return bool(self.implied or self.hiding or self.borrowed)


def _borrowed(value: object, where: str) -> Borrowed:
    from urllib.parse import unquote_to_bytes

    from ..image.unpack.meaning import Borrowed

    if not isinstance(value, list) or not value or not all(isinstance(path, str) for path in value):
        raise ImageError(f"{where}: expected paths")
    target, *names = map(unquote_to_bytes, value)
    return Borrowed(target, tuple(names))


@frozen
class UnpackedLayers:
    """Unpacked layers.

    :param root: the store's directory
    :param xattrs: which attribute says "opaque", as `LayerFS` has it
    :param ids: the owners on disk of the ids in the layers
    :param skip: files and attributes that may be left out where the kernel refuses them
    """

    root: Path
    xattrs: str
    ids: Ids
    skip: Collection[str] = ()
    limits: Limits | None = None

    def path(self, chain: Digest) -> Path:
        """Return the directory for `LayerFS`, whether it is there or not."""
        return self.place(chain) / TREE

    def place(self, chain: Digest) -> Path:
        """Return all that is kept about one layer."""
        return self.root / "layers" / chain.algorithm / chain.hex

    def make(self, layer: Layer, chain: Digest, lease: Lease) -> Path:
        """Unpack a layer, unless it is there.  Another process that wants the layer meanwhile waits, and finds it.

        :raises ImageError: it cannot be unpacked; nothing is there
        """
        place = self.place(chain)
        with locked(self.root / "locks" / chain.hex[:2]):
            if not place.is_dir():
                new = lease.place()
                self.unpack(layer, chain, new)
                self._name(new, place)
        return place / TREE

    def arriving(self, layer: Layer, chain: Digest, lease: Lease) -> Arriving:
        """Begin to unpack a layer whose bytes are still to come.  Other processes do not wait for it: each makes its own."""
        from .arriving import Arriving

        return Arriving(self, layer, chain, lease.place())

    def publish(self, chain: Digest, new: Path) -> Path:
        """Give the unpacked layer its name, unless another process was faster."""
        place = self.place(chain)
        with locked(self.root / "locks" / chain.hex[:2]):
            if not place.is_dir():
                self._name(new, place)
        return place / TREE

    def _name(self, new: Path, place: Path) -> None:
        sync_filesystem(new)  # all its files at once: a layer that has its name is on disk
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rename(new, place)

    def unpack(self, layer: Layer, chain: Digest, place: Path) -> None:
        """Unpack a layer into any directory, with its label."""
        from urllib.parse import quote_from_bytes

        place.mkdir(mode=0o700)
        tree = place / TREE
        tree.mkdir(mode=0o755)
        os.chmod(tree, 0o755)
        done = layer.unpack_into(
            tree, whiteouts="overlay", xattrs=self.xattrs, ids=self.ids, limits=self.limits, skip=self.skip, borrows=True
        )
        skipped = [[quote_from_bytes(s.name), s.what, s.detail] for s in done.skipped]
        implied = [quote_from_bytes(path) for path in done.implied]
        borrowed = [[quote_from_bytes(path) for path in (each.target, *each.names)] for each in done.borrowed]
        hiding = [quote_from_bytes(path) for path in done.hiding]
        needs = {"implied": implied, "borrowed": borrowed, "hiding": hiding}
        self._describe(place, layer, chain, entries=done.entries, skipped=skipped, **needs)

    def adopt(self, layer: Layer, chain: Digest, upper: Path, lease: Lease) -> Path:
        """Move an upper directory into the store, as the unpacked layer that was written from it.

        :param upper: on the store's file system, and as the layer would be unpacked: see `adopt.normalize`
        """
        new = lease.place()
        new.mkdir(mode=0o700)
        os.rename(upper, new / TREE)
        with owned(os.open(new / TREE, DIRECTORY)) as fd:
            from ..image.unpack.attributes import Attributes

            Attributes(self.ids, ()).own(fd, 0, 0)
        os.chmod(new / TREE, 0o755)
        entries, hiding = _counted(new / TREE)
        self._describe(new, layer, chain, entries=entries, skipped=[], implied=[""], hiding=hiding)
        return self.publish(chain, new)

    def _describe(self, place: Path, layer: Layer, chain: Digest, **more: object) -> None:
        about = {"chain": chain, "diff_id": layer.diff_id, "blob": layer.descriptor.to_json()}
        (place / LABEL).write_bytes(dump(about | more))

    def inherit_attributes(self, chains: Sequence[Digest]) -> None:
        """Give each layer the directories and files that it needs of those below it: see `implied`.

        No record says that it is done: it is repeated whenever the layers are wanted, and mostly finds nothing to do.

        :param chains: all unpacked, the lowest first
        :raises InvalidLayer: a hard link leads to a file that no layer below has
        """
        paths = [self.path(chain) for chain in chains]
        for number, (chain, path) in enumerate(zip(chains, paths, strict=True)):
            try:
                needs = self.needs(chain)
            except ImageError:
                continue  # `fsck` reports a label that cannot be read
            needs.inherit_attributes(path, paths[:number])

    def needs(self, chain: Digest) -> Needs:
        """Return what a layer needs of those below it.  :raises ImageError: the needs are not known"""
        from urllib.parse import unquote_to_bytes

        fields = Fields(self.label(chain), LABEL)
        implied, hiding = ([unquote_to_bytes(path) for path in fields.texts(name)] for name in ("implied", "hiding"))
        return Needs(implied, hiding, [_borrowed(value, where) for value, where in fields.objects("borrowed", [])])

    def again(self, chain: Digest, place: Path, below: Sequence[Digest]) -> bool:
        """Unpack a layer once more, to be compared.  Return False where that needs something that is not here any more.

        :param below: the chains below it
        """
        from ..image.layer import Layer

        fields, blobs = Fields(self.label(chain), LABEL), FileBlobs(self.root)
        layer = Layer(Descriptor.from_json(fields.take("blob", dict), f"{LABEL}.blob"), Digest(fields.text("diff_id")), blobs)
        if not blobs.has(layer.digest) or not all(self.path(each).is_dir() for each in below):
            return False
        self.unpack(layer, chain, place)
        self.inherit_attributes([*below, chain])
        self.needs(chain).inherit_attributes(place / TREE, [self.path(each) for each in below])
        return True

    def label(self, chain: Digest) -> dict[str, object]:
        """Return the description that was written when the layer was unpacked.

        :raises ImageError: there is no description, or it is of another layer
        """
        try:
            found = parse((self.place(chain) / LABEL).read_bytes(), LABEL)
        except OSError as error:
            raise Missing(f"the unpacked layer has no {LABEL}: {error.strerror}") from error
        if found.get("chain") != chain:
            raise ImageError(f"it says that it is the layer {found.get('chain')}")
        return found

    def __iter__(self) -> Iterator[Digest]:
        """Return the chain ids of all unpacked layers.  Files with other names are passed over: see `strangers`."""
        return (chain for path in self._all() if (chain := _chain(path)))

    def strangers(self) -> Iterator[Path]:
        """Return the files among the layers that are no layers."""
        return (path for path in self._all() if not _chain(path))

    def _all(self) -> list[Path]:
        return sorted((self.root / "layers").glob("*/*"))


def _chain(path: Path) -> Digest | None:
    """Return the chain that an unpacked layer is called by."""
    try:
        return Digest(f"{path.parent.name}:{path.name}")
    except ImageError:
        return None


def _counted(tree: Path) -> tuple[int, list[str]]:
    """Count the files of a tree, and list its directories with whiteouts."""
    from urllib.parse import quote_from_bytes

    from ..layers.merged import is_whiteout

    entries, hiding = 0, set()
    for where, directories, files, fd in os.fwalk(os.fsencode(tree)):
        entries += len(directories) + len(files)
        if any(is_whiteout(os.lstat(name, dir_fd=fd)) for name in files):
            hiding.add(quote_from_bytes(where[len(os.fsencode(tree)) + 1 :]))
    return entries, sorted(hiding)


def first_difference(one: Path, other: Path) -> str:
    """Return where two trees differ first, and how; "" when they are the same.

    Compare names, kinds, modes, owners, times of files, attributes and content.
    """
    if what := _differs(one, other):
        return f"/ differs in {what}"
    return _below(one, other, "")


def _below(one: Path, other: Path, path: str) -> str:
    names, others = set(os.listdir(one)), set(os.listdir(other))
    for name in sorted(names ^ others):
        return f"{path}/{name} is {'too many' if name in names else 'missing'}"
    for name in sorted(names):
        here, there = one / name, other / name
        if what := _differs(here, there):
            return f"{path}/{name} differs in {what}"
        if stat.S_ISDIR(os.lstat(here).st_mode) and (found := _below(here, there, f"{path}/{name}")):
            return found
    return ""


def _differs(one: Path, other: Path) -> str:
    from ..layers.merged import is_whiteout

    left, right = os.lstat(one), os.lstat(other)
    if is_whiteout(left) and is_whiteout(right):
        return ""  # overlayfs makes them links of one
    whats = ["st_mode", "st_uid", "st_gid", "st_rdev"]
    if not stat.S_ISDIR(left.st_mode):
        whats.append("st_mtime_ns")  # directories may have the time of their making: a layer need not describe them
    for what in whats:
        if getattr(left, what) != getattr(right, what):
            return what.removeprefix("st_")
    if not stat.S_ISDIR(left.st_mode) and left.st_nlink != right.st_nlink:
        return "links"
    if _attributes(one) != _attributes(other):
        return "attributes"
    if stat.S_ISLNK(left.st_mode):
        return "" if os.readlink(one) == os.readlink(other) else "target"
    if stat.S_ISREG(left.st_mode) and (left.st_size != right.st_size or not same_bytes(one, other)):
        return "content"
    return ""


def _attributes(path: Path) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def same_bytes(one: Path, other: Path) -> bool:
    with open(one, "rb") as left, open(other, "rb") as right:
        while data := left.read(1 << 20):
            if data != right.read(1 << 20):
                return False
    return True
