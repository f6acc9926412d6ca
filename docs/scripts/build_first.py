import tempfile

import containerkit as ck
from img_kubia import APP, ask, node

context = APP.parent  # the directory of app.js and a Dockerfile
print((context / "Dockerfile").read_text())

with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    store.put(node(), "node")
    image = ck.Image.build(context, tag="kubia", store=store, progress=print)
    print(f"\n{image}\n")
    with ck.LayerFS(image) as root:
        parts = ck.sandbox(root, hostname="kubia-container", network=True)
        print(ask(image.config.command, parts))
