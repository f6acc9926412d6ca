"""Images in files: an OCI layout, as a directory or a tar, or a docker-archive, recognised by content."""

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
    """Open the layout or the archive at `path`.

    Since docker 25 a tar may be both.  Such a tar counts as a docker-archive, because only that part has all names.

    :raises Missing: nothing is at `path`, or neither of the two
    :raises ImageError: the file cannot be read
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
    """Open one image of the layout or archive at `path`.

    :param reference: which image, when the file holds several
    :param platform: the platform to choose for, when the file holds several; this machine's by default
    :raises ImageError: the file holds no such image, or cannot be read
    """
    source = open_source(checks.path(path, "an image's path"))
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    return Image.load(source.blobs, source.manifest(str(reference or ""), wanted))


def save_image(image: Image, path: StrPath, reference: Reference | str = "", *, docker: bool = False, tar: bool | None = None) -> None:
    """Write one image, byte for byte.

    :param docker: write a docker-archive rather than an OCI layout
    :param tar: write an OCI layout as a tar rather than a directory; by default a path that ends in ``.tar`` gets a tar
    :raises ImageError: a blob is missing, or does not match its digest
    """
    items = [(named(image.descriptor, str(reference)), image.blobs)]
    if docker:
        if tar is False:
            raise ImageError("a docker-archive is always a tar")
        archive.write(path, items)
    else:
        layout.write(path, items, tar=tar)
