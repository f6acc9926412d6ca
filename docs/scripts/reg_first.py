import tempfile

import containerkit as ck
from img_kubia import ask, kubia
from reg_server import registry  # the real registry: see the end of the chapter

with registry() as server, tempfile.TemporaryDirectory() as elsewhere:
    name = f"{server.host}/lesson/kubia:1"
    kubia().push(name)

    store = ck.Store(elsewhere)  # the store of another machine
    image = ck.Image.pull(name, store)
    with ck.LayerFS(image) as root:
        parts = ck.sandbox(root, hostname="elsewhere", network=True)
        print(ask(image.config.command, parts))
    print("the same image:", image == kubia())
