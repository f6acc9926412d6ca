import tempfile

import containerkit as ck
from containerkit.registry import Registry
from img_kubia import small
from reg_server import registry

with registry() as server, tempfile.TemporaryDirectory() as directory:
    repository, store = f"{server.host}/lesson/kubia", ck.Store(directory)
    client = Registry(server.host)
    old, new = small(), small(b"console.log('new')\n")
    old.push(f"{repository}:1")
    old.push(f"{repository}:latest")
    new.push(f"{repository}:latest")
    print("repositories:", *client.catalog(), " tags:", *client.tags("lesson/kubia"))
    for name in (":1", ":latest", f"@{old.digest}"):
        image = ck.Image.pull(repository + name, store)
        print(f"{name[:19]:20} {image.digest.short}  {'old' if image == old else 'new'}")
