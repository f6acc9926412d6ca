"""Lay layers over each other."""


def seen(layers: list[list[str]]) -> set[str]:
    """The files that a container sees, as "etc/passwd".

    :param layers: the lowest first; of each the files in its tar, in any order.  Directories are
        not listed: they are there because something is in them

    "dir/.wh.name" means that "dir/name" of the layers below is gone, a file or a directory with
    all that is in it.  "dir/.wh..wh..opq" means that nothing of the layers below is to be seen in
    "dir".  Both speak of the layers below only.  A file covers a directory of the same name, and
    a directory a file.
    """
    raise NotImplementedError
