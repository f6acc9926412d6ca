"""The images of chapters 7 to 10."""

import http.client
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import containerkit as ck
from containerkit.image.ids import Ids
from containerkit.image.tar_from_tree import TarOptions

EPOCH = 1_795_000_000  # no time in an image is later, so each run makes the same bytes
os.environ["SOURCE_DATE_EPOCH"] = str(EPOCH)
APP = Path(__file__).parent / "kubia/app.js"
TOOLS = ["sh", "cat", "ls", "mkdir", "rm"]
ROOTS = TarOptions(ids=Ids.mine())  # in an image the files belong to root


def base() -> ck.Image:
    """Return an image with a shell and a few programs of this machine."""
    layer = ck.Layer.from_directory(ck.rootfs.from_programs(TOOLS), form=ROOTS)
    return ck.Image.scratch().append(layer, history="programs of this machine")


def node() -> ck.Image:
    """Return the image that others download as `node`: the base, and node on top."""
    if not shutil.which("node"):
        print("There is no node on this machine.  On Debian: apt-get install nodejs")
        sys.exit()
    trees = [ck.rootfs.from_programs(programs) for programs in (TOOLS, [*TOOLS, "node"])]
    layer = ck.Layer.from_difference(*trees, form=ROOTS)
    return base().append(layer, history="node and its libraries")


def kubia(app: bytes = APP.read_bytes()) -> ck.Image:
    """Return the image of the example: node, one layer with one file, and the command."""
    changed = node().append(one_file("app.js", app), history="ADD app.js /app.js")
    return changed.with_config(entrypoint=["node", "app.js"])


def small(app: bytes = APP.read_bytes()) -> ck.Image:
    """Return the same image without node, quickly, for scripts that run no program in it."""
    changed = base().append(one_file("app.js", app), history="ADD app.js /app.js")
    return changed.with_config(entrypoint=["node", "app.js"])


def one_file(name: str, data: bytes) -> ck.Layer:
    """Return a layer with one file, made as a tar by hand."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.uname, entry.mtime = len(data), "root", EPOCH
        tar.addfile(entry, io.BytesIO(data))
    packed.seek(0)
    return ck.Layer.from_tar(packed)


def ask(argv: Sequence[str], *parts: ck.Part) -> str:
    """Start a server in these parts on a free port, ask it once, and stop it."""
    plan = ck.plan(*parts, run=argv, env={"PORT": "0"}, die_with_parent=True)
    with plan.spawn(stdout=ck.PIPE) as process:
        port = process.stdout.readline().split()[-1]
        server = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        server.request("GET", "/")
        answer = server.getresponse().read().decode()
        server.close()
    return answer


if __name__ == "__main__":
    print(kubia())
