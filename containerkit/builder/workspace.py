"""Where a build works: a place in the store that goes with the build, and ways to bring layers there.

    with Workshop(store) as workshop:
        layer = workshop.layer(laying.write)          compressed, both digests, in the store, held
        with workshop.tree(layers) as tree: ...       what they show together
        paths = workshop.unpacked(layers)             directories for LayerFS
        layer = workshop.freeze(upper, layers, tree)  an upper directory as a layer, already unpacked

What it brings is held until it ends; nobody else sees it before the image is named.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from ..image.blobs import FileBlobs
from ..image.digest import Digest
from ..image.image import chain_ids
from ..state.locks import locked
from ..store.session import is_whole
from ..store.store import Store
from .cache import Record
from .errors import BuildError
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..image.layer import Feed, Layer

__all__ = ["Workspace", "chain_of", "check_userns"]


def chain_of(layers: Sequence[Layer]) -> Digest | None:
    """The name of all these layers together; None for none."""
    chains = chain_ids(layer.diff_id for layer in layers)
    return chains[-1] if chains else None


def check_userns(userns: str) -> None:
    """:raises BuildError: neither "" nor "host" """
    if userns not in ("", "host"):
        raise BuildError(f'userns is "host" or "", not {userns!r}')


class Workspace:
    """A place in a store.  Leave it with `close` or a ``with`` block.

    :param compression: of new layers: "none", "gzip" or "zstd"
    :param epoch: seconds since 1970: no time in a layer is later
    :param userns: "host": what root runs is root of this machine; else it is nobody's outside
    """

    def __init__(self, store: Store, *, compression: str = "gzip", epoch: int | None = None, userns: str = "") -> None:
        from ..image.tar_from_tree import TarOptions

        self.store, self.compression, self.userns = store, compression, userns
        self.form = TarOptions(ids=store.trees.ids, epoch=epoch)
        self._lease = store.leases.take()
        self._lock = threading.Lock()
        self._paths: dict[Digest, Path] = {}

    # --- places --------------------------------------------------------------------------------------------------

    def place(self) -> Path:
        """A path that nobody else uses, gone with the build."""
        with self._lock:
            return self._lease.place()

    def directory(self) -> Path:
        """An empty directory, gone with the build."""
        path = self.place()
        path.mkdir(mode=0o700)
        return path

    def hold(self, digests: Iterable[Digest]) -> None:
        """Keeps blobs and unpacked layers from being collected until the build ends."""
        with locked(self.store.directory / "locks" / "content", shared=True):
            for digest in digests:
                self._lease.pin(digest)

    # --- layers --------------------------------------------------------------------------------------------------

    def layer(self, write: Callable[[Feed], object]) -> Layer:
        """A new layer, in the store for as long as the build lasts.

        :param write: writes the tar
        """
        from ..image.layer import Layer

        made = Layer.written(write, FileBlobs(self.directory()), self.compression)
        self.hold([made.digest])
        assert isinstance(made.blobs, FileBlobs)
        source, target = Path(made.blobs.path(made.digest)), Path(self.store.blobs.path(made.digest))
        if not is_whole(target, made.size):
            with open(source, "rb") as file:
                os.fsync(file.fileno())
            os.rename(source, target)
        return Layer(made.descriptor, made.diff_id, self.store.blobs)

    def recall(self, record: Record) -> Layer | None:
        """The layer of a record, held; None where it has gone."""
        from ..image.layer import Layer

        assert record.layer is not None
        descriptor, diff_id = record.layer
        self.hold([descriptor.digest])
        whole = is_whole(Path(self.store.blobs.path(descriptor.digest)), descriptor.size)
        return Layer(descriptor, diff_id, self.store.blobs) if whole else None

    def unpacked(self, layers: Sequence[Layer]) -> tuple[Path, ...]:
        """The layers as directories, the lowest first."""
        chains = chain_ids(layer.diff_id for layer in layers)
        new = [(layer, chain) for layer, chain in zip(layers, chains, strict=True) if chain not in self._paths]
        if new:
            self.hold(chain for _, chain in new)
            made = {chain: self.store.trees.make(layer, chain, self._lease) for layer, chain in new}
            self.store.trees.inherit_attributes(chains)
            self._paths |= made  # held, so that they stay where they are
        return tuple(self._paths[chain] for chain in chains)

    def tree(self, layers: Sequence[Layer]) -> Tree:
        """What the layers show together.  The caller closes it."""
        return Tree(*self.unpacked(layers))

    def freeze(self, upper: Path, layers: Sequence[Layer], below: Tree) -> Layer | None:
        """The changes in an upper directory as a layer on top of `layers`; None where there are none.

        The directory itself becomes the unpacked layer: nothing is unpacked a second time.

        :param below: what `layers` show together
        """
        from ..image.tar_from_tree import write_upper
        from .settling import bare

        bare(upper, below)
        if not os.listdir(upper):
            return None
        layer = self.layer(lambda sink: write_upper(upper, sink, self.form))
        *_, chain = chains = chain_ids(each.diff_id for each in (*layers, layer))
        self.hold([chain])
        path = self.store.adopt(layer, upper, chain, form=self.form)
        self.store.trees.inherit_attributes(chains)  # of all: what one layer hides is looked for in every layer below it
        self._paths[chain] = path
        return layer

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Lets go of everything, and removes what is left."""
        self._lease.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()
