"""The files for name lookup: /etc/resolv.conf, /etc/hosts and /etc/hostname, which end with the program.

Files(tuple(network_files("host", hostname="build")))
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import BuildError
from .files import File

__all__ = ["NAME_FILES", "NETWORKS", "network_files"]

#: The networks that a build may ask for.
NETWORKS = ("default", "host", "none")
#: The paths of the files.
NAME_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname")
LOOPBACK = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback"


def network_files(network: str, hostname: str) -> Iterator[File]:
    """Yield the files of `NAME_FILES`.

    :param network: "none"; or "host" or "default", which use the host's names
    :param hostname: the name of the container
    :raises BuildError: another network
    """
    if network not in NETWORKS:
        raise BuildError(f"a network is one of {', '.join(NETWORKS)}, not {network!r}")
    alone = network == "none"
    hosts = LOOPBACK if alone else _host("/etc/hosts").rstrip(b"\n")
    yield File("/etc/resolv.conf", b"" if alone else _host("/etc/resolv.conf"))
    yield File("/etc/hosts", hosts + f"\n127.0.0.1\t{hostname}\n".encode())
    yield File("/etc/hostname", f"{hostname}\n".encode())


def _host(path: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(path).read_bytes()
    return b""
