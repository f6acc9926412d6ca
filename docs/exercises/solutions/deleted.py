import os
import stat
from pathlib import Path


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return "user.overlay.opaque" in os.listxattr(path, follow_symlinks=False)


def deleted(upper: Path, lower: Path, at: str = "/") -> set[str]:
    found = set()
    here = {path.name: path for path in upper.iterdir()}
    if at != "/" and is_opaque(upper):
        found |= {at + path.name for path in lower.iterdir() if path.name not in here}
    for name, path in here.items():
        if is_whiteout(path):
            found |= {at + name} if os.path.lexists(lower / name) else set()
        elif path.is_dir() and not path.is_symlink() and (lower / name).is_dir():
            found |= deleted(path, lower / name, f"{at}{name}/")
    return found
