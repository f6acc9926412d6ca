"""Layers that hide each other in every way; unpacking them gives the right answer."""

import io
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import containerkit as ck
from containerkit.image.ids import Ids
from containerkit.image.tar import Entry, Writer

CASES = (
    ([["a", "etc/passwd"], ["etc/hosts"]], ""),
    ([["a", "b"], [".wh.a"]], ""),
    ([["etc/pass", "etc/passwd"], ["etc/.wh.pass"]], ": etc/passwd only begins like etc/pass"),
    ([["etc/conf/x", "etc/y"], ["etc/.wh.conf"]], ": a deleted directory takes all its files with it"),
    ([["d/old", "d/sub/old", "x"], ["d/.wh..wh..opq", "d/new"]], ": d is opaque"),
    ([["d/old"], ["d/new", "d/.wh..wh..opq"]], ": d is opaque, wherever in the layer the mark is"),
    ([["a"], ["a", ".wh.a"]], ": a whiteout affects only the layers below, and this layer has a file of that name"),
    ([["a"], [".wh.a"], ["a"]], ": a later layer made the file again"),
    ([["d/x", "d/y"], ["d"]], ": a file covers a directory"),
    ([["d"], ["d/x"]], ": a directory covers a file"),
    ([["x", "d/y"], [".wh..wh..opq", "z"]], ": the root itself can be opaque"),
    ([["x"], [".wh.never"]], ": a whiteout of a file that does not exist"),
)
NAMES = ("a", "b", "d/a", "d/b", "d/e/a", ".wh.a", ".wh.d", "d/.wh.a", "d/.wh.e", "d/.wh..wh..opq", "d/e/.wh.b")


def check(answer: ModuleType) -> Iterator[str]:
    for layers, why in CASES:
        yield from _compare(answer, layers, why)
    dice = random.Random(8)
    for _ in range(100):
        layers = [dice.sample(NAMES, dice.randrange(1, 5)) for _ in range(dice.randrange(1, 5))]
        if wrong := list(_compare(answer, layers, "")):
            yield wrong[0]
            return


def _compare(answer: ModuleType, layers: list[list[str]], why: str) -> Iterator[str]:
    wanted = _unpacked(layers)
    said = answer.seen([list(layer) for layer in layers])
    if said != wanted:
        yield f"for {layers} your answer is {said or '{}'}, but the right one is {wanted or '{}'}{why}"


def _unpacked(layers: list[list[str]]) -> set[str]:
    with tempfile.TemporaryDirectory() as directory:
        for names in layers:
            tar = bytearray()
            writer = Writer(tar.extend)
            for name in names:
                writer.add(Entry(name.encode()))
            writer.close()
            ck.Layer.from_tar(io.BytesIO(tar), compression="none").unpack_into(directory, ids=Ids.mine())
        return {str(path.relative_to(directory)) for path in Path(directory).rglob("*") if not path.is_dir()}
