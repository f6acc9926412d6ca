import io
import os
import tarfile
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns
from img_kubia import base, one_file


def layer(*entries: tuple[str, bytes, str]) -> ck.Layer:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, target, 0o755
            tar.addfile(entry)
    packed.seek(0)
    return ck.Layer.from_tar(packed)


ODD = layer(
    ("mine", tarfile.LNKTYPE, "note"),  # a hard link to a file of the layer below
    (".wh.note", tarfile.REGTYPE, ""),  # a whiteout of that file
    ("real", tarfile.DIRTYPE, ""),
    ("link", tarfile.SYMTYPE, "real"),
    ("link/new", tarfile.REGTYPE, ""),  # an entry through a link of this layer
    ("real/.wh.nothing", tarfile.REGTYPE, ""),  # a whiteout of a file that no layer has
)


def tree(root: Path) -> list[str]:
    found = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    return sorted(
        name for name in found if name.split("/")[0] in ("mine", "note", "real", "link")
    )


with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(Path(directory, "store"))
    image = store.put(base().append(one_file("note", b"note\n")).append(ODD))
    with ck.LayerFS(image) as root:
        look = ["sh", "-c", "ls -d /mine /note /real /real/* /link; cat /mine"]
        print("layer on layer:", *ck.run(look, ns.User(), ns.Mount(), root).text.split())
    seen = {}
    for name, each in {"onto one tree": image, "flattened": image.flatten()}.items():
        each.extract(Path(directory, name))
        seen[name] = tree(Path(directory, name))
        print(f"{name}:", *seen[name])
    assert seen["onto one tree"] == seen["flattened"] == ["link", "mine", "real", "real/new"]

    through = layer(("etc/new", tarfile.REGTYPE, ""))
    below = base().append(layer(("etc", tarfile.SYMTYPE, "/tmp")))
    store.put(below.append(through)).extract(Path(directory, "covered"))
    link = os.path.islink(Path(directory, "covered/etc"))
    print("an entry through a link of a layer below; the link still exists:", link)
    assert not link
