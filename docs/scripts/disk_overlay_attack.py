import io
import tempfile

import containerkit as ck
from containerkit.image.tar import Entry, Writer
from img_kubia import base

REDIRECT = b"user.overlay.redirect"


def layer(entry: Entry) -> ck.Layer:
    tar = bytearray()
    writer = Writer(tar.extend)
    writer.add(entry)
    writer.close()
    return ck.Layer.from_tar(io.BytesIO(tar))


with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    for entry in (
        Entry(b"etc/passwd", "char", major=0, minor=0),
        Entry(
            b"mine",
            "directory",
            pax={REDIRECT: b"/etc"},
            xattrs={REDIRECT.removeprefix(b"SCHILY.xattr."): b"/etc"},
        ),
        Entry(b"etc/.wh..wh.passwd"),
    ):
        try:
            store.layers(store.put(base().append(layer(entry))))
        except ck.ImageError as error:
            print(f"{type(error).__name__}: {error}")
    print("unpacked:", store.usage().layers, "layer, the one below")
