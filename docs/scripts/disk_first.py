import tempfile

import containerkit as ck
from img_kubia import ask, kubia

with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    image = store.put(kubia(), "kubia:1")
    with ck.LayerFS(image) as root:
        parts = ck.sandbox(root, hostname="kubia-1", network=True)
        for step in ck.plan(parts).timeline.steps:
            if "lowerdir" in str(step):
                print(str(step).replace(directory, "STORE")[:70] + "...")
        print("\n" + ask(image.config.command, parts))
    for path in sorted(store.directory.glob("*/*/*")):
        what = path.read_bytes()[:4] if path.is_file() else b""
        kind = "gzip" if what[:2] == b"\x1f\x8b" else "JSON" if what[:1] == b"{" else "directory"
        print(f"{kind:9}  {str(path.relative_to(directory))[:30]}")
    print(store.usage())
