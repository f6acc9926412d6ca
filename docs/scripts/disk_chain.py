import hashlib
import tempfile

import containerkit as ck
from img_kubia import kubia

image = kubia()
chain = ""
for layer in image.layers:
    both = f"{chain} {layer.diff_id}" if chain else ""
    chain = "sha256:" + hashlib.sha256(both.encode()).hexdigest() if both else layer.diff_id
    print(f"diff_id {layer.diff_id[:19]}  chain id {chain[:19]}")
with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    for path in store.layers(store.put(image)):
        print(str(path.relative_to(directory)).replace(path.parent.name[12:], "..."))
