"""Containers that delete files in several ways."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import containerkit as ck
from containerkit import ns

CASES = (
    ("rm /box/a", {"/box/a"}, ""),
    ("rm /box/a; echo again > /box/a", set(), ": the file was written again"),
    ("rm -r /box", {"/box"}, ": for a deleted directory return only the directory"),
    ("rm -r /box; mkdir /box; echo new > /box/a", {"/box/b", "/box/sub"}, ": the new directory is opaque, which hides the files below"),
    ("rm -r /mnt", set(), ": /mnt is not in `lower` but in another layer below"),
    ("rm -r /box/sub /box/b; mkdir /box/sub", {"/box/b", "/box/sub/c"}, ": an opaque directory inside another one"),
)  # fmt: skip


def check(answer: ModuleType) -> Iterator[str]:
    base = ck.rootfs.from_programs(["sh", "rm", "mkdir"])
    with tempfile.TemporaryDirectory() as directory:
        lower = Path(directory)
        (lower / "box/sub").mkdir(parents=True)
        for name in ("a", "b", "sub/c"):
            (lower / "box" / name).touch()
        for command, wanted, why in CASES:
            with ck.LayerFS(base, lower) as root:
                ck.run(
                    ["/bin/sh", "-c", command],
                    ns.User(),
                    ns.Mount(),
                    root,
                    env={"PATH": "/usr/bin:/bin"},
                    check=True,
                )
                said = answer.deleted(root.upper, lower)
            if said != wanted:
                yield f"after `{command}` your answer is {said or '{}'}, but the right one is {wanted or '{}'}{why}"
