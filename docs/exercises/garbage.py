"""What may go?"""

from pathlib import Path


def garbage(layout: Path) -> set[str]:
    """The digests of the blobs in an OCI layout that no name leads to.

    Begin at the "manifests" of index.json.  Each leads to a manifest, which leads to its "config"
    and its "layers"; or to another index, which has "manifests" again.  Which of the two it is,
    its "mediaType" says: that of an index ends in "image.index.v1+json".

    Only answer, remove nothing.  If anything that is needed to find out is missing, raise a
    LookupError: who knows only half of what is needed must not throw the rest away.  A layer that
    is missing is not needed to find out.
    """
    raise NotImplementedError
