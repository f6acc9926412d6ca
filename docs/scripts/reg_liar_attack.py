import tempfile

import containerkit as ck
from img_kubia import small
from reg_server import Server, registry


def evil(server: Server, digest: ck.Digest, old: bytes, new: bytes) -> None:
    """Write into the registry's files, as its owner can."""
    blobs = server.directory / "docker/registry/v2/blobs/sha256"
    path = blobs / digest.hex[:2] / digest.hex / "data"
    path.write_bytes(path.read_bytes().replace(old, new, 1))


image = small()
for what, digest, old, new, name in (
    ("a layer", image.layers[-1].digest, b"\0\0\0", b"\1\1\1", ":1"),
    ("the config", image.id, b"app.js", b"hi.mjs", ":1"),
    ("the manifest, by its digest", image.digest, b"369", b"368", f"@{image.digest}"),
    ("the manifest, by a tag", image.digest, b"369", b"368", ":1"),
):
    with registry() as server, tempfile.TemporaryDirectory() as directory:
        store = ck.Store(directory)
        image.push(f"{server.host}/lesson/kubia:1")
        evil(server, digest, old, new)
        try:
            ck.Image.pull(f"{server.host}/lesson/kubia{name}", store)
        except (ck.ImageError, ck.RegistryError) as error:
            words = " ".join(word[:19] for word in str(error).split() if "http" not in word)
            print(f"{what}:\n  {type(error).__name__}: {words}")
        print("  the store has:", *store.images() or ["nothing"])
