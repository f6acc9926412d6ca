"""Registries: servers that share images.  urllib3 (the extra `registry`) speaks HTTP; the rest is this package's own.

    client  registries                        one registry; many, each with its own settings
    pull  push                                from a registry, to a registry, and from one registry to another
    remote                                    the blobs of a repository
    credentials  login                        user names and passwords
    patience  progress  errors                timeouts and retries; reports of progress; errors

:see: https://github.com/opencontainers/distribution-spec
"""

from __future__ import annotations

from .client import Registry
from .credentials import Login
from .errors import RegistryError
from .login import login, logout
from .patience import Retries, Timeouts
from .progress import Progress
from .pull import pull
from .push import copy, push
from .registries import Registries
from .remote import RemoteBlobs

__all__ = [
    "Login", "Progress", "Registries", "Registry", "RegistryError", "RemoteBlobs", "Retries", "Timeouts", "copy",
    "login", "logout", "pull", "push",
]  # fmt: skip
