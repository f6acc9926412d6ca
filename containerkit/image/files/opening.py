"""Images in files: an OCI layout, as a directory or a tar, or a docker-archive; told by what is in them."""

from __future__ import annotations

import os

from ...base import checks
from ..errors import ImageError, InvalidLayer, Missing
from ..image import Image
from ..platform import Platform
from ..reference import Reference
from . import archive, layout
from .named_images import NamedImages, named

__all__ = ["open_image", "open_source", "save_image"]

StrPath = str | os.PathLike[str]


def open_source(path: StrPath) -> NamedImages:
    """What is at `path`.

    A tar that is both, as docker writes it from version 25 on, counts as a docker-archive: only that has all its names.

    :raises Missing: nothing, or neither of the two;  :raises ImageError: it cannot be read
    """
    if os.path.isdir(path):
        return layout.Layout.open(path)
    if not os.path.exists(path):
        raise Missing(f"there is nothing at {os.fspath(path)}")
    neither = f"{os.fspath(path)} is neither an OCI layout nor a docker-archive"
    for kind in (archive.Archive, layout.Layout):
        try:
            return kind.open(path)
        except archive.Lacking:
            raise
        except Missing:
            continue
        except InvalidLayer as error:
            raise type(error)(f"{os.fspath(path)}: {error}") from error
    raise Missing(neither)


def open_image(path: StrPath, reference: Reference | str | None = None, *, platform: Platform | str | None = None) -> Image:
    """One image of what is at `path`.

    :param reference: which one, where there are several
    :param platform: for which machine, where there are several; this one's by default
    :raises ImageError: there is none, or it cannot be read
    """
    source = open_source(checks.path(path, "an image's place"))
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    return Image.load(source.blobs, source.manifest(str(reference or ""), wanted))


def save_image(image: Image, path: StrPath, reference: Reference | str = "", *, docker: bool = False, tar: bool | None = None) -> None:
    """Write one image, byte for byte.

    :param docker: as a docker-archive rather than an OCI layout
    :param tar: an OCI layout as a tar or a directory; by the name's ending unless given
    :raises ImageError: something is missing, or not what its digest says
    """
    items = [(named(image.descriptor, str(reference)), image.blobs)]
    if docker:
        if tar is False:
            raise ImageError("a docker-archive is always a tar")
        archive.write(path, items)
    else:
        layout.write(path, items, tar=tar)
