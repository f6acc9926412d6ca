"""A root directory from this machine's programs, with no download.

rootfs  what is offered: the programs that are named, with all that they need
elf     which libraries a program needs, read from its file
tree    the directory, planned first and written at once, and the cache of such directories
"""

from .elf import MissingLibrary
from .rootfs import busybox, from_programs

__all__ = ["MissingLibrary", "busybox", "from_programs"]
