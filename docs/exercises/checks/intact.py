"""Images with one fault each."""

import io
import json
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import containerkit as ck
from containerkit.image.tar import Entry, Writer

LARGE = 192 << 20
ROOM = 96 << 20  # bytes of memory: more than a reader in pieces needs, and less than the layer


def check(answer: ModuleType) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        layout = Path(directory, "image")
        image = _image()
        image.save(layout, "one")
        image.append(_layer("more"), history="more").save(layout, "two")
        names = {"the manifest": image.digest, "the config": image.id, "a layer": image.layers[0].digest}
        yield from _compare("nothing was touched", answer.intact(layout), set())
        for what, digest in names.items():
            for how in ("is gone", "has one other bit", "is one byte shorter", "is one byte longer"):
                broken = Path(directory, "broken")
                shutil.copytree(layout, broken)
                _damage(broken / "blobs/sha256" / digest.hex, how)
                yield from _compare(f"{what} {how}", answer.intact(broken), {str(digest)})
                shutil.rmtree(broken)
        other = Path(directory, "other")
        digest = _resized(other, 5)
        yield from _compare("the manifest gives a layer another size than it has", answer.intact(other), {digest})
        yield from _large(answer, Path(directory, "large"))


def _compare(what: str, said: object, wanted: set[str]) -> Iterator[str]:
    if said != wanted:
        yield f"{what}, but your answer is {said or '{}'}"


def _damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= how == "has one other bit"
    path.write_bytes({"is one byte shorter": data[:-1], "is one byte longer": data + b"x"}.get(how, data))
    if how == "is gone":
        path.unlink()


def _layer(name: str) -> ck.Layer:
    tar = bytearray()
    writer = Writer(tar.extend)
    writer.add(Entry(name.encode(), size=4), b"data")
    writer.close()
    return ck.Layer.from_tar(io.BytesIO(tar))


def _image() -> ck.Image:
    return ck.Image.scratch().append(_layer("one"), _layer("two"))


def _resized(layout: Path, size: int) -> str:
    """Save an image whose manifest has a wrong size for its first layer.  Returns the layer's digest."""
    image = _image()
    image.save(layout)
    manifest = json.loads(image.data)
    manifest["layers"][0]["size"] = size
    data = json.dumps(manifest).encode()
    (layout / "blobs/sha256" / ck.Digest.of(data).hex).write_bytes(data)
    entry = {"mediaType": image.media_type, "digest": ck.Digest.of(data), "size": len(data)}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return str(image.layers[0].digest)


def _large(answer: ModuleType, layout: Path) -> Iterator[str]:
    """A layer that is one large hole: it takes no disk space, but much memory if it is read at once."""
    digest = _resized(layout, LARGE)
    with open(layout / "blobs/sha256" / digest.partition(":")[2], "r+b") as file:
        file.truncate(LARGE)
    _, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, hard))
    try:
        said = answer.intact(layout)
    except MemoryError:
        said = None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    if said is None:
        yield f"with {ROOM >> 20} MiB of memory your code could not check a layer of {LARGE >> 20} MiB: read it in pieces"
    else:
        yield from _compare("a large layer has other bytes", said, {digest})
