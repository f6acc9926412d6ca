import tempfile
from pathlib import Path

import containerkit as ck
from img_kubia import base

FILES = {
    "app.js": "the program",
    "notes.md": "private notes",
    "README.md": "public notes",
    ".git/config": "the whole history",
    "node_modules/a/index.js": "files from npm",
    ".dockerignore": "**/*.md\n!README.md\n.git\nnode_modules\n",
    "Dockerfile": "FROM base\nCOPY . /app/\n",
}
with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as context:
    for name, text in FILES.items():
        path = Path(context, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    store = ck.Store(directory)
    store.put(base(), "base")
    image = ck.Image.build(context, store=store)
    for entry in image.layers[-1].entries():
        print(entry.kind, entry.name.decode())
