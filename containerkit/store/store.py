"""A store: images by name, each blob once, each layer unpacked once, shared by many processes.

    store = Store()                                    rootless below $XDG_DATA_HOME, root's below /var/lib
    image = store.put(Image.open("app.tar"), "app:1")  kept for good when this returns
    with store.hold("app:1") as layers:                directories for LayerFS(*layers), pinned against collection
        ...
    store.tag("app:1", "app:latest");  store.untag("app:1");  store.gc();  store.fsck();  store.usage()

On disk a store is an OCI image layout, which other programs can read, with the unpacked layers beside it:

    oci-layout  index.json          the names
    blobs/sha256/HEX                manifests, configs and layers, as they came
    layers/sha256/HEX/diff          an unpacked layer, by its chain id, in overlay form
    sizes/sha256/HEX                the size of a layer's files
    origins/sha256/HEX              the repositories that a blob came from, or went to
    staging/  locks/  damaged/      unfinished additions; locks; damaged blobs that `fsck` moved aside

A file gets its final name only when it is complete and on the disk, and an image's name is written last.  So after a kill at any
moment, every acknowledged image is there, and the next process sweeps the rest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from ..base import checks, late
from ..base.frozen import frozen
from ..base.protocols import overload
from ..image.blobs import Blobs, FileBlobs
from ..image.descriptor import Descriptor, Platform
from ..image.digest import Digest
from ..image.documents import Fields, dump, parse
from ..image.errors import Unsupported
from ..image.files.layout import INDEX_JSON, OCI_LAYOUT, index_of, marker
from ..image.files.named_images import NamedImages, name_of
from ..image.ids import Ids
from ..image.image import Image
from ..image.limits import Limits
from ..image.reference import Reference
from ..linux.ids import is_machine_root
from ..state.files import replace
from ..state.journal import sweep_once
from ..state.leases import Lease, Leases
from ..state.locks import locked
from .names import Names, drop, full_name, give, take
from .stored import HeldBlobs, StoreBlobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..image.index import Index
    from ..image.layer import Layer
    from ..image.tar_from_tree import TarOptions
    from .collect import Collected
    from .fsck import Problem
    from .session import Session
else:
    __getattr__ = late.names("containerkit.store", {"collect": "Collected", "fsck": "Problem", "session": "Session"})

__all__ = ["Store", "StoreUsage", "Stored", "default_directory"]

StrPath = str | os.PathLike[str]
FORM = 2
WORKERS = max(2, min(8, os.cpu_count() or 2))


def default_directory() -> Path:
    """Return the directory of this user's store: $CONTAINERKIT_STORE, else below /var/lib for root, below $XDG_DATA_HOME for others.

    Root of a user namespace counts as another user.  Its layers have other ids, so it gets a store of its own.
    """
    if given := os.environ.get("CONTAINERKIT_STORE"):
        return Path(given).absolute()
    if is_machine_root():
        return Path("/var/lib/containerkit/store")
    own = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return own / "containerkit" / ("store" if os.geteuid() else "store-subids")


@frozen
class Stored:
    """One entry of a store: an image, an index or an artifact.

    :ivar descriptor: of its manifest or index
    :ivar names: the full names; () when other images have taken them all
    """

    descriptor: Descriptor
    names: tuple[str, ...]

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    @property
    def familiar(self) -> tuple[str, ...]:
        """The shortest spelling of each name."""
        return tuple(Reference.parse(name).familiar for name in self.names)


@frozen
class StoreUsage:
    """The disk space of a store.

    :ivar blobs: the number of blobs
    :ivar blob_bytes: their size on disk, in bytes
    :ivar layers: the number of unpacked layers
    :ivar layer_bytes: their size on disk, in bytes
    :ivar reclaimable: bytes of blobs that neither a name nor the build cache leads to
    """

    blobs: int
    blob_bytes: int
    layers: int
    layer_bytes: int
    reclaimable: int


class Store(NamedImages):
    """Images by name.

    :param directory: made when it does not exist; by default the user's own
    :param xattrs: "user" or "trusted", as for `LayerFS`; by default as the store was made, and for a new store as `LayerFS` uses here
    :param ids: the owners of unpacked files; by default as the store was made.  In a new store root keeps the layers' ids, and for
        any other user all files are the caller's
    :param skip: "devices", "xattrs": parts of a layer that are left out when the kernel refuses them; the omission is recorded
    :param limits: the most that a layer may use
    :raises Unsupported: the store was made in another form, or for other owners: see `containerkit unshare`
    """

    def __init__(
        self, directory: StrPath | None = None, *, xattrs: str | None = None, ids: Ids | None = None, skip: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        from ..image.origins import Origins
        from .sizes import Sizes
        from .unpacked import UnpackedLayers

        self.directory = Path(checks.path(directory, "a store's directory")).absolute() if directory else default_directory()
        sweep_once()
        xattrs, ids = self._make(xattrs, ids)
        self.blobs: StoreBlobs = StoreBlobs(self)
        self.origins, self.sizes = Origins(self.directory), Sizes(self.directory)
        self.catalogue, self.leases = Names(self.directory), Leases(self.directory)
        self.trees = UnpackedLayers(self.directory, xattrs, ids, tuple(skip), limits)

    @classmethod
    def of(cls, blobs: Blobs, xattrs: str | None = None) -> Store | None:
        """Return the store that contains these blobs, with the limits it was opened with; None when no store does.

        :raises Unsupported: the store uses the other xattr namespace
        """
        from ..image.files.blob_union import BlobUnion

        if isinstance(blobs, StoreBlobs) and xattrs in (None, blobs.store.trees.xattrs):
            return blobs.store
        if isinstance(blobs, BlobUnion):
            return next((found for each in blobs.places if (found := cls.of(each, xattrs))), None)
        inside = isinstance(blobs, FileBlobs) and os.path.exists(os.path.join(blobs.directory, "store.json"))
        return cls(blobs.directory, xattrs=xattrs) if inside and isinstance(blobs, FileBlobs) else None

    def _make(self, xattrs: str | None, ids: Ids | None) -> tuple[str, Ids]:
        """Create the store if missing; return its xattr namespace and the ids that own its files."""
        from .owners import Owners

        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("locks", "staging", "layers", "blobs/sha256"):
            (self.directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        about = self.directory / "store.json"
        with locked(self.directory / "locks" / "names"):
            if not about.exists():
                from ..linux import kernel

                found = xattrs or ("user" if kernel.has("userxattr") else "trusted")
                replace(self.directory / OCI_LAYOUT, marker(), mode=0o644, sync=True)
                if not (self.directory / INDEX_JSON).exists():
                    replace(self.directory / INDEX_JSON, index_of([]), mode=0o644, sync=True)
                said = {"form": FORM, "xattrs": found, "owners": Owners.here(ids).to_json()}
                replace(about, dump(said), mode=0o644, sync=True)
        fields = Fields(parse(about.read_bytes(), "store.json"), "store.json")
        if (form := fields.number("form")) != FORM:
            raise Unsupported(f"the store {self.directory} has the form {form}; this is for form {FORM}")
        if xattrs and fields.text("xattrs") != xattrs:
            raise Unsupported(f"the store {self.directory} was made with {fields.text('xattrs')!r} attributes, not {xattrs!r}")
        owners = Owners.from_json(fields.take("owners", dict), "store.json.owners")
        owners.check(self.directory, ids)
        return fields.text("xattrs"), owners.ids

    # --- names ---------------------------------------------------------------------------------------------------

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """The entries of the index, in order; an image with two names has two."""
        return tuple(self.catalogue.read())

    def images(self) -> tuple[Stored, ...]:
        """Return everything in the store, each once, with its names."""
        found: dict[Digest, tuple[Descriptor, list[str]]] = {}
        for entry in self.entries:
            found.setdefault(entry.digest, (entry, []))[1].extend(filter(None, [name_of(entry)]))
        return tuple(Stored(entry, tuple(names)) for entry, names in found.values())

    def find(self, name: str | Reference = "") -> Descriptor:
        """Return the entry with this name, digest or image id, or with the first hex digits of a digest or id.

        :raises Missing: no entry matches, or several entries begin with the digits
        """
        from .search import search

        return search(self.entries, self.blobs, str(name))

    def get(self, reference: str | Reference, platform: Platform | str | None = None) -> Image:
        """Return the image with this name, digest or id, or with the first digits of a digest or id.

        :param platform: the platform to choose for when the name is an index's; this machine's by default
        :raises Missing: the store has no such image
        """
        wanted = Platform.parse(platform) if isinstance(platform, str) else platform
        return Image.load(self.blobs, self.manifest(str(reference), wanted))

    def index(self, reference: str | Reference) -> Index:
        """Return the index with this name.

        :raises Missing: the store has no such name
        :raises ImageError: the name is that of a single image
        """
        from ..image.index import Index

        return Index.load(self.blobs, self.find(reference))

    def tag(self, reference: str | Reference | Image, *names: str | Reference) -> Descriptor:
        """Give an image more names.  An image that had one of them keeps its other names, or stays without one.

        :raises Missing: `reference` matches nothing
        :raises InvalidReference: a new name is malformed
        """
        if isinstance(reference, Image):
            return self.put(reference, *names).descriptor
        full = [full_name(name) for name in names]
        with self.catalogue.change() as entries:
            from .search import search

            found = search(entries, self.blobs, str(reference))
            give(entries, found, [*full])
        return found

    def untag(self, name: str | Reference) -> Descriptor:
        """Remove a name.  An image without any other name is forgotten, and `gc` removes it.

        :raises Missing: the store has no such name
        """
        with self.catalogue.change() as entries:
            return take(entries, full_name(name))

    def remove(self, reference: str | Reference) -> tuple[str, ...]:
        """Forget an image, and return the names it had.

        :raises Missing: the store has no such image
        """
        with self.catalogue.change() as entries:
            from .search import search

            return tuple(drop(entries, search(entries, self.blobs, str(reference)).digest))

    # --- content -------------------------------------------------------------------------------------------------

    @overload
    def put(self, image: Image, *names: str | Reference) -> Image: ...
    @overload
    def put(self, image: Index, *names: str | Reference) -> Index: ...  # noqa: F811
    def put(self, image: Image | Index, *names: str | Reference) -> Image | Index:  # noqa: F811
        """Keep an image, byte for byte.  It is on the disk when this returns.  Blobs that the store has are not written again.

        :param names: the image's names; without one it is found by its digest
        :return: the same image, read from the store
        :raises ImageError: a blob is missing, or does not match its digest; no name has changed
        """
        from ..image.index import Index

        entry = self.add(image.descriptor, image.blobs, *names)
        return Image.load(self.blobs, entry) if isinstance(image, Image) else Index.load(self.blobs, entry)

    def keep(self, image: Image) -> Image:
        """Keep an image without a name, for as long as the returned value or an image made from it lives.

        The image is not listed.  Give it a name with `put` or `tag`; otherwise `gc` removes it once no value refers to it.

        :raises ImageError: as for `put`
        """
        lease = self.leases.take()
        try:
            from .session import Session

            session = Session(self.directory, lease, self.catalogue, self.trees)
            session.copy(image.blobs, image.descriptor)
            with locked(self.directory / "locks" / "content", shared=True):
                for chain in image.chain_ids:
                    lease.pin(chain)
            blobs = HeldBlobs(self, lease)
        except BaseException:
            lease.close()
            raise
        return Image.load(blobs, image.descriptor)

    def add(self, root: Descriptor, blobs: Blobs, *names: str | Reference) -> Descriptor:
        """Keep everything behind a descriptor, from a layout, an archive or a registry.  Otherwise the same as `put`."""
        full = [full_name(name) for name in names]
        with self.session() as session:
            session.copy(blobs, root)
            session.name(root, full)
        return root

    def session(self) -> Session:
        """Begin an addition whose blobs the caller brings one by one, as a registry's client does: ``with store.session() as session:``."""
        from .session import Session

        return Session(self.directory, self.leases.take(), self.catalogue, self.trees)

    def layers(self, image: Image | str | Reference) -> tuple[Path, ...]:
        """Return the unpacked layers, the lowest first, as `LayerFS` takes them.  Use `hold` to keep them while they are in use.

        :raises ImageError: a layer cannot be unpacked
        :raises Missing: the store has no such image
        """
        with self.hold(image) as found:
            return found

    @contextlib.contextmanager
    def hold(self, image: Image | str | Reference) -> Iterator[tuple[Path, ...]]:
        """Give the unpacked layers, pinned against collection until the `with` block or the process ends, even if the names are removed."""
        with self.leases.take() as lease:
            with locked(self.directory / "locks" / "content", shared=True):
                image = image if isinstance(image, Image) else self.get(image)
                for digest in (image.digest, image.id, *(d.digest for d in image.manifest.layers), *image.chain_ids):
                    lease.pin(digest)
            yield self._unpacked(image, lease)

    def _unpacked(self, image: Image, lease: Lease) -> tuple[Path, ...]:
        """Unpack layers in parallel: in overlay form no layer depends on another."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(WORKERS, "containerkit-unpack") as workers:
            pairs = zip(image.layers, image.chain_ids, strict=True)
            made = [workers.submit(self.trees.make, layer, chain, lease) for layer, chain in pairs]
            found = tuple(each.result() for each in made)
        self.trees.inherit_attributes(image.chain_ids)
        return found

    def adopt(self, layer: Layer, upper: StrPath, chain: Digest, *, form: TarOptions | None = None) -> Path:
        """Use an overlay's upper directory as the unpacked form of the layer that was written from it, which saves unpacking.

        The directory is changed and moved into the store.  When it cannot be moved (another filesystem, another xattr namespace, other
        owners), the layer is unpacked from its blob.

        :param layer: `Layer.from_directory(upper, store.blobs, upper=True, form=form)`
        :param upper: must not be mounted any more
        :param chain: the chain id of the layer
        :raises ImageError: the layer is not in the store, or cannot be unpacked
        """
        with self.session() as session:
            from ..image.tar_from_tree import TarOptions

            return session.adopt(layer, Path(upper), chain, form or TarOptions())

    # --- care ----------------------------------------------------------------------------------------------------

    def gc(self, *, untagged: bool = False, named: bool = False, cache: bool = False, dry_run: bool = False) -> Collected:
        """Remove the blobs and layers that no name leads to and no process holds.

        :param untagged: also remove images without a name
        :param named: also remove images with a name
        :param cache: also remove the build cache, and the layers only it refers to
        :param dry_run: only report what would be removed
        :raises ImageError: the blobs behind a name cannot be determined; nothing is removed
        """
        with self.leases.take() as lease:
            from .collect import collect

            return collect(self, lease, untagged=untagged or named, named=named, cache=cache, dry_run=dry_run)

    def fsck(self, *, repair: bool = False, layers: bool = True) -> tuple[Problem, ...]:
        """Check the whole store, and return all faults.

        :param repair: move damaged blobs aside, so that the next `put` or pull brings them again, and remove damaged layers, which their
            next use unpacks again.  Held blobs and layers are left alone.
        :param layers: unpack each layer once more and compare
        """
        with self.leases.take() as lease:
            from .fsck import problems

            return tuple(problems(self, lease, repair=repair, layers=layers))

    def size(self, image: Image) -> int:
        """Return the bytes of the files in an image's layers, as docker counts them; of an artifact those of its blobs.

        The first call for a layer reads the layer.
        """
        return image.size if image.manifest.is_artifact else sum(map(self.sizes.of, image.layers))

    def usage(self) -> StoreUsage:
        """Return the disk space that the store uses."""
        with locked(self.directory / "locks" / "content", shared=True):  # keeps garbage collection out while the files are counted
            return self._usage()

    def _usage(self) -> StoreUsage:
        from ..layers.changes import usage
        from .collect import cached, needed

        blobs = {digest: os.stat(self.blobs.path(digest)).st_blocks * 512 for digest in self.blobs}
        trees = [usage(self.trees.path(chain)).bytes for chain in self.trees]
        kept = needed(self.blobs, list(self.entries))[0] | cached(self.directory)
        reclaimable = sum(size for digest, size in blobs.items() if digest not in kept)
        return StoreUsage(len(blobs), sum(blobs.values()), len(trees), sum(trees), reclaimable)

    def __repr__(self) -> str:
        return f"<Store {self.directory}>"
