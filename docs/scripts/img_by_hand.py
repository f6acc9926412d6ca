import json
import subprocess
import tempfile
from pathlib import Path

from containerkit import mounts, ns
from img_kubia import ask, kubia

with tempfile.TemporaryDirectory() as directory:
    box, root = Path(directory, "kubia"), Path(directory, "root")
    kubia().save(box)  # this directory goes to the other machine; the rest happens there

    def read(descriptor: dict) -> dict:
        return json.loads(blob(descriptor).read_bytes())

    def blob(descriptor: dict) -> Path:
        algorithm, _, digits = descriptor["digest"].partition(":")
        return box / "blobs" / algorithm / digits

    index = json.loads((box / "index.json").read_bytes())
    manifest = read(index["manifests"][0])
    config = read(manifest["config"])
    root.mkdir()
    for layer in manifest["layers"]:
        print(f"tar -xz  {layer['size']:>9} bytes  {layer['digest'][:19]}")
        subprocess.run(["tar", "-xz", "-f", blob(layer), "-C", root], check=True)
    argv = config["config"]["Entrypoint"]
    print("to run: ", argv)
    parts = [ns.User(), ns.Mount(), ns.Pid(), ns.Uts("by-hand"), mounts.Root(root)]
    print("answer: ", ask(argv, *parts).strip())
