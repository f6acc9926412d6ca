import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit.image.ids import Ids
from containerkit.image.limits import Limits

SIZE = 300 << 20
packed = io.BytesIO()
with gzip.open(packed, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
    entry = tarfile.TarInfo("bomb")
    entry.size = SIZE
    with open("/dev/zero", "rb") as zeros:
        tar.addfile(entry, zeros)


def attempt(what: str, limits: Limits | None = None) -> bool:
    """Import the layer and unpack it."""
    packed.seek(0)
    with tempfile.TemporaryDirectory() as directory:
        try:
            layer = ck.Layer.from_tar(packed, limits=limits)
            layer.unpack(Path(directory, "root"), limits=limits, ids=Ids.mine())
        except ck.ImageError as error:
            print(f"{what}: {type(error).__name__}: {error}")
        else:
            print(f"{what}: unpacked")
        left = list(Path(directory).rglob("*"))
        print("  left on the disk:", [path.name for path in left if path.is_file()])
    return bool(left)


print(f"{len(packed.getvalue()):,} bytes, which become {SIZE:,}")
assert not attempt("as it stands")
without = Limits.default().lifted(["ratio=none"])
assert attempt("that limit lifted", without)
assert not attempt("with another one", without.lifted(["bytes=1M"]))
