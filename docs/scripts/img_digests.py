import gzip

import containerkit as ck
from containerkit.image.blobs import MemoryBlobs
from img_kubia import APP, one_file

with one_file("app.js", APP.read_bytes()).uncompressed() as stream:
    tar = stream.read()


def layer(data: bytes, **options: str) -> ck.Layer:
    """Return the layer made of these bytes."""
    blobs = MemoryBlobs()
    return ck.Layer.from_tar(blobs.open(blobs.add(data)), blobs, **options)


for what, made in (
    ("not compressed", layer(tar, compression="none")),
    ("gzip, quickly", layer(gzip.compress(tar, 1, mtime=0))),
    ("gzip, well", layer(gzip.compress(tar, 9, mtime=0))),
    ("gzip, a second later", layer(gzip.compress(tar, 9, mtime=1))),
):
    sizes = f"{made.size:6} bytes  digest {made.digest.short}"
    print(f"{what:21} {sizes}  diff_id {made.diff_id.short}")
