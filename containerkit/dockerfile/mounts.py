"""The mounts of RUN --mount=.

:see: https://docs.docker.com/reference/dockerfile/#run---mount
"""

from __future__ import annotations

from typing import ClassVar

from ..base.frozen import field, frozen
from .words import NOWHERE, Where

__all__ = ["Bind", "Cache", "Mount", "Secret", "Ssh", "Tmpfs", "Unexpanded"]


@frozen(kw_only=True)
class Mount:
    """One mount of one RUN.

    :param target: the path of the mount; "" for the default path of a secret or socket
    :param from_: a stage or an image; "" for the context, and for a mount without files of either
    """

    type: ClassVar[str] = ""
    target: str = ""
    from_: str = ""
    where: Where = field(default=NOWHERE, compare=False, repr=False)


@frozen(kw_only=True)
class Unexpanded(Mount):
    """A mount whose options contain variables.  `Run.expand` turns it into one of the other classes.

    :param text: the options as written
    """

    text: str


@frozen(kw_only=True)
class Bind(Mount):
    """A directory or file of the context, a stage or an image.

    :param source: the path in the context, stage or image
    :param readonly: False lets RUN write; its changes are thrown away afterwards
    """

    type: ClassVar[str] = "bind"
    source: str = ""
    readonly: bool = True


@frozen(kw_only=True)
class Cache(Mount):
    """A directory that stays from build to build, in no layer.

    :param id: the cache's name; "" for `target` as the name
    :param source: the path in `from_` of the cache's first content
    :param sharing: "shared" by many at once, "private" for each, or "locked" while in use
    :param uid, gid, mode: of the directory when it is new; None for 0, 0 and 0o755
    """

    type: ClassVar[str] = "cache"
    id: str = ""
    source: str = ""
    readonly: bool = False
    sharing: str = "shared"
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


@frozen(kw_only=True)
class Tmpfs(Mount):
    """An empty directory in memory.

    :param size: bytes at most; 0 for no limit
    """

    type: ClassVar[str] = "tmpfs"
    size: int = 0


@frozen(kw_only=True)
class Secret(Mount):
    """A secret that the caller gives to the build, in no layer.

    :param id: its name; "" for the last part of `target`
    :param target: the path of the file; "" for /run/secrets/ID, or for no file if there is `env`
    :param env: the variable that holds the secret, or ""
    :param required: whether a secret that the caller does not give is an error
    :param uid, gid, mode: of the file; None for 0, 0 and 0o400
    """

    type: ClassVar[str] = "secret"
    id: str = ""
    env: str = ""
    required: bool = False
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


@frozen(kw_only=True)
class Ssh(Mount):
    """The socket of an ssh agent.

    :param id: the agent's name; "" for "default"
    :param required: whether a missing agent is an error
    :param uid, gid, mode: of the socket; None for 0, 0 and 0o600
    """

    type: ClassVar[str] = "ssh"
    id: str = ""
    required: bool = False
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
