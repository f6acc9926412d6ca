import re
import tempfile

import containerkit as ck
from img_kubia import kubia
from reg_server import Server, registry

first, second = kubia(), kubia(b"console.log('two')\n")
NAMES = {layer.digest: f"layer-{place}" for place, layer in enumerate(first.layers, 1)}
NAMES |= {second.layers[-1].digest: "new-layer-3", first.id: "config", second.id: "new-config"}


def show(server: Server, what: str) -> None:
    print(f"\n{what}")
    for line in server.asked():
        line = re.sub("sha256(:|%3A)([0-9a-f]+)", lambda d: NAMES[f"sha256:{d[2]}"], line)
        line = re.sub(r"uploads/[^ ]+digest=", "uploads/ID?digest=", line)
        print(f"  {line}")


with registry() as server, tempfile.TemporaryDirectory() as directory:
    repository = f"{server.host}/lesson/kubia"
    first.push(f"{repository}:1")
    show(server, "push:")
    second.push(f"{repository}:2")
    show(server, "push another image, with the same layers below:")
    ck.Image.pull(f"{repository}:1", ck.Store(directory))
    show(server, "pull:")
    ck.Image.pull(f"{repository}:2", ck.Store(directory))
    show(server, "pull the other image:")
