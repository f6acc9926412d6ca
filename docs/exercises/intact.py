"""Is an image whole, and unchanged?"""

from pathlib import Path


def intact(layout: Path) -> set[str]:
    """The digests of what is damaged or missing in an OCI layout; an empty set if all is well.

    `layout` has an index.json whose "manifests" lead to manifests.  A manifest leads to its
    "config" and its "layers".  Everything they lead to is the file blobs/sha256/HEX.  Damaged is
    what has another size or another sha256 than its descriptor says.  What a damaged manifest
    leads to, nobody knows: leave it out.

    Do it without containerkit.image.  A layer may be larger than your memory.
    """
    raise NotImplementedError
