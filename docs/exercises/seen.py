"""Lay layers over each other."""


def seen(layers: list[list[str]]) -> set[str]:
    """Return the files that a container sees, as "etc/passwd".

    :param layers: the lowest first; of each the files in its tar, in any order.  Directories are
        not listed: a directory exists because a file is in it

    "dir/.wh.name" deletes "dir/name" of the layers below: a file, or a directory with all files
    in it. "dir/.wh..wh..opq" hides all files of the layers below in "dir".  Both affect only the
    layers below.  A file covers a directory of the same name, and a directory a file.
    """
    raise NotImplementedError
