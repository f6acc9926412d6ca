"""The user that a program of a spec runs as, looked up in the root, and the ids of its user namespace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ..errors import PlanError
from ..layers import merged
from ..layers.accounts import Account, account
from ..layers.layerfs import LayerFS
from ..linux.ids import has_own_ids
from ..parts import mounts, ns
from ..parts.credentials import Credentials
from .errors import refused
from .namespaces import HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from ..core.step import Part
    from .spec import ContainerSpec


def account_of(spec: ContainerSpec, root: LayerFS | mounts.Root) -> Account:
    """Return the user that the spec asks for, as the root calls it.  :raises SpecError: the root has no such user"""
    if spec.user is None:
        return Account(groups=tuple(spec.groups))
    try:
        found = account(spec.user, _reader(spec, root))
    except PlanError as error:
        raise refused("user", error) from None
    return Account(found.uid, found.gid, tuple(sorted({*found.groups, *spec.groups})), found.home)


def _reader(spec: ContainerSpec, root: LayerFS | mounts.Root) -> Callable[[str], bytes | None]:
    uid, _, gid = (spec.user or "").partition(":")
    if uid.isascii() and uid.isdecimal() and gid.isascii() and gid.isdecimal() and not spec.set_home:
        return lambda path: None  # nothing is named
    if isinstance(root, LayerFS):
        return root.read
    layers: list[Path] = [_path(root)]
    return lambda path: merged.read(path, layers)


def _path(root: mounts.Root) -> Path:
    from pathlib import Path

    return Path(os.fsdecode(root.path))


def user_of(spec: ContainerSpec, who: Account) -> ns.User:
    """Return the part for the ids that there are inside."""
    if spec.uids:
        return ns.User(uids=spec.uids, gids=spec.gids)
    if has_own_ids() and spec.ids != "host":
        return ns.User()
    if spec.ids == "subids":
        return ns.subids()
    return ns.User.same() if os.geteuid() == 0 and spec.ids != "single" else ns.User(who.uid, who.gid)


def credentials_of(spec: ContainerSpec, user: ns.User | None, who: Account) -> Iterator[Part]:
    """Yield the part that makes the program one of the ids, unless it has that id anyway.

    Without the part the program is plain root.  Where there is one id only, the program has that one, whichever user the spec
    names; an ordinary caller without a user namespace cannot become another user.
    """
    if (who.uid, who.gid, who.groups) == (0, 0, ()) or (user is not None and _is_one(user)):
        return
    if spec.namespaces.user == HOST and os.geteuid() != 0:
        return
    yield Credentials(who.uid, who.gid, who.groups)


def _is_one(user: ns.User) -> bool:
    uids, _ = user.maps
    return len(uids) == 1 and uids[0][2] == 1
