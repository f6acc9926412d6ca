"""The values that limits take: sizes, lists of numbers, devices.  Each parser turns a person's text into the kernel's.

A wrong value is a PlanError, raised before anything is made.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ..base.frozen import frozen
from ..errors import PlanError

MAX: Literal["max"] = "max"
Size = int | Literal["max"]
UNITS = {unit: 1 << (10 * power) for power, unit in enumerate("BKMGTPE")}
LARGEST = (1 << 63) - 1
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([BKMGTPE]?)(?:iB|B)?", re.IGNORECASE)


def size(value: Any) -> Size:
    """Parse bytes: an int, "64M" (powers of 1024), or "max"."""
    found = SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        value = int(float(found[1]) * UNITS[found[2].upper() or "B"]) if "." in found[1] else int(found[1]) * UNITS[found[2].upper() or "B"]
    return count(value, what='a size in bytes, as 67108864, "64M" or "max"')


def count(value: Any, *, least: int = 0, most: int = LARGEST, what: str = 'a whole number or "max"') -> Size:
    """Parse a number from `least` to `most`; "max" too, unless `most` is given."""
    if value == MAX and most == LARGEST:
        return MAX
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        span = f" from {least} to {most}" if most != LARGEST else ""
        raise PlanError(f"not {what}{span}: {value!r}")
    return value


def flag(value: Any) -> int:
    """Return 1 or 0 for True or False."""
    if value not in (0, 1):
        raise PlanError(f"not True or False: {value!r}")
    return int(value)


def numbers(value: Any, possible: str) -> str:
    """Parse a list of CPUs or memory nodes: "0-3,7", or the numbers.

    :param possible: the file that lists those that this machine can have
    """
    wanted = _listed(value) if isinstance(value, str) else set(_ints(value))
    if not wanted:
        raise PlanError(f"an empty list of numbers: {value!r}")
    try:
        with open(possible, encoding="ascii") as file:
            known = _listed(file.read().strip())
    except OSError:
        known = wanted
    if missing := wanted - known:
        raise PlanError(f"this machine cannot have number {min(missing)}: it has {_ranges(known)} ({possible})")
    return _ranges(wanted)


def _ints(value: Any) -> Iterable[int]:
    items = list(value) if isinstance(value, Iterable) else [value]
    return [int(count(item, most=1 << 16, what="a number of a CPU or node")) for item in items]


def _listed(text: str) -> set[int]:
    found: set[int] = set()
    for piece in text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", piece)
        if not ends or int(ends[2] or ends[1]) < int(ends[1]):
            raise PlanError(f'not a list of numbers like "0-3,7": {text!r}')
        found.update(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return found


def _ranges(wanted: set[int]) -> str:
    """Format {0, 1, 2, 5} as "0-2,5"."""
    runs: list[list[int]] = []
    for number in sorted(wanted):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def disk(value: str | os.PathLike[str]) -> str:
    """Return the "major:minor" of a whole disk, named by numbers, by a device, or by any path on it.  A partition stands for its disk.

    :raises PlanError: no such path, or a path on a filesystem without a disk
    """
    text = os.fsdecode(value)
    if re.fullmatch(r"\d+:\d+", text):
        return text
    try:
        status = os.stat(text)
    except (OSError, ValueError) as error:
        raise PlanError(f'neither a device like "8:0" nor a path: {text!r} ({error})') from error
    device = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
    found = f"{os.major(device)}:{os.minor(device)}"
    node = f"/sys/dev/block/{found}"
    if not os.path.exists(node):
        raise PlanError(f"{text} lies on no block device (its device is {found}): name the disk")
    if os.path.exists(f"{node}/partition"):
        with open(f"{os.path.realpath(node)}/../dev", encoding="ascii") as file:
            return file.read().strip()
    return found


def keyed(value: Any, key: Any, item: Any) -> dict[str, Any]:
    """Parse both sides of a mapping."""
    if not isinstance(value, Mapping) or not value:
        raise PlanError(f"not a mapping of names to values: {value!r}")
    return {key(k): item(v) for k, v in value.items()}


def word(value: Any) -> str:
    """Return a name that fits into a line for the kernel: no space, no newline."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w.:-]+", value):
        raise PlanError(f"not a name: {value!r}")
    return value


@frozen
class DeviceRule:
    """One line of an allow list: ``c 1:3 rwm``.

    :ivar kind: "c" for character, "b" for block, "a" for both
    :ivar major, minor: numbers, or None for any
    :ivar access: of "r" read, "w" write, "m" mknod
    """

    kind: str
    major: int | None
    minor: int | None
    access: str = "rwm"

    @classmethod
    def parse(cls, value: Any) -> DeviceRule:
        """Parse ``c 1:3 rw``, or the path of a device, as ``/dev/null rw``."""
        if isinstance(value, DeviceRule):
            return value
        text = os.fspath(value) if isinstance(value, str | os.PathLike) else repr(value)
        found = re.fullmatch(r"([abc]) (\d+|\*):(\d+|\*)(?: ([rwm]{1,3}))?", text)
        if found:
            major, minor = (None if n == "*" else int(n) for n in found.group(2, 3))
            return cls(found[1], major, minor, found[4] or "rwm")
        path, _, access = text.partition(" ")
        if not path.startswith("/") or not re.fullmatch(r"[rwm]{0,3}", access):
            raise PlanError(f'not a rule for devices like "c 1:3 rwm" or "/dev/null rw": {value!r}')
        return cls._of(path, access or "rwm")

    @classmethod
    def _of(cls, path: str, access: str) -> DeviceRule:
        try:
            status = os.stat(path)
        except OSError as error:
            raise PlanError(f"no device {path}: {error.strerror}") from error
        if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            raise PlanError(f"{path} is not a device")
        return cls("c" if stat.S_ISCHR(status.st_mode) else "b", os.major(status.st_rdev), os.minor(status.st_rdev), access)

    def __str__(self) -> str:
        major, minor = ("*" if n is None else n for n in (self.major, self.minor))
        return f"{self.kind} {major}:{minor} {self.access}"
