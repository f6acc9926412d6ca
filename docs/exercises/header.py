"""Write the header of a tar entry."""


def header(name: str, size: int, mode: int) -> bytes:
    """Return the 512 bytes before a file of root's in a tar, in the form "ustar".

    :param name: at most 100 bytes in UTF-8; a longer one is a ValueError
    :param mode: the file's permissions, such as 0o644

    Do it without tarfile and without containerkit.image.  The table of fields is in chapter 7.
    Numbers are octal digits with leading zeros, and end in a zero byte.  The checksum is six
    digits, a zero byte and a space.
    """
    raise NotImplementedError
