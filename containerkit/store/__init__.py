"""Images shared by many processes: each blob once, each layer unpacked once.

store        what is offered: `Store`, which `import containerkit as ck` has as `ck.Store`
session      bringing an image in: staged privately, named last
arriving     a layer that is unpacked while its bytes arrive
unpacked     the unpacked layers, one directory for each chain of layers
names        which image a name means;  search: by digest, id or the first digits of one
owners       whose the files of the unpacked layers are
collect      removing what no name leads to;  fsck: checking what is there
stored       the blobs as an image of the store sees them;  sizes: how large a layer is when unpacked
image_diff   what differs between two images
"""

__all__: list[str] = []  # a module of this room is imported by its own name, so that each loads only what it needs
