"""A layer that is unpacked while its bytes arrive: one pass stores, verifies, decompresses and unpacks them."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, cast

from ..base.frozen import frozen, replace
from ..image.compression.pipes import Pipe
from ..image.descriptor import Descriptor
from ..image.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from ..image.layer import Layer
    from .unpacked import UnpackedLayers

__all__ = ["Arriving"]


@frozen
class _Passing:
    """The blob that goes through a pipe.  A second `open` continues where the first reader stopped, since a pipe has no beginning."""

    pipe: Pipe

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        return cast(io.BufferedIOBase, _Reading(self.pipe))

    def has(self, digest: Digest, /) -> bool:
        return True


class _Reading:
    """A pipe as a blob.  The feeding thread has verified the bytes."""

    def __init__(self, pipe: Pipe) -> None:
        self.read = pipe.read

    def close(self) -> None:
        """Leave the pipe open: see `_Passing`."""


class Arriving:
    """A thread that unpacks a layer from bytes that are fed to it.

    :param place: the new directory, in the form of `UnpackedLayers.unpack`, with its label
    """

    def __init__(self, trees: UnpackedLayers, layer: Layer, chain: Digest, place: Path) -> None:
        self.chain, self.place = chain, place
        self._pipe, self._error = Pipe(), cast("BaseException | None", None)
        self._work = (trees, replace(layer, blobs=_Passing(self._pipe)))
        self._thread = threading.Thread(target=self._run, name="containerkit-unpack", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        trees, layer = self._work
        try:
            trees.unpack(layer, self.chain, self.place)
        except BaseException as error:  # `feed` or `finish` raises it in the caller's thread
            self._error = error
        self._pipe.stop()

    def feed(self, data: bytes) -> None:
        """Pass on the next verified bytes of the blob.

        :raises ImageError: the layer cannot be unpacked
        """
        if not self._pipe.feed(data):
            self.finish()

    def finish(self) -> None:
        """End the blob, and return when the layer is unpacked.

        :raises ImageError: the layer cannot be unpacked
        """
        self._pipe.end()
        self._thread.join()
        if self._error:
            raise self._error

    def abandon(self, error: BaseException) -> None:
        """End the blob early, for this reason, and wait for the thread."""
        self._pipe.end(error)
        self._pipe.stop()
        self._thread.join()
