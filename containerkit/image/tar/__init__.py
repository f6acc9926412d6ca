"""The tar format, read and written.

tar       entries as they stream by, and the bytes between them
tarball   a tar as a directory: any of its files, in any order
writing   the same entries give the same bytes
pax       numbers and extended headers
sparse    where the pieces of a sparse file lie;  holes: the same in a file of this machine
blobs_tar files and blobs in one tar
"""

from .tar import Entry, Reader, Writer

__all__ = ["Entry", "Reader", "Writer"]
