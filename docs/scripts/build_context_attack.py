import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import base

with tempfile.TemporaryDirectory() as directory:
    secret, context = Path(directory, "secret"), Path(directory, "context")
    secret.write_text("mine\n")
    context.mkdir()
    (context / "link").symlink_to(secret)
    (context / "up").symlink_to("..")
    store = ck.Store(Path(directory, "store"))
    store.put(base(), "base")
    for copy in ("../secret /x", "link /x", "up/secret /x", "link /dir/", ". /all/"):
        text = f"FROM base\nCOPY {copy}\n".encode()
        try:
            image = ck.Image.build(context, dockerfile=text, store=store)
            entries = [e for e in image.layers[-1].entries() if e.kind != "directory"]
            print(f"COPY {copy:13}", *(f"{e.kind} {e.name.decode()}" for e in entries))
        except ck.BuildError as error:
            print(f"COPY {copy:13}", str(error).splitlines()[-1].strip().replace(directory, ""))
