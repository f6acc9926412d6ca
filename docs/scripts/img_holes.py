import os
import tempfile
from pathlib import Path

import containerkit as ck


def layer(directory: str, *, hole: bool) -> ck.Layer:
    """Write a database of 50 MB that holds two words: its zeros are a hole, or were written."""
    file = Path(directory, "database")
    with open(file, "wb") as database:
        if hole:
            database.truncate(50_000_000)
        else:
            for _ in range(50):
                database.write(bytes(1_000_000))
        for place in (0, 40_000_000):
            database.seek(place)
            database.write(b"word")
    os.utime(file, (0, 0))
    os.utime(directory, (0, 0))
    print(f"on the disk it takes {file.stat().st_blocks * 512:11,} bytes")
    return ck.Layer.from_directory(directory)


with tempfile.TemporaryDirectory() as directory:
    layers = [layer(directory, hole=hole) for hole in (True, False)]
    print("the layers are equal:", layers[0].diff_id == layers[1].diff_id)
    assert layers[0].diff_id == layers[1].diff_id
    for entry in layers[0].entries():
        print(entry.name.decode(), entry.kind, f"{entry.size:,} bytes")
    layers[1].unpack(Path(directory, "again"))
    again = Path(directory, "again/database").stat()
    print(f"unpacked: {again.st_size:,} bytes, on the disk {again.st_blocks * 512:,}")
    assert again.st_blocks * 512 < 2_000_000
