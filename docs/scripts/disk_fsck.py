import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import base, one_file


def report(store: ck.Store, repair: bool = False) -> None:
    for problem in store.fsck(repair=repair) or ["no fault"]:
        words = str(problem)
        print(" ", *(word[:19] + "..." if len(word) > 60 else word for word in words.split()))


app = base().append(one_file("app.js", b"console.log('mine')\n"))
with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    image = store.put(app, "app:1")
    layers = store.layers(image)
    report(store)
    Path(layers[-1], "app.js").write_text("console.log('all mine');\n")
    blob = Path(store.blobs.path(image.layers[0].digest))
    with open(blob, "r+b") as file:
        file.write(b"junk")
    print("after two faults:")
    report(store, repair=True)
    print("after a repair:")
    report(store)
    store.put(app, "app:1")
    print("put again:")
    report(store)
