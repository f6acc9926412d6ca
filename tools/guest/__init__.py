"""A virtual machine with another kernel, for tests that this machine's own kernel does not allow.

    PYTHONPATH=tools python -m guest --kernel 6.1 -- uname -a

It runs Debian's cloud kernels under QEMU's software emulation, which needs no KVM.  Its root is this machine's, read-only,
with memory on top that takes the changes; cgroup v2 has every controller; TMPDIR is memory; /dev/vda is an empty disk.

    package.py   fetches a kernel and unpacks it; nothing is installed
    archive.py   the first programs the kernel runs: an initramfs of busybox, modules and the two scripts
    machine.py   boots, streams what the command prints, returns its exit code
    first        /init: mounts the root
    second       process 1 after that: runs the command, then turns the machine off
"""

from .machine import Died, Machine, TimedOut
from .package import KERNELS, Missing

__all__ = ["KERNELS", "Died", "Machine", "Missing", "TimedOut"]
