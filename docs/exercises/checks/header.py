"""A header that Python, containerkit and GNU tar must be able to read."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from types import ModuleType

import containerkit as ck
from containerkit.image.tar import Reader

CASES = (("app.js", 348, 0o644), ("bin/tool", 10, 0o4755), ("grüße" * 14, 0, 0o600), ("n" * 100, 513, 0o644), ("zeros", 3, 0))


def check(answer: ModuleType) -> Iterator[str]:
    for name, size, mode in CASES:
        block = answer.header(name, size, mode)
        if not isinstance(block, bytes) or len(block) != 512:
            yield f"header({name!r}, ...) does not return 512 bytes"
            return
        yield from _read(block, name, size, mode)
    try:
        answer.header("ü" * 51, 0, 0o644)
        yield "a name of 51 characters that are 102 bytes should be a ValueError: the field has 100 bytes"
    except ValueError:
        pass


def _read(block: bytes, name: str, size: int, mode: int) -> Iterator[str]:
    tar = block + b"x" * size + bytes(-size % 512) + bytes(1024)
    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as reader:
            found = reader.getmembers()
    except tarfile.TarError as error:
        yield f"Python's tarfile does not read header({name!r}, ...): {error}; is the checksum that of the header with spaces in its field?"
        return
    if [(entry.name, entry.size, entry.mode) for entry in found] != [(name, size, mode)]:
        yield f"Python's tarfile reads header({name!r}, {size}, {mode:#o}) as {[(e.name, e.size, oct(e.mode)) for e in found]}"
    if [entry for entry in found if not entry.isfile()]:
        yield f"header({name!r}, ...) is no header of a file: its type is '0'"
    if block[257:265] != b"ustar\x0000":
        yield '"ustar", a zero byte and "00" are missing: readers expect the older form then'
    if (said := [block[at : at + 8] for at in (108, 116)]) != [b"0000000\0"] * 2:
        yield f"owner and group are root, number 0, and you wrote {said}: seven digits and a zero byte"
    try:
        list(Reader(io.BytesIO(tar)))
    except ck.ImageError as error:
        yield f"containerkit cannot read the header: {error}"
    gnu = subprocess.run(["tar", "-tf", "-"], input=tar, capture_output=True, check=False)
    if gnu.returncode:
        yield f"GNU tar cannot read the header: {gnu.stderr.decode().strip()}"
