"""Read an upper directory."""

from pathlib import Path


def deleted(upper: Path, lower: Path) -> set[str]:
    """The paths of `lower` that a container deleted, as "/dir/file", told from its `upper`.

    Of a directory that is gone with all that was in it, only the directory.  Do it without
    LayerFS.changes().  A whiteout is a character device with the number 0/0: st_rdev is 0.
    An opaque directory has the extended attribute user.overlay.opaque.
    """
    raise NotImplementedError
