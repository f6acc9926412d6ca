"""Registries: where images are shared.  HTTP by urllib3 (the extra `registry`), all else is ours.

    client  registries                        one registry; many, each with its own settings
    pull  push                                an image in, an image out, and from one registry to another
    remote                                    what a repository has, as blobs
    credentials  login                        who asks
    patience  progress  errors                how long to wait; how far it is; what can go wrong

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
