"""Images as values: bytes, documents and directories.  Nothing in this package knows of steps, plans or processes.

    digest  reference  media  platform  descriptor     names and labels
    blobs  origins  content                            where bytes are; each is verified while it is read
    documents  manifest  config  history               what the JSON documents say, kept byte for byte
    layer  layer_writer  tar_from_tree                 a layer, and how one is made
    tar/  compression/  unpack/                        what is in a layer's bytes
    image  index                                       an image, and one name for images of many platforms
    mutate  merge  validate  picture                   new images from old ones, checks, and a picture
    files/                                             OCI layouts and docker archives

:see: https://github.com/opencontainers/image-spec
"""

from ..base.late import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import ImageConfig
    from .descriptor import Descriptor
    from .digest import Digest
    from .history import History
    from .image import Image
    from .index import Index
    from .layer import Layer
    from .manifest import Manifest
    from .platform import Platform
    from .reference import Reference

__all__ = ["Descriptor", "Digest", "History", "Image", "ImageConfig", "Index", "Layer", "Manifest", "Platform", "Reference"]

_NAMES = {
    "config": "ImageConfig",
    "descriptor": "Descriptor",
    "digest": "Digest",
    "history": "History",
    "image": "Image",
    "index": "Index",
    "layer": "Layer",
    "manifest": "Manifest",
    "platform": "Platform",
    "reference": "Reference",
}

if not TYPE_CHECKING:
    __getattr__ = names(__name__, _NAMES)
