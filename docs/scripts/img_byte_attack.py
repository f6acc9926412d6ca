import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import small

with tempfile.TemporaryDirectory() as directory:
    box = Path(directory, "kubia")
    small().save(box)
    app = ck.Image.open(box).layers[-1]
    blob = box / "blobs/sha256" / app.digest.hex
    data = bytearray(blob.read_bytes())
    data[4] ^= 1  # a time in the header of the gzip, which does not change the unpacked bytes
    blob.write_bytes(data)
    try:
        app.unpack(Path(directory, "root"))
    except ck.ImageError as error:
        print(f"{type(error).__name__}: {error}")
    print("on the disk:", sorted(path.name for path in Path(directory).iterdir()))
