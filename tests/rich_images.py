"""An image in three layers with an example of every kind of file and change, and the trees it shows.

image = rich(directory)                     # base, a change of it, a change of that
image = rich(directory, compression="zstd")
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
from pathlib import Path

from containerkit.image.config import ImageConfig
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.platform import Platform

WRITTEN = 1_600_000_000  # when files were, in seconds since 1970
CAPABLE = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep, as vfs_cap_data


def rich(directory: Path, *, compression: str = "gzip", platform: Platform | None = None) -> Image:
    """Make the image.  Needs root.  `directory` is made; afterwards `shown(directory)` is the tree that the image must show."""
    config = ImageConfig(platform=platform or Platform.here(), cmd=("sh",), env=("A=b",), labels={"a": "b"}, user="7:8")
    image, below = Image.of(config), directory / "nothing"
    below.mkdir(parents=True)
    for change in STEPS:
        tree = directory / change.__name__
        subprocess.run(["cp", "-a", below, tree], check=True)
        change(tree)
        layer = Layer.from_difference(below, tree, compression=compression)
        image, below = image.append(layer, history=f"the {change.__name__} layer"), tree
    return image


def shown(directory: Path) -> Path:
    return directory / STEPS[-1].__name__


def first(tree: Path) -> None:
    """Write modes, owners, attributes, links, a device, a fifo, odd names, a hole and times."""
    for name in ("bin", "etc", "gone/below", "opaque/old", "sticky"):
        (tree / name).mkdir(parents=True)
    for name in ("bin/su", "bin/ping", "etc/name", "etc/removed", "gone/below/file", "opaque/old/file", "opaque/file", "n" * 120):
        (tree / name).write_text(name)
    for name, mode, owner in (("bin/su", 0o4755, 0), ("etc/name", 0o640, 7), ("sticky", 0o3777, 8)):
        os.chown(tree / name, owner, owner)
        (tree / name).chmod(mode)
    os.setxattr(tree / "bin/ping", "security.capability", CAPABLE)
    os.setxattr(tree / "etc/name", "user.note", b"\0\xff")
    os.link(tree / "bin/su", tree / "bin/again")
    (tree / "link").symlink_to("../../etc/name")
    os.lchown(tree / "link", 5, 6)
    os.mkfifo(tree / "fifo", 0o600)
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (tree / "caf\u00e9 blank").write_bytes(bytes(range(256)) * 300)
    with (tree / "hole").open("wb") as file:
        file.truncate(1_000_000)
        os.pwrite(file.fileno(), b"data", 500_000)
    for path in sorted(tree.rglob("*"), reverse=True):
        os.utime(path, (WRITTEN, WRITTEN), follow_symlinks=False)


def second(tree: Path) -> None:
    """Delete, replace and change files."""
    shutil.rmtree(tree / "gone")
    (tree / "etc/removed").unlink()
    shutil.rmtree(tree / "opaque")
    (tree / "opaque").mkdir()
    (tree / "opaque/new").write_text("new")
    (tree / "link").unlink()
    (tree / "link").mkdir()
    (tree / "etc/name").chmod(0o444)
    (tree / "sticky/in").symlink_to("/nowhere")
    for name in ("opaque/new", "opaque", "link", "etc", "sticky/in", "sticky", "."):
        os.utime(tree / name, (WRITTEN + 10, WRITTEN + 10), follow_symlinks=False)


def third(tree: Path) -> None:
    """Make a deleted name again, and a hard link to a file of a layer below."""
    (tree / "gone").write_text("back")
    os.link(tree / "opaque/new", tree / "hard")
    (tree / "fifo").unlink()
    for name in ("gone", "."):
        os.utime(tree / name, (WRITTEN + 20, WRITTEN + 20))


STEPS = (first, second, third)
