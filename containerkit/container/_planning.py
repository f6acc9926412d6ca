"""Make a plan from a spec, on this machine and for a root: look the user up, and consider whether the caller is root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..core.plan import Plan, plan
from ..core.step import Part
from ..errors import PlanError
from ..layers.accounts import Account
from ..layers.layerfs import LayerFS
from ..parts import mounts, ns
from ._identity import account_of, credentials_of, user_of
from .errors import SpecError
from .namespaces import HOST, NEW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup import Cgroup
    from ..layers.lowers import Lower
    from ..parts.files import File
    from .spec import ContainerSpec

#: The kernel's filesystems are mounted before the caller's mounts, which may cover them.
BASE = (mounts.Dev, mounts.Sysfs, mounts.Proc)


def plan_of(
    spec: ContainerSpec, root: LayerFS | mounts.Root | Lower, group: Cgroup | None, *,
    more: Iterable[Part], files: Iterable[File], die_with_parent: bool,
) -> Plan:  # fmt: skip
    """Do the work of `ContainerSpec.plan`."""
    layers = _root(spec, root)
    who = account_of(spec, layers)
    env = {"HOME": who.home} | dict(spec.env) if spec.set_home else spec.env
    parts = [*_parts(spec, layers, who, files), *_group(spec, group), *more]
    return plan(*parts, run=spec.argv or None, env=env, cwd=spec.cwd, die_with_parent=die_with_parent)


def _parts(spec: ContainerSpec, root: LayerFS | mounts.Root, who: Account, files: Iterable[File]) -> Iterator[Part]:
    user = user_of(spec, who) if spec.namespaces.user == NEW else None
    base = [each for each in spec.mounts if isinstance(each, BASE)]
    others = [each for each in spec.mounts if not isinstance(each, BASE)]
    yield from _namespaces(spec, user)
    yield from _umask(spec)
    yield root
    yield from base
    yield from spec.profile.parts(proc=spec.namespaces.pid == NEW or any(isinstance(each, mounts.Proc) for each in base))
    yield from credentials_of(spec, user, who)
    yield from _places(spec, files)
    yield from others
    if spec.rlimits.limits:
        yield spec.rlimits


# --- its root and its group ---------------------------------------------------------------------------------------


def _root(spec: ContainerSpec, root: LayerFS | mounts.Root | Lower) -> LayerFS | mounts.Root:
    if not isinstance(root, LayerFS | mounts.Root):
        if not spec.read_only:
            raise SpecError("read_only", "a root that takes changes is an entered LayerFS: with LayerFS(...) as root")
        return LayerFS(root, readonly=True)
    if spec.read_only and not root.readonly:
        raise SpecError("read_only", f"nothing in the root is to change, but {root!r} takes changes: make it readonly=True")
    return root


def _group(spec: ContainerSpec, group: Cgroup | None) -> list[Part]:
    """Return the group, if it has the limits of the spec: no limit that is asked for is passed over."""
    if not spec.limits:
        return [group] if group else []
    from ..cgroup.limits import parse

    if group is None:
        raise SpecError("limits", "limits are those of a group: give the plan a Cgroup(name, **spec.limits)")
    for name, value in parse(spec.limits).items():
        if group.limits.get(name) != value:
            raise SpecError(f"limits.{name}", f"the spec has {value}, the group {group.limits.get(name, 'no such limit')}")
    return [group]


# --- where --------------------------------------------------------------------------------------------------------


def _namespaces(spec: ContainerSpec, user: ns.User | None) -> Iterator[Part]:
    chosen = spec.namespaces
    new: dict[str, Part] = {
        "user": user or ns.User(), "mnt": ns.Mount(), "pid": ns.Pid(init=spec.init), "ipc": ns.Ipc(), "uts": ns.Uts(spec.hostname),
        "cgroup": ns.Cgroup(), "net": ns.Net(),
    }  # fmt: skip
    for kind, part in new.items():
        if (choice := getattr(chosen, kind, NEW)) != HOST:
            yield part if choice == NEW else _joined(kind, choice)


def _joined(kind: str, path: str) -> Part:
    from ..parts.namespace import Namespace

    try:
        found = Namespace.at(path)
    except (OSError, PlanError) as error:
        raise SpecError(f"namespaces.{kind}", f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if found.kind != kind:
        raise SpecError(f"namespaces.{kind}", f"the namespace at {path} is of another kind: {found.kind}")
    return found


def _umask(spec: ContainerSpec) -> Iterator[Part]:
    if spec.umask is not None:
        from ..parts.files import Umask

        yield Umask(spec.umask)


def _places(spec: ContainerSpec, files: Iterable[File]) -> Iterator[Part]:
    """Yield the parts for directories that may be missing, and for files in memory."""
    made = [path for path in dict.fromkeys(spec.directories) if path.strip("/")]
    wanted = [*_name_files(spec), *files]
    if made or wanted:
        from ..parts.files import Directory, Files

        yield from map(Directory, made)
        yield from [Files(tuple(wanted))] if wanted else []


def _name_files(spec: ContainerSpec) -> list[File]:
    """Return /etc/hosts and its like.  In a joined network namespace names are looked up as on the host."""
    if not spec.name_files:
        return []
    from ..parts.name_files import network_files

    others = {getattr(each, "target", None) for each in spec.mounts}
    network = "none" if spec.namespaces.net == NEW else "host"
    return [file for file in network_files(network, spec.hostname or "localhost") if file.target not in others]
