"""A store: images by name, each blob once, each layer unpacked once, for many processes at a time.

    store = Store()                                    rootless below $XDG_DATA_HOME, root's below /var/lib
    image = store.put(Image.open("app.tar"), "app:1")  there for good when this returns
    with store.hold("app:1") as layers:                directories for LayerFS(*layers); nobody collects them meanwhile
        ...
    store.tag("app:1", "app:latest");  store.untag("app:1");  store.gc();  store.fsck();  store.usage()

On disk it is an OCI image layout, which other programs can read, with the unpacked layers beside it:

    oci-layout  index.json          the names
    blobs/sha256/HEX                manifests, configs, layers as they came
    layers/sha256/HEX/diff          a layer unpacked, by its chain id, in overlay form
    sizes/sha256/HEX                how large a layer is once it is unpacked
    origins/sha256/HEX              the repositories that a blob came from, or went to
    staging/  locks/  damaged/      what is on the way; who may change what; what `fsck` found

Nothing has its name before it is whole and on disk, and a name is written last; so whatever is killed at whatever moment,
what was acknowledged is there, and what was not is swept by whoever comes next.
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
from ..state.files import locked, write_whole
from ..state.leases import Lease, Leases
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
    """Where this user's images are: $CONTAINERKIT_STORE, or else below /var/lib for root, below $XDG_DATA_HOME for others.

    Root of a user namespace is one of the others, and the files of its layers have other ids: it has a store of its own.
    """
    if given := os.environ.get("CONTAINERKIT_STORE"):
        return Path(given).absolute()
    if is_machine_root():
        return Path("/var/lib/containerkit/store")
    own = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return own / "containerkit" / ("store" if os.geteuid() else "store-subids")


@frozen
class Stored:
    """One thing in a store: an image, an index, an artifact.

    :ivar descriptor: of its manifest or index
    :ivar names: in full; none once another image got them
    """

    descriptor: Descriptor
    names: tuple[str, ...]

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    @property
    def familiar(self) -> tuple[str, ...]:
        """The names, as short as they can be said."""
        return tuple(Reference.parse(name).familiar for name in self.names)


@frozen
class StoreUsage:
    """What a store takes on disk.

    :ivar blobs: how many, and `blob_bytes` of them
    :ivar layers: unpacked, and `layer_bytes` of them
    :ivar reclaimable: bytes of blobs that neither a name nor the cache of builds leads to
    """

    blobs: int
    blob_bytes: int
    layers: int
    layer_bytes: int
    reclaimable: int


class Store(NamedImages):
    """Images by name.

    :param directory: made where it is missing; the user's own unless given
    :param xattrs: "user" or "trusted", as for `LayerFS`; as it was made, or as `LayerFS` has it here, unless given
    :param ids: whose the files of unpacked layers become; as it was made, or the same ids for root and all the caller's for others,
        unless given
    :param skip: "devices", "xattrs": what may be left out of a layer where it is refused; it is written down
    :param limits: how much a layer may ask for
    :raises Unsupported: it was made in another form, or for other owners: see `containerkit unshare`
    """

    def __init__(
        self, directory: StrPath | None = None, *, xattrs: str | None = None, ids: Ids | None = None, skip: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        from ..image.origins import Origins
        from .sizes import Sizes
        from .unpacked import UnpackedLayers

        self.directory = Path(checks.path(directory, "a store's directory")).absolute() if directory else default_directory()
        xattrs, ids = self._make(xattrs, ids)
        self.blobs: StoreBlobs = StoreBlobs(self)
        self.origins, self.sizes = Origins(self.directory), Sizes(self.directory)
        self.catalogue, self.leases = Names(self.directory), Leases(self.directory)
        self.trees = UnpackedLayers(self.directory, xattrs, ids, tuple(skip), limits)

    @classmethod
    def of(cls, blobs: Blobs, xattrs: str | None = None) -> Store | None:
        """The store that these blobs are in, with the limits it was opened with; None where they are elsewhere.

        :raises Unsupported: it has other attributes
        """
        from ..image.files.blob_union import BlobUnion

        if isinstance(blobs, StoreBlobs) and xattrs in (None, blobs.store.trees.xattrs):
            return blobs.store
        if isinstance(blobs, BlobUnion):
            return next((found for each in blobs.places if (found := cls.of(each, xattrs))), None)
        inside = isinstance(blobs, FileBlobs) and os.path.exists(os.path.join(blobs.directory, "store.json"))
        return cls(blobs.directory, xattrs=xattrs) if inside and isinstance(blobs, FileBlobs) else None

    def _make(self, xattrs: str | None, ids: Ids | None) -> tuple[str, Ids]:
        """Whoever comes first makes it.  Returns which attributes it has, and whose its files are."""
        from .owners import Owners

        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("locks", "staging", "layers", "blobs/sha256"):
            (self.directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        about = self.directory / "store.json"
        with locked(self.directory / "locks" / "names"):
            if not about.exists():
                from ..linux import kernel

                found = xattrs or ("user" if kernel.has("userxattr") else "trusted")
                write_whole(self.directory / OCI_LAYOUT, marker(), self.directory / f".{OCI_LAYOUT}")
                if not (self.directory / INDEX_JSON).exists():
                    write_whole(self.directory / INDEX_JSON, index_of([]), self.directory / f".{INDEX_JSON}")
                said = {"form": FORM, "xattrs": found, "owners": Owners.here(ids).to_json()}
                write_whole(about, dump(said), self.directory / ".store.json")
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
        """What its index names, in order; one thing with two names is there twice."""
        return tuple(self.catalogue.read())

    def images(self) -> tuple[Stored, ...]:
        """Everything in the store, each once, with its names."""
        found: dict[Digest, tuple[Descriptor, list[str]]] = {}
        for entry in self.entries:
            found.setdefault(entry.digest, (entry, []))[1].extend(filter(None, [name_of(entry)]))
        return tuple(Stored(entry, tuple(names)) for entry, names in found.values())

    def find(self, name: str | Reference = "") -> Descriptor:
        """The entry of a name, a digest, an image's id, or the first hex digits of one of these.

        :raises Missing: there is none, or the digits are not enough
        """
        from .search import search

        return search(self.entries, self.blobs, str(name))

    def get(self, reference: str | Reference, platform: Platform | str | None = None) -> Image:
        """The image of a name, a digest, an id, or the first digits of one.

        :param platform: for which machine, out of an index; this one's unless given
        :raises Missing: there is none
        """
        wanted = Platform.parse(platform) if isinstance(platform, str) else platform
        return Image.load(self.blobs, self.manifest(str(reference), wanted))

    def index(self, reference: str | Reference) -> Index:
        """The index of a name.  :raises Missing: there is none;  :raises ImageError: it is the name of one image"""
        from ..image.index import Index

        return Index.load(self.blobs, self.find(reference))

    def tag(self, reference: str | Reference | Image, *names: str | Reference) -> Descriptor:
        """Gives an image, or what `reference` means, more names.  What had one of them before keeps its others, or stays without one.

        :raises Missing: there is no such thing;  :raises InvalidReference: not a name
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
        """Takes a name away.  What has no other is forgotten, and `gc` removes it.  :raises Missing: there is no such name"""
        with self.catalogue.change() as entries:
            return take(entries, full_name(name))

    def remove(self, reference: str | Reference) -> tuple[str, ...]:
        """Forgets an image, with all its names, which are returned.  :raises Missing: there is none"""
        with self.catalogue.change() as entries:
            from .search import search

            return tuple(drop(entries, search(entries, self.blobs, str(reference)).digest))

    # --- content -------------------------------------------------------------------------------------------------

    @overload
    def put(self, image: Image, *names: str | Reference) -> Image: ...
    @overload
    def put(self, image: Index, *names: str | Reference) -> Index: ...  # noqa: F811
    def put(self, image: Image | Index, *names: str | Reference) -> Image | Index:  # noqa: F811
        """Keeps an image, byte for byte; for good when this returns.  What is there already is not written again.

        :param names: lead to it from now on; without one it is known by its digest
        :return: the same, read from the store
        :raises ImageError: something is missing, or not what its digest says; no name has changed
        """
        from ..image.index import Index

        entry = self.add(image.descriptor, image.blobs, *names)
        return Image.load(self.blobs, entry) if isinstance(image, Image) else Index.load(self.blobs, entry)

    def keep(self, image: Image) -> Image:
        """Keeps an image without a name, for as long as the value that is returned lives, or one that was made of it.

        Nothing lists it.  Give it a name with `put` or `tag`, or `gc` removes it once nobody has it any more.

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
        """The same for anything that a descriptor leads to: out of a layout, an archive, a registry."""
        full = [full_name(name) for name in names]
        with self.session() as session:
            session.copy(blobs, root)
            session.name(root, full)
        return root

    def session(self) -> Session:
        """For who brings blobs one by one, as a registry's client does: ``with store.session() as session:``."""
        from .session import Session

        return Session(self.directory, self.leases.take(), self.catalogue, self.trees)

    def layers(self, image: Image | str | Reference) -> tuple[Path, ...]:
        """The layers unpacked, the lowest first, as `LayerFS` takes them.  `hold` them while they are in use.

        :raises ImageError: a layer cannot be unpacked;  :raises Missing: there is no such image
        """
        with self.hold(image) as found:
            return found

    @contextlib.contextmanager
    def hold(self, image: Image | str | Reference) -> Iterator[tuple[Path, ...]]:
        """The layers unpacked, which nobody collects before the `with` or the process ends, whatever becomes of the names."""
        with self.leases.take() as lease:
            with locked(self.directory / "locks" / "content", shared=True):
                image = image if isinstance(image, Image) else self.get(image)
                for digest in (image.digest, image.id, *(d.digest for d in image.manifest.layers), *image.chain_ids):
                    lease.pin(digest)
            yield self._unpacked(image, lease)

    def _unpacked(self, image: Image, lease: Lease) -> tuple[Path, ...]:
        """In overlay form no layer needs another, so several are unpacked at a time."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(WORKERS, "containerkit-unpack") as workers:
            pairs = zip(image.layers, image.chain_ids, strict=True)
            made = [workers.submit(self.trees.make, layer, chain, lease) for layer, chain in pairs]
            found = tuple(each.result() for each in made)
        self.trees.inherit_attributes(image.chain_ids)
        return found

    def adopt(self, layer: Layer, upper: StrPath, chain: Digest, *, form: TarOptions | None = None) -> Path:
        """Makes the upper directory of an overlay the unpacked layer that was written from it, so that nothing is unpacked again.

        The directory is changed and moves into the store; where it cannot (another file system, other attributes, owners that are
        others here) the layer is unpacked from its blob.

        :param layer: `Layer.from_directory(upper, store.blobs, upper=True, form=form)`
        :param upper: nothing may be mounted on it any more
        :param chain: the chain id of the layer
        :raises ImageError: the layer is not in the store, or cannot be unpacked
        """
        with self.session() as session:
            from ..image.tar_from_tree import TarOptions

            return session.adopt(layer, Path(upper), chain, form or TarOptions())

    # --- care ----------------------------------------------------------------------------------------------------

    def gc(self, *, untagged: bool = False, named: bool = False, cache: bool = False, dry_run: bool = False) -> Collected:
        """Removes what no name leads to and nobody holds.

        :param untagged: also images that have lost their names
        :param named: also images that have one
        :param cache: also what builds remember, and the layers that only they know
        :param dry_run: only tell what would be removed
        :raises ImageError: it cannot be found out what a name leads to; nothing is removed
        """
        with self.leases.take() as lease:
            from .collect import collect

            return collect(self, lease, untagged=untagged or named, named=named, cache=cache, dry_run=dry_run)

    def fsck(self, *, repair: bool = False, layers: bool = True) -> tuple[Problem, ...]:
        """Reads everything and tells all that is wrong.

        :param repair: put damaged blobs aside, so that the next `put` or pull brings them again; remove damaged layers, which are
            unpacked again when they are wanted.  What somebody holds is left as it is.
        :param layers: unpack each layer once more and compare
        """
        with self.leases.take() as lease:
            from .fsck import problems

            return tuple(problems(self, lease, repair=repair, layers=layers))

    def size(self, image: Image) -> int:
        """Bytes of the files in an image's layers, as docker counts them; those of an artifact's blobs.

        A layer is read the first time that it is asked about.
        """
        return image.size if image.manifest.is_artifact else sum(map(self.sizes.of, image.layers))

    def usage(self) -> StoreUsage:
        """What the store takes on disk."""
        with locked(self.directory / "locks" / "content", shared=True):  # nothing is collected while it is counted
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
