import os
import subprocess
import sys
import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import small


def containerkit(*words: str) -> None:
    print("$ containerkit", *words, flush=True)
    argv = [sys.executable, "-m", "containerkit", "--store", str(place / "store"), *words]
    print(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


with tempfile.TemporaryDirectory() as directory:
    place = Path(directory)
    os.environ["CONTAINERKIT_ROOTFS"] = str(place / "rootfs")
    store = ck.Store(place / "store")
    store.layers(store.put(small(), "kubia:1"))
    store.put(small(b"console.log('two')\n"), "kubia:2")
    store.remove("kubia:2")
    del store
    containerkit("system", "df")
    containerkit("gc")
    containerkit("system", "df")
