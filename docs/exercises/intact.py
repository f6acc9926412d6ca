"""Is an image complete, and unchanged?"""

from pathlib import Path


def intact(layout: Path) -> set[str]:
    """Return the digests of the damaged or missing blobs in an OCI layout; set() for a good one.

    `layout` has an index.json whose "manifests" lead to manifests.  A manifest leads to its
    "config" and its "layers".  Each of them is the file blobs/sha256/HEX.  A blob is damaged if
    its size or its sha256 differs from its descriptor.  The blobs behind a damaged manifest are
    unknown: leave them out.

    Do it without containerkit.image.  A layer may be larger than your memory.
    """
    raise NotImplementedError
