import shutil
import tempfile
from pathlib import Path

import containerkit as ck
from containerkit.builder import Event
from img_kubia import APP, base

DOCKERFILE = """FROM base
WORKDIR /app
COPY package.json .
RUN echo "installing what $(cat package.json) needs" > installed
COPY . .
"""


def build(context: Path, store: ck.Store, what: str) -> None:
    states = {}

    def note(event: Event) -> None:
        states[event.name] = event.state

    image = ck.Image.build(context, store=store, progress=note)
    print(f"{what}: {image.digest.short}")
    for name, state in states.items():
        print(f"  {state:7} {name[:40]}")


with tempfile.TemporaryDirectory() as directory:
    store, context = ck.Store(Path(directory, "store")), Path(directory, "context")
    store.put(base(), "base")
    context.mkdir()
    shutil.copy(APP, context)
    (context / "package.json").write_text("kubia\n")
    (context / "Dockerfile").write_text(DOCKERFILE)
    build(context, store, "for the first time")
    (context / "app.js").touch()
    build(context, store, "app.js has another date")
    (context / "app.js").write_text("console.log('two')\n")
    build(context, store, "app.js is another file")
    (context / "package.json").write_text("kubia, and more\n")
    build(context, store, "package.json is another file")
