"""Which blobs are garbage?"""

from pathlib import Path


def garbage(layout: Path) -> set[str]:
    """Return the digests of the blobs in an OCI layout that no name leads to.

    Begin at the "manifests" of index.json.  Each leads to a manifest, which leads to its "config"
    and its "layers"; or to another index, which has "manifests" again.  The "mediaType" tells
    them apart: that of an index ends in "image.index.v1+json".

    Remove nothing.  If a document is missing that the answer depends on, raise a LookupError:
    without it you cannot know which blobs are needed.  A missing layer is no such document, since
    it leads to nothing.
    """
    raise NotImplementedError
