"""What pyproject.toml cannot say: the C extension, the static helper beside it, and one wheel for every Python from 3.11."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

HELPER = Path("containerkit/libexec/ck-helper")

# The helper has no libc, no interpreter and no position to relocate: one file that any mount namespace can exec.
HELPER_FLAGS = shlex.split(
    "-std=gnu11 -O2 -Wall -Wextra -static -nostdlib -ffreestanding -fno-stack-protector -fno-pic -no-pie"
    " -Wl,--build-id=none -Wl,-z,noexecstack -s -Icsrc"
)


def build_helper(target: Path) -> None:
    """Compile csrc/helper.c to `target` with $CC, so that cross compiling works.  Raises CalledProcessError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler = shlex.split(os.environ.get("CC") or "cc")
    subprocess.run([*compiler, *HELPER_FLAGS, "-o", str(target), "csrc/helper.c"], check=True)


class BuildExt(build_ext):
    """Builds the helper together with the extension."""

    def run(self) -> None:
        """Put the helper where the package is put: into the source tree when installed editable, else into the wheel."""
        super().run()
        build_helper(HELPER if self.inplace or self.editable_mode else Path(self.build_lib) / HELPER)


if __name__ == "__main__":
    setup(
        cffi_modules=["csrc/build_ffi.py:ffibuilder"],
        cmdclass={"build_ext": BuildExt},
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
