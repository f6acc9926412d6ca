"""The initramfs, which the kernel unpacks and starts first: a cpio archive, made in memory.

:see: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
"""

from __future__ import annotations

import lzma
import stat
from pathlib import Path

from .package import Kernel, Missing, tool

HERE = Path(__file__).resolve().parent
#: The modules for the root, the host's files and the disk; the running guest loads all others by itself.
MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay", "virtio_blk", "loop")
DIRECTORIES = ("guest", "modules", "dev", "proc", "sys", "lower", "changes", "root")


def initramfs(kernel: Kernel, command: str) -> bytes:
    """Build the archive.  :param command: a shell script that the guest runs"""
    files = {"init": (HERE / "first").read_bytes(), "guest/second": (HERE / "second").read_bytes(), "guest/command": command.encode()}
    files |= {"guest/busybox": _static_busybox(), "guest/modules": str(kernel.modules).encode()}
    modules = {path.name.removesuffix(".xz"): _plain(path) for path in kernel.files(MODULES)}
    files |= {f"modules/{name}": data for name, data in modules.items()}
    files["modules/order"] = "\n".join(modules).encode()
    entries = [_entry(name, stat.S_IFDIR | 0o755, b"") for name in DIRECTORIES]
    entries += [_entry(name, stat.S_IFREG | 0o755, data) for name, data in files.items()]
    return b"".join([*entries, _entry("TRAILER!!!", 0, b"")])


def _static_busybox() -> bytes:
    data = Path(tool("busybox")).read_bytes()
    if b"/ld-linux" in data:
        raise Missing("needs a static busybox: the package busybox-static")
    return data


def _plain(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """Build the record of one file: a header of hexadecimal numbers, the name, the content, each padded to four bytes."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
