"""Images: portable, layered, shared.  Nothing here knows of steps: what comes out is bytes and directories.

    digest  reference  media  platform  descriptor     names and labels
    blobs  sources                                     where bytes are, read only while they are being verified
    documents  manifest  config  history               what JSON says, kept byte for byte
    tar  compression  unpack  diff  difference  layer  what is in a layer, and how it gets there
    image  index                                       layers that belong together, and images that do
    mutate  merge  plain  validate                     new images from old ones; what does not fit together
    picture  comparison                                a look at one; what differs between two
    layout  archive  files  store                      images in files

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
