"""Three builds of the recipe, and a search through every layer."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import containerkit as ck
from containerkit.builder import Event
from containerkit.image.ids import Ids
from containerkit.image.tar_from_tree import TarOptions

TOKEN = b"correct horse battery staple"
INSTALL = """set -e
cat /run/secrets/token > /dev/null
mkdir -p /tmp/rubbish
cat package.json > /tmp/rubbish/copy
cat package.json > installed
echo "install was run"
"""
FILES = {"app.js": "one\n", "package.json": "a, b\n", "install": INSTALL, "token": TOKEN.decode()}


def check(answer: ModuleType) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        store, context = ck.Store(Path(directory, "store")), Path(directory, "context")
        root = ck.rootfs.from_programs(["sh", "cat", "ls", "mkdir", "rm"])
        base = ck.Image.scratch().append(ck.Layer.from_directory(root, form=TarOptions(ids=Ids.mine())))
        store.put(base, "base")
        context.mkdir()
        for name, text in FILES.items():
            (context / name).write_text(text)
        text = answer.recipe().encode()
        try:
            image, ran = _build(store, context, text)
            yield from _look(store, image)
            (context / "app.js").write_text("two\n")
            image, again = _build(store, context, text)
            yield from [] if ran else ["`install` was not run"]
            yield from (["app.js changed, and `install` was run again: instructions before it must not depend on app.js"] if again else [])
            if _read(image, "/app/app.js") != b"two\n":
                yield "app.js changed, and /app/app.js is still the old one"
            (context / "package.json").write_text("c\n")
            if not _build(store, context, text)[1]:
                yield "package.json changed, and `install` was not run"
        except ck.BuildError as error:
            yield f"the image cannot be built: {error}"


def _build(store: ck.Store, context: Path, text: bytes) -> tuple[ck.Image, bool]:
    said: list[bytes] = []

    def hear(event: Event) -> None:
        said.append(event.data)

    image = ck.Image.build(context, dockerfile=text, store=store, secrets={"token": TOKEN}, progress=hear)
    return image, b"install was run" in b"".join(said)


def _read(image: ck.Image, path: str) -> bytes | None:
    with ck.LayerFS(image) as root:
        try:
            return root.read(path)
        except (LookupError, OSError):
            return None


def _look(store: ck.Store, image: ck.Image) -> Iterator[str]:
    for name, wanted in (("app.js", "one\n"), ("package.json", "a, b\n"), ("installed", "a, b\n")):
        if (found := _read(image, f"/app/{name}")) != wanted.encode():
            yield f"/app/{name} {'does not exist' if found is None else f'is {found!r}'}"
    if TOKEN in image.config_data:
        yield "the token is in the config of the image, where every owner can read it"
    for number, layer in enumerate(image.layers, 1):
        with layer.uncompressed() as tar:
            data = b"".join(iter(lambda: tar.read(1 << 20), b""))
        if TOKEN in data:
            yield f"the token is in layer {number}: a later layer cannot remove it"
        if any(b"rubbish/" in entry.name for entry in layer.entries()):
            yield f"the rubbish is in layer {number}: remove it in the RUN that makes it"
    if image.config.command != ("cat", "/app/app.js"):
        yield f"the command is {image.config.command}: write it as a JSON list, so that no shell runs"
    if image.config.user.partition(":")[0] != "1000":
        yield f"the user is {image.config.user or 'root'!r}, not 1000"
