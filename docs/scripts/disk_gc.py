import tempfile

import containerkit as ck
from img_kubia import small


def show(store: ck.Store, what: str) -> None:
    used = store.usage()
    named = [name for stored in store.images() for name in stored.familiar]
    print(f"{what:28} {used.blobs} blobs, {used.layers} layers, named {named}")


with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    store.layers(store.put(small(), "kubia:1"))
    store.layers(store.put(small(b"console.log('two')\n"), "kubia:2"))
    show(store, "two images")
    store.tag("kubia:2", "kubia")
    show(store, "one has two names")
    with ck.LayerFS(store.get("kubia:1")) as root:
        store.remove("kubia:1")
        store.gc()
        show(store, "removed, but still in use")
        print(" " * 28, "its app.js is there:", (root.lowers[-1] / "app.js").exists())
    gone = store.gc()
    show(store, "no longer in use")
    print(f"collected: {len(gone.blobs)} blobs, {len(gone.layers)} layer, {gone.bytes} bytes")
