"""Read an upper directory."""

from pathlib import Path


def deleted(upper: Path, lower: Path) -> set[str]:
    """Return the paths of `lower` that a container deleted, as "/dir/file".

    Read them from the container's `upper`.

    For a deleted directory return only the directory, not the files that were in it.  Do it
    without LayerFS.changes().  A whiteout is a character device with the number 0/0: st_rdev is
    0.  An opaque directory has the extended attribute user.overlay.opaque.
    """
    raise NotImplementedError
