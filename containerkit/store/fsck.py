"""A check of a store: every blob, image and unpacked layer is present and matches its digest.

Other processes add, remove and collect meanwhile.  So each suspect is checked twice: first without a lock, then under the lock
`content`, which keeps `Store.gc` out.  A problem is reported only when both checks find it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence

from ..base.frozen import frozen
from ..image.blobs import PART, FileBlobs, is_abandoned
from ..image.content import reach
from ..image.descriptor import Descriptor
from ..image.digest import CHUNK, Digest
from ..image.errors import ImageError
from ..image.files.named_images import name_of
from ..linux.descriptor import owned
from ..state.locks import locked
from .collect import chains_of
from .unpacked import first_difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from ..state.leases import Lease
    from .store import Store

__all__ = ["Problem", "problems"]


@frozen
class Problem:
    """A fault in a store.

    :ivar what: the faulty thing: "blob", "layer", "image" or "index"
    :ivar name: its digest or name
    :ivar detail: the fault
    :ivar repaired: the repair; "" when nothing was repaired
    """

    what: str
    name: str
    detail: str
    repaired: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.name}: {self.detail}" + (f" ({self.repaired})" if self.repaired else "")


def problems(store: Store, lease: Lease, *, repair: bool, layers: bool) -> Iterator[Problem]:
    """Yield every fault.  Things that another process removes meanwhile are not reported."""
    yield from _blobs(store, lease, repair)
    yield from _images(store)
    if layers:
        yield from _layers(store, lease, repair)


@contextlib.contextmanager
def _kept(store: Store, *, alone: bool = False) -> Iterator[None]:
    """Keep garbage collection out.

    :param alone: also keep out processes that would pin something new
    """
    with locked(store.directory / "locks" / "content", shared=not alone):
        yield


# Blobs ----------------------------------------------------------------------------------------------------------


def _blobs(store: Store, lease: Lease, repair: bool) -> Iterator[Problem]:
    for path in sorted((store.directory / "blobs").glob("*/*")):
        if not _looks_wrong(path):
            continue
        digest = f"{path.parent.name}:{path.name}"
        with _kept(store, alone=repair):
            detail = _looks_wrong(path)
            repaired = _put_aside(store, lease, path, digest) if detail and repair else ""
        if detail:
            yield Problem("blob", digest, detail, repaired)


def _looks_wrong(path: Path) -> str:
    """Return the fault of a blob; "" when it has none, or was collected meanwhile."""
    try:
        return _wrong(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _wrong(path: Path) -> str:
    if path.name.startswith(PART):
        return "its writer was killed before it was complete; `gc` removes it" if is_abandoned(path) else ""
    try:
        digest = Digest(f"{path.parent.name}:{path.name}")
    except ImageError:
        return "its name is no digest"
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return "it is not a file"
    hasher = digest.hasher()
    with owned(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)) as fd, open(fd, "rb", 0, closefd=False) as file:
        while data := file.read(CHUNK):
            hasher.update(data)
    found = Digest.finish(hasher)
    return "" if found == digest else f"its bytes are {found}"


def _put_aside(store: Store, lease: Lease, path: Path, digest: str) -> str:
    """Move a damaged blob aside, since it may be the only copy.  A pinned blob stays: a session may be about to write it anew."""
    if digest in store.leases.pinned():
        return ""
    aside = store.directory / "damaged"
    aside.mkdir(mode=0o700, exist_ok=True)
    os.rename(path, aside / f"{path.name}-{lease.path.name}")
    return "moved to damaged; put or pull the image again"


# Images ---------------------------------------------------------------------------------------------------------


def _images(store: Store) -> Iterator[Problem]:
    try:
        entries = store.catalogue.read()
    except (ImageError, OSError) as error:
        yield Problem("index", "index.json", str(error))
        return
    for entry in entries:
        if any(_image(store.blobs, entry)):
            with _kept(store):
                found = list(_image(store.blobs, entry)) if entry in store.catalogue.read() else []
            yield from found


def _image(blobs: FileBlobs, entry: Descriptor) -> Iterator[Problem]:
    name = name_of(entry) or entry.digest
    try:
        for found in reach(blobs, entry):
            if not blobs.has(found.descriptor.digest):
                yield Problem("image", name, f"the blob {found.descriptor} is missing")
            elif (size := os.stat(blobs.path(found.descriptor.digest)).st_size) != found.descriptor.size:
                yield Problem("image", name, f"the blob {found.descriptor} has {size} bytes")
    except (ImageError, OSError) as error:
        yield Problem("image", name, str(error))


# Layers ---------------------------------------------------------------------------------------------------------


def _layers(store: Store, lease: Lease, repair: bool) -> Iterator[Problem]:
    for path in store.trees.strangers():
        with _kept(store, alone=repair):
            repaired = _remove(store, lease, path, "") if repair else ""
        yield Problem("layer", path.name, "its name is no digest", repaired)
    below = _below(store)
    for chain in store.trees:
        if not _wrong_layer(store, lease, chain, below.get(chain)):
            continue
        with _kept(store, alone=repair):
            place = store.trees.place(chain)
            detail = _wrong_layer(store, lease, chain, _below(store).get(chain)) if place.is_dir() else ""
            repaired = _remove(store, lease, place, chain) if detail and repair else ""
        if detail:
            yield Problem("layer", chain, detail, repaired)


def _below(store: Store) -> dict[Digest, tuple[Digest, ...]]:
    """Return the chain ids below each layer of a known image."""
    found: dict[Digest, tuple[Digest, ...]] = {}
    with contextlib.suppress(ImageError, OSError):  # `_images` reports it
        for each in reach(store.blobs, *store.catalogue.read()):
            with contextlib.suppress(ImageError, OSError):
                chains = chains_of(store.blobs, each)
                found |= {chain: chains[:number] for number, chain in enumerate(chains)}
    return found


def _wrong_layer(store: Store, lease: Lease, chain: Digest, below: Sequence[Digest] | None) -> str:
    """Return the fault of an unpacked layer, by unpacking its blob once more and comparing the two trees.

    The check is skipped when the blob is absent, or when the layer depends on lower layers and no image tells which they are.
    """
    try:
        new = lease.place()
        known = below is not None or not store.trees.needs(chain)
        return first_difference(store.trees.path(chain), new / "diff") if known and store.trees.again(chain, new, below or ()) else ""
    except (ImageError, OSError) as error:
        return str(error)


def _remove(store: Store, lease: Lease, path: Path, chain: str) -> str:
    """Remove a damaged layer; its next use unpacks it again.  A pinned layer stays, because it is mounted or about to be."""
    if chain in store.leases.pinned():
        return ""
    os.rename(path, lease.place())
    return "removed; its next use unpacks it again"
