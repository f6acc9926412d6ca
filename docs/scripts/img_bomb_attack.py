import tempfile
from pathlib import Path

import containerkit as ck
from containerkit.image.limits import Limits

with tempfile.TemporaryDirectory() as directory:
    with open(Path(directory, "bomb"), "wb") as file:
        file.truncate(300 << 20)  # 300 MiB that are one hole, and takes no space
    layer = ck.Layer.from_directory(directory)
    print(f"{layer.size:,} bytes, which become {300 << 20:,}")

for limits in (Limits(), Limits(bytes=1 << 20)):
    with tempfile.TemporaryDirectory() as directory:
        try:
            layer.unpack(Path(directory, "root"), limits=limits)
        except ck.ImageError as error:
            print(f"{type(error).__name__}: {error}")
        print("left on the disk:", list(Path(directory).iterdir()))
