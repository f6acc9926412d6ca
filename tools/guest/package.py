"""Kernels, as Debian packages: downloaded by name and unpacked below build/guest, never installed."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CACHE = REPO / "build" / "guest"
#: Kernel series -> the package that depends on its newest build.
KERNELS = {"6.12": "linux-image-6.12-cloud-amd64", "6.1": "linux-image-6.1-cloud-amd64"}
#: The package of the series that Debian's release itself uses: its name has no number.
PLAIN = "linux-image-cloud-amd64"


class Missing(Exception):
    """A guest needs something that is not available here: a reason to skip."""


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel.

    :ivar release: the output of `uname -r` under this kernel
    :ivar root: the directory that holds boot/ and lib/modules/
    """

    release: str
    root: Path

    @property
    def image(self) -> Path:
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.root / "lib" / "modules"

    def files(self, names: Sequence[str]) -> list[Path]:
        """Return the files of these modules and of all they depend on, in an order in which they load."""
        found: dict[Path, None] = {}
        for name in names:
            for line in run("modprobe", "-d", str(self.root), "-S", self.release, "-D", name).splitlines():
                if line.startswith("insmod "):
                    found[Path(line.split()[1])] = None
        return list(found)


def tool(*names: str) -> str:
    """Return the path of the first installed of these programs.  :raises Missing: none is installed"""
    for name in names:
        if path := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
            return path
    raise Missing(f"needs {names[0]}")


def run(program: str, *args: str, cwd: Path | None = None) -> str:
    """Return the output of a program.  :raises Missing: it is not installed, or fails"""
    done = subprocess.run([tool(program), *args], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"{program} {' '.join(args)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def fetch(series: str) -> Kernel:
    """Return the kernel of a series, downloaded if necessary.  :raises Missing: it cannot be downloaded"""
    if platform.machine() != "x86_64":
        raise Missing(f"guests run on x86_64, and this is {platform.machine()}")
    place = CACHE / series
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _unpack(series, place)
    image = next((place / "boot").glob("vmlinuz-*"))
    return Kernel(image.name.removeprefix("vmlinuz-"), place)


def _unpack(series: str, place: Path) -> None:
    """Unpack a kernel into a temporary directory, and rename it to `place` at the end."""
    begun = place.with_name(f"{series}.begun")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    package = _download(series, begun)
    run("dpkg", "-x", str(package), str(begun))
    package.unlink()
    run("depmod", "-b", str(begun), next((begun / "lib/modules").iterdir()).name)
    begun.rename(place)


def _download(series: str, where: Path) -> Path:
    """Download a package, after fetching the lists of packages if they are missing or out of date."""
    try:
        return _get(series, where)
    except Missing:
        run("apt-get", "update", "-q")
        return _get(series, where)


def _get(series: str, where: Path) -> Path:
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", _named(series), cwd=where)
    return next(where.glob("*.deb"))


def _named(series: str) -> str:
    """Return the name of the package with the kernel itself."""
    for package in (KERNELS[series], PLAIN):
        depends = run("apt-cache", "depends", package) if run("apt-cache", "search", "--names-only", f"^{package}$") else ""
        if found := re.search(rf"Depends: (linux-image-{re.escape(series)}\.\S+)", depends):
            return found[1]
    raise Missing(f"no Debian package with a Linux {series} for clouds")
