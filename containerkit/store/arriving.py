"""A layer that is unpacked while its bytes arrive: written, hashed, decompressed, hashed again and unpacked at once."""

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
    """The one blob that goes through a pipe.  Whoever opens it again goes on where the last one was."""

    pipe: Pipe

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        return cast(io.BufferedIOBase, _Reading(self.pipe))

    def has(self, digest: Digest, /) -> bool:
        return True


class _Reading:
    """A pipe as a blob: it was verified by who feeds it."""

    def __init__(self, pipe: Pipe) -> None:
        self.read = pipe.read

    def close(self) -> None:
        """The pipe stays: see `_Passing`."""


class Arriving:
    """Unpacks a layer in a thread of its own, from bytes that are fed to it.

    :param place: where; with its label, as `UnpackedLayers.unpack` makes it
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
        except BaseException as error:  # `feed` or `finish` raises it
            self._error = error
        self._pipe.stop()

    def feed(self, data: bytes) -> None:
        """Verified bytes, the next of the blob.  :raises ImageError: they cannot be unpacked"""
        if not self._pipe.feed(data):
            self.finish()

    def finish(self) -> None:
        """There are no more.  Returns when the layer is unpacked.  :raises ImageError: it cannot be"""
        self._pipe.end()
        self._thread.join()
        if self._error:
            raise self._error

    def abandon(self, error: BaseException) -> None:
        """There will be no more, for this reason."""
        self._pipe.end(error)
        self._pipe.stop()
        self._thread.join()
