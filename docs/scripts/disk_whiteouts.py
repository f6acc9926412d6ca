import os
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit import ns
from img_kubia import base, one_file

COMMAND = "rm /note; rm -r /dir; mkdir /dir; echo new > /dir/new"


def show(upper: Path) -> None:
    for path in sorted(upper.rglob("*")):
        marks = [name for name in os.listxattr(path) if name.endswith("opaque")]
        kind = "device 0/0" if path.is_char_device() else "directory" if path.is_dir() else "file"
        print(f"  {kind:10} /{path.relative_to(upper)}", *marks)


with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    image = store.put(base().append(one_file("note", b"note\n"), one_file("dir/old", b"old\n")))
    with ck.LayerFS(image) as root:
        ck.run(["sh", "-c", COMMAND], ns.User(), ns.Mount(), root, check=True)
        print("the upper directory:")
        show(root.upper)
        layer = root.diff()
    print("the layer:")
    for entry in layer.entries():
        print(f"  {entry.kind:10} {entry.name.decode()}")
    changed = store.put(image.append(layer))
    print("unpacked in a store:")
    show(store.layers(changed)[-1])
    changed.extract(Path(directory, "plain"))
    print("unpacked plain:", sorted(os.listdir(Path(directory, "plain", "dir"))))
