import tempfile

import containerkit as ck
from img_kubia import kubia, node


def mega(size: int) -> str:
    return f"{size / 1e6:6.1f} MB"


images = {"node": node(), "kubia:1": kubia(), "kubia:2": kubia(b"console.log('two')\n")}
with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    for name, image in images.items():
        store.layers(store.put(image, name))
        used = store.usage()
        print(
            f"{name:8} {len(image.layers)} layers, {mega(image.size)}", end="      in the store: "
        )
        print(f"{used.layers} layers, {mega(used.blob_bytes)}, unpacked {mega(used.layer_bytes)}")
print("together", " " * 9, mega(sum(image.size for image in images.values())))
