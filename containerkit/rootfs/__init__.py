"""Root directories made from this machine's programs, with no download.

rootfs  from_programs and busybox: the named programs, with every file that they need
elf     the libraries that a program needs, read from its file
tree    the directory, planned first and written at once, and the cache of such directories
"""

from .elf import MissingLibrary
from .rootfs import busybox, from_programs

__all__ = ["MissingLibrary", "busybox", "from_programs"]
