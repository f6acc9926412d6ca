import io
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit.image.ids import Ids
from containerkit.image.tar import Entry, Writer


def layer(*entries: Entry) -> ck.Layer:
    tar = bytearray()
    writer = Writer(tar.extend)
    for entry in entries:
        writer.add(entry, b"stolen" if entry.size else None)
    writer.close()
    return ck.Layer.from_tar(io.BytesIO(tar))


def link(target: bytes) -> Entry:
    return Entry(b"a", "symlink", linkname=target)


with tempfile.TemporaryDirectory() as directory:
    secret = Path(directory, "outside/secret")
    secret.parent.mkdir()
    secret.write_text("mine")
    out = bytes(secret.parent)
    attacks = {
        "dots in the name": [Entry(b"../outside/secret", size=6)],
        "dots in the middle": [Entry(b"a/../../outside/secret", size=6)],
        "a whiteout of ..": [Entry(b".wh...")],
        "through a link": [link(out), Entry(b"a/secret", size=6)],
        "through dots in one": [link(b"../outside"), Entry(b"a/secret", size=6)],
        "over a link": [link(out + b"/secret"), Entry(b"a", size=6)],
        "a hard link": [Entry(b"a", "hardlink", linkname=out + b"/secret")],
    }
    for number, (what, entries) in enumerate(attacks.items()):
        root = Path(directory, f"root{number}")
        try:
            layer(*entries).unpack(root, ids=Ids.mine())
            files = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
            print(f"{what:20} stayed inside: {files}")
        except ck.ImageError as error:
            print(f"{what:20} {type(error).__name__}: {error}".replace(directory, ""))
    print("the secret is still", secret.read_text())
