"""A container's spec, a value: the program, its root, its user and its isolation.

    spec = ContainerSpec(["sh", "-c", "id"], user="web", limits={"pids_max": 32}, mounts=(mounts.Dev(), mounts.Tmpfs("/tmp")))
    spec = ContainerSpec.from_image(image.config)   from an image
    data = spec.dump()                              JSON, for a file
    ContainerSpec.parse(data) == spec
    spec.with_(hostname="other")                    the same but for a field
    print(spec.plan(root, group))                   the plan, for a LayerFS and a Cgroup

Making one opens nothing and looks at nothing: the limits of this machine, the ids of "web" in the root, and whether the caller
is root count when the plan is made.  The command line, RUN of a build and `ck.sandbox` make their parts from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from signal import SIGTERM

from ..base.frozen import field, fields, frozen, replace
from ..parts import mounts
from ..parts.rlimits import Rlimits
from . import _fields
from ._checks import settle, shown
from .errors import SpecError
from .namespaces import HOST, NEW, Namespaces
from .profile import Profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from ..cgroup import Cgroup as Group  # ns.Cgroup is another class of that name
    from ..core.plan import Plan
    from ..core.step import Part
    from ..image.config import ImageConfig
    from ..layers.layerfs import LayerFS
    from ..layers.lowers import Lower
    from ..linux.ids import Range
    from ..parts.files import File

    Root = LayerFS | mounts.Root | Lower
    Ids = Literal["own", "single", "subids", "host"]

__all__ = ["ContainerSpec"]

Mounted = mounts.Bind | mounts.Tmpfs | mounts.Dev | mounts.Sysfs | mounts.Proc | mounts.Mqueue | mounts.Devpts
NAMESPACES, PROFILE, RLIMITS, MOUNTS = Namespaces(), Profile(), Rlimits(), (mounts.Dev(), mounts.Sysfs())


@frozen(repr=False, kw_only=True)
class ContainerSpec:
    """The description of a container: its program, its root and its isolation.

    :param argv: the program and its arguments; with none, the plan is a part of another one
    :param env: the environment, without the variable that `set_home` adds
    :param cwd: the directory where the program starts, inside; / unless given
    :param image: the name or the digest of the image that the root is made of, for code that makes the root
    :param rootfs: the directories that the root is made of, the lowest first, where it is no image
    :param read_only: nothing in the root changes
    :param user: the program's user, as in an image's config: ``web``, ``33``, ``web:staff``, ``33:50``, "" for root; looked up in
        the root when the plan is made.  None leaves the program the ids that it has anyway: root's in a user namespace
    :param groups: supplementary groups, besides those that the root gives the user
    :param set_home: HOME is the user's home in the root, unless `env` has one
    :param ids: the ids of a new user namespace.  "own": ids that no user outside has, where root of the machine makes the plan; all
        ids, where root of another user namespace does; else the caller's one id.  "single": the same, but one id also for
        root of another user namespace.  "subids": the range that /etc/subuid gives an ordinary user.  "host": the ids are those outside
    :param uids, gids: ranges (inside, outside, count) instead; both or neither
    :param namespaces: which namespaces are new, the caller's, or joined
    :param hostname: the name in a UTS namespace of its own, and in the files of `name_files`
    :param mounts: values of `containerkit.mounts`: Bind, Tmpfs, Dev, Sysfs, Proc, Mqueue, Devpts.  A device is a Bind of its node
    :param directories: directories that are made where the root lacks them
    :param name_files: /etc/hosts, /etc/hostname and /etc/resolv.conf of its own, in memory, unless `mounts` has others
    :param umask: the permissions that new files do not get; the caller's unless given
    :param profile: the capabilities, calls and paths that the program is denied
    :param limits: the limits of its control group, as `Cgroup` takes them
    :param rlimits: the limits of each of its processes
    :param init: a small process 1 that passes signals on and reaps
    :param terminal: whether the program has a terminal
    :param interactive: whether its standard input is open
    :param stop_signal: the signal that asks it to end: a number, or a name as "SIGQUIT"
    :param stop_timeout: seconds that it has then; None for ever
    :param labels, annotations: text by name, which changes nothing; annotations are those of the OCI runtime specification
    :raises SpecError: a field has an impossible value, or contradicts another one; the error names it
    """

    argv: Sequence[str] = field(default=(), kw_only=False)
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    image: str = ""
    rootfs: Sequence[str] = ()
    read_only: bool = False
    user: str | None = None
    groups: Sequence[int] = ()
    set_home: bool = False
    ids: Ids = "own"
    uids: Sequence[Range] = ()
    gids: Sequence[Range] = ()
    namespaces: Namespaces = NAMESPACES
    hostname: str | None = None
    mounts: Sequence[Mounted] = MOUNTS
    directories: Sequence[str] = ()
    name_files: bool = False
    umask: int | None = None
    profile: Profile = PROFILE
    limits: Mapping[str, Any] = field(default_factory=dict)
    rlimits: Rlimits = RLIMITS
    init: bool = False
    terminal: bool = False
    interactive: bool = False
    stop_signal: int = int(SIGTERM)
    stop_timeout: float | None = 10
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle(self, _fields.CHECKS)
        if bool(self.uids) != bool(self.gids):
            raise SpecError("gids" if self.uids else "uids", "map ranges of both users and groups, or of neither")
        if self.image and self.rootfs:
            raise SpecError("rootfs", f"the root is that of the image {self.image!r}, or of directories, not both")
        if self.namespaces.net == HOST and self.namespaces.user == NEW and any(isinstance(each, mounts.Sysfs) for each in self.mounts):
            text = "a new sysfs belongs to those that own the network: leave it out, or give the container a network namespace"
            raise SpecError("mounts", text)

    def __repr__(self) -> str:
        return shown(self, secret="env")  # the environment may hold passwords

    @classmethod
    def from_image(
        cls, config: ImageConfig, argv: Sequence[str] = (), *, image: str = "", entrypoint: str | None = None,
        hostname: str = "container", env: Mapping[str, str] | None = None, term: str | None = None, **others: Any,
    ) -> ContainerSpec:  # fmt: skip
        """Make a spec from an image's config, where the caller's arguments replace the image's, as docker does.

        The working directory and the mount targets of volumes are made where the root lacks them, and /etc/hosts and its like are the
        container's own.

        :param argv: instead of the image's arguments (CMD)
        :param image: its name or digest, for the spec
        :param entrypoint: instead of the image's; "" for none.  The image's arguments were not meant for it, and are left out
        :param hostname: the container's host name, also in HOSTNAME
        :param env: more variables, also instead of the image's
        :param term: TERM, unless the image or `env` has it
        :param others: fields of `ContainerSpec`
        :raises SpecError: there is no program, the image names an unknown signal, or another field has an impossible value
        """
        from .from_image import spec_of_image

        return spec_of_image(config, argv, image=image, entrypoint=entrypoint, hostname=hostname, env=env, term=term, **others)

    def with_(self, **changes: Any) -> ContainerSpec:
        """Return the same with some fields changed.  :raises SpecError: there is no such field, or it cannot be that"""
        if wrong := changes.keys() - {each.name for each in fields(self)}:
            raise _fields.unknown(min(wrong), [each.name for each in fields(self)])
        return replace(self, **changes)

    def plan(
        self,
        root: Root,
        group: Group | None = None,
        *,
        more: Iterable[Part] = (),
        files: Iterable[File] = (),
        die_with_parent: bool = False,
    ) -> Plan:
        """Return the plan for a root, and for a group where the spec has limits.

        :param root: an entered `LayerFS` or a `mounts.Root`; for a `read_only` spec also a directory or an image
        :param group: a group that has the limits of the spec
        :param more: further parts
        :param files: further files in memory.  They are not part of the spec, for secrets are given so
        :param die_with_parent: as for `containerkit.plan`
        :raises SpecError: the root does not know the user; the root or the group contradicts the spec; a namespace
            to join does not exist
        :raises PlanError: the parts contradict each other
        :raises Unavailable: this machine lacks what the spec asks for
        """
        from ._planning import plan_of

        return plan_of(self, root, group, more=more, files=files, die_with_parent=die_with_parent)

    # --- as a document -------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain values for JSON.  All fields are in it, so that a later default changes nothing."""
        from ._document import write

        return write(self)

    def dump(self) -> bytes:
        """Return the spec as a JSON document."""
        import json

        return json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=1).encode()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ContainerSpec:
        """Make a spec from the plain values of `to_json`.  A missing field has its default.

        :raises SpecError: a version or a field that is not known, or a wrong value; the error names the field
        """
        from ._document import read

        return read(cls, document)

    @classmethod
    def parse(cls, data: bytes) -> ContainerSpec:
        """Make a spec from a JSON document.  :raises SpecError: it is no document, or as `from_json`"""
        from ..image.documents import parse
        from ..image.errors import ImageError

        try:
            document = parse(data, "the document of a spec")
        except ImageError as error:
            raise SpecError("document", str(error)) from None
        return cls.from_json(document)
