"""A store, which is also a layout: its own gc() finds the right answer."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import containerkit as ck
from containerkit.image.tar import Entry, Writer

REMOVED = (
    ((), "nothing was removed"),
    (("one",), "the image `one` was removed; it shares a layer with `two`"),
    (("both",), "an index of two images was removed; one of them is still named"),
    (("one", "two"), "two images were removed; the index `both` leads to both"),
    (("one", "two", "both"), "three names were removed"),
    (("one", "two", "both", "nested"), "all names but one were removed"),
)


def check(answer: ModuleType) -> Iterator[str]:
    for names, what in REMOVED:
        with tempfile.TemporaryDirectory() as directory:
            store = _store(directory)
            for name in names:
                store.remove(name)
            before = set(store.blobs)
            said = answer.garbage(Path(directory))
            if set(store.blobs) != before:
                yield "your function removed a file: it should only return the digests"
                return
            wanted = {str(digest) for digest in store.gc().blobs}
            if said != wanted:
                yield f"{what}: {len(wanted)} blobs are garbage, and you name {_count(said, wanted)}"
    yield from _damaged(answer)


def _count(said: object, wanted: set[str]) -> str:
    if not isinstance(said, set):
        return repr(said)
    return f"{len(said)}, of which {len(said - wanted)} are still needed or do not exist"


def _layer(name: str) -> ck.Layer:
    tar = bytearray()
    writer = Writer(tar.extend)
    writer.add(Entry(name.encode(), size=4), b"data")
    writer.close()
    return ck.Layer.from_tar(io.BytesIO(tar))


def _store(directory: str) -> ck.Store:
    store = ck.Store(directory)
    base = ck.Image.scratch("linux/amd64").append(_layer("base"))
    images = {"one": base.append(_layer("one")), "two": base.append(_layer("two")).with_platform("linux/arm64")}
    both = ck.Index.of(images.values())
    other = ck.Index.of([ck.Image.scratch("linux/s390x").append(_layer("other")), both])
    for name, each in {**images, "both": both, "nested": other, "last": base}.items():
        store.put(each, name)
    return store


def _damaged(answer: ModuleType) -> Iterator[str]:
    for what in ("manifest", "layer"):
        with tempfile.TemporaryDirectory() as directory:
            store = _store(directory)
            image = store.get("one", "linux/amd64")
            store.remove("nested")
            digest = image.digest if what == "manifest" else image.layers[-1].digest
            Path(store.blobs.path(digest)).unlink()
            try:
                answer.garbage(Path(directory))
            except LookupError:
                if what == "layer":
                    yield "a layer is missing, and you raised a LookupError: a layer leads to no other blob"
            else:
                if what == "manifest":
                    yield "a manifest is missing, and you gave an answer: its blobs cannot be known now, so raise a LookupError"
