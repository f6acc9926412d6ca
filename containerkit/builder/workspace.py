"""The workspace of a build: private paths in the store that end with the build, and functions that add layers to the store.

    with Workspace(store) as workspace:
        layer = workspace.layer(laying.write)          compressed, hashed, in the store, held
        with workspace.tree(layers) as tree: ...       the files of several layers together
        paths = workspace.unpacked(layers)             directories for LayerFS
        layer = workspace.freeze(upper, layers, tree)  an upper directory as a layer, already unpacked

New layers are held until the build ends.  Other processes cannot find them before the image is named.
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
    """Return the chain id of all these layers together; None without layers."""
    chains = chain_ids(layer.diff_id for layer in layers)
    return chains[-1] if chains else None


def check_userns(userns: str) -> None:
    """Check the value of `userns`.

    :raises BuildError: the value is neither "" nor "host"
    """
    if userns not in ("", "host"):
        raise BuildError(f'userns is "host" or "", not {userns!r}')


class Workspace:
    """Private paths in a store, and the layers that a build adds.  Leave it with `close` or a ``with`` block.

    :param compression: of new layers: "none", "gzip" or "zstd"
    :param epoch: seconds since 1970; no time in a layer is later
    :param userns: "host": root in a RUN is root of this machine.  Otherwise root has ids that no user of this machine has
    """

    def __init__(self, store: Store, *, compression: str = "gzip", epoch: int | None = None, userns: str = "") -> None:
        from ..image.tar_from_tree import TarOptions

        self.store, self.compression, self.userns = store, compression, userns
        self.form = TarOptions(ids=store.trees.ids, epoch=epoch)
        self._lease = store.leases.take()
        self._lock = threading.Lock()
        self._paths: dict[Digest, Path] = {}

    # --- paths ---------------------------------------------------------------------------------------------------

    def place(self) -> Path:
        """Return an unused private path.  The file there is removed at the build's end."""
        with self._lock:
            return self._lease.place()

    def directory(self) -> Path:
        """Make a private empty directory.  It is removed at the build's end."""
        path = self.place()
        path.mkdir(mode=0o700)
        return path

    def hold(self, digests: Iterable[Digest]) -> None:
        """Pin blobs and unpacked layers against collection until the build ends."""
        with locked(self.store.directory / "locks" / "content", shared=True):
            for digest in digests:
                self._lease.pin(digest)

    # --- layers --------------------------------------------------------------------------------------------------

    def layer(self, write: Callable[[Feed], object]) -> Layer:
        """Make a layer, which stays in the store at least until the build ends.

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
        """Return the layer of a record, held; None when the store no longer has it."""
        from ..image.layer import Layer

        assert record.layer is not None
        descriptor, diff_id = record.layer
        self.hold([descriptor.digest])
        whole = is_whole(Path(self.store.blobs.path(descriptor.digest)), descriptor.size)
        return Layer(descriptor, diff_id, self.store.blobs) if whole else None

    def unpacked(self, layers: Sequence[Layer]) -> tuple[Path, ...]:
        """Return the layers as directories, the lowest first."""
        chains = chain_ids(layer.diff_id for layer in layers)
        new = [(layer, chain) for layer, chain in zip(layers, chains, strict=True) if chain not in self._paths]
        if new:
            self.hold(chain for _, chain in new)
            made = {chain: self.store.trees.make(layer, chain, self._lease) for layer, chain in new}
            self.store.trees.inherit_attributes(chains)
            self._paths |= made  # held, so the paths stay valid
        return tuple(self._paths[chain] for chain in chains)

    def tree(self, layers: Sequence[Layer]) -> Tree:
        """Return the tree of the layers together.  The caller closes it."""
        return Tree(*self.unpacked(layers))

    def freeze(self, upper: Path, layers: Sequence[Layer], below: Tree) -> Layer | None:
        """Make the changes in an upper directory a layer on top of `layers`; None without changes.

        The directory itself becomes the unpacked layer, so nothing is unpacked again.

        :param below: the files of `layers` together
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
        self.store.trees.inherit_attributes(chains)  # of all layers, because a file that one layer hides may be in any layer below
        self._paths[chain] = path
        return layer

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release all pins, and remove the private paths."""
        self._lease.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()
