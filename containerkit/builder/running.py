"""RUN: run a program in the layers so far, and make a layer of its changes.

    layer = run(workshop, layers, Job(argv, environment, "/", account), reporter, running)

It has mount, pid, ipc, uts and cgroup namespaces of its own, the capabilities and the system calls that container engines commonly
leave to root, and nothing of the host's but its network, unless that is "none".  CAP_NET_RAW is not among them: with the host's
network it would read along.  To the host's network belong abstract unix sockets: a service there that trusts root trusts a program
of root's build, so build unknown Dockerfiles with ``network="none"``.

In a build by root it is root in a user namespace with a range of ids of its own, without rights outside.  chown, set-user-ID files, file
capabilities, hard links and fifos come out the same; mknod(2) of a device is refused.  A build with ``userns="host"`` has no user
namespace, as other builders have it, and root there is root of the machine.  In a build by an ordinary user it is root in a
user namespace with the store's ids: only one, so that it cannot change users, unless the build runs inside `containerkit unshare`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..base import late
from ..base.frozen import field, frozen
from ..container.namespaces import HOST, NEW, Namespaces
from ..container.profile import Profile
from ..container.spec import ContainerSpec
from ..core.errors import StepError
from ..core.plan import Plan
from ..core.stdio import DEVNULL, PIPE, STDOUT
from ..image.layer import Layer
from ..layers.accounts import Account
from ..layers.layerfs import LayerFS
from ..linux.ids import has_own_ids, is_machine_root
from ..parts import mounts
from ..parts.credentials import Credentials
from ..parts.files import File
from ..parts.name_files import NAME_FILES, NETWORKS
from .errors import BuildError, Exited
from .progress import Reporter
from .session import Running
from .settling import Stubs
from .workspace import Workspace

__all__ = ["Job", "Running", "run", "spec_of"]

HOSTNAME = "build"
ONE_ID = "an ordinary user builds with one id; `containerkit unshare containerkit build ...` has more"
#: Messages of programs that wanted to become another user: chown(1), apt(8), su(1).
REFUSED = late.pattern(rb"ch(own|grp)|set(e|res|fs)?[ug]id|setgroups|initgroups", re.IGNORECASE)


@frozen
class Job:
    """A program of a build, and the root and settings it runs with.

    :param argv: the program and its arguments
    :param environment: the whole environment
    :param directory: the working directory; made where it is missing
    :param account: the user and groups it runs as
    :param network: "none", "host", or "default", which is the host's
    :param files: files that only this program sees
    :param binds: further mounts
    :param places: the mount targets of `binds`
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)  # secrets may be in it
    directory: str = "/"
    account: Account = field(default_factory=Account)
    network: str = "default"
    files: tuple[File, ...] = ()
    binds: tuple[mounts.Bind | mounts.Tmpfs, ...] = ()
    places: tuple[str, ...] = ()


def run(workshop: Workspace, layers: Sequence[Layer], job: Job, reporter: Reporter, running: Running) -> Layer | None:
    """Run a program to its end.

    :return: the layer of its changes; None where it changed nothing
    :raises Exited: it did not exit with 0;  :raises BuildError: it could not be started
    """
    running.check()
    if _has_one_id(workshop) and (job.account.uid, job.account.gid) != (0, 0):
        raise BuildError(f"there is no user {job.account.uid}:{job.account.gid} here, only root: {ONE_ID}")
    lowers = workshop.unpacked(layers) or (workshop.directory(),)
    with workshop.tree(layers) as below, LayerFS(*lowers, directory=workshop.place(), xattrs=workshop.store.trees.xattrs) as root:
        stubs = Stubs(below, ["/proc", "/sys", "/dev", *NAME_FILES, *(file.target for file in job.files), *job.places])
        made = _plan(workshop, job, root)
        try:
            code, output = _run(made, reporter, running)
        except StepError as error:
            raise BuildError(f"{job.argv[0]!r} could not be started: {error}") from error
        running.check()
        if code:
            raise Exited(code if code > 0 else 128 - code, output, _hint(workshop, output))
        stubs.remove(root.upper)
        return workshop.freeze(root.upper, layers, below)


def _has_one_id(workshop: Workspace) -> bool:
    return os.geteuid() != 0 and not workshop.store.trees.ids.chown


def _hint(workshop: Workspace, output: bytes) -> str:
    return ONE_ID if _has_one_id(workshop) and REFUSED.search(output) else ""


def _run(made: Plan, reporter: Reporter, running: Running) -> tuple[int, bytes]:
    """Run the plan and return its exit code and its output.  One pipe takes both outputs, so that their lines keep their order."""
    with made.spawn(stdin=DEVNULL, stdout=PIPE, stderr=STDOUT) as process, running.watching(process):
        assert process.stdout
        output = reporter.listen(process.stdout.fileno())
        return process.wait(), output


def spec_of(workshop: Workspace, job: Job) -> ContainerSpec:
    """Return the spec of the program.  The build's secrets are not in it: they are files of the plan.

    :raises BuildError: an unknown network
    """
    if job.network not in NETWORKS:
        raise BuildError(f"a network is one of {', '.join(NETWORKS)}, not {job.network!r}")
    who, alone = job.account, job.network == "none"
    return ContainerSpec(
        job.argv, env={"HOME": who.home, **job.environment}, cwd=job.directory, directories=(job.directory,),
        user=f"{who.uid}:{who.gid}", groups=who.groups, hostname=HOSTNAME, name_files=True, umask=0o022,
        mounts=(mounts.Dev(), _system(workshop, alone), *job.binds),
        profile=Profile() if alone else Profile().dropping("CAP_NET_RAW"), **_namespaces(workshop, alone),
    )  # fmt: skip


def _plan(workshop: Workspace, job: Job, root: LayerFS) -> Plan:
    groups = () if os.geteuid() or _has_user_namespace(workshop) else (Credentials(0, 0),)  # the build does not get root's groups
    more = groups if (job.account.uid, job.account.gid, job.account.groups) == (0, 0, ()) else ()
    return spec_of(workshop, job).plan(root, files=job.files, more=more, die_with_parent=True)


def _system(workshop: Workspace, alone: bool) -> mounts.Sysfs | mounts.Bind:
    """Return the mount of /sys.  A new sysfs belongs to the user namespace that owns the network."""
    own = alone or (is_machine_root() and not _has_user_namespace(workshop))
    return mounts.Sysfs() if own else mounts.Bind("/sys", readonly=True)


def _has_user_namespace(workshop: Workspace) -> bool:
    return os.geteuid() != 0 or (has_own_ids() and workshop.userns != "host")


def _namespaces(workshop: Workspace, alone: bool) -> dict[str, Any]:
    """Return the namespaces.  Root builds with ids that no user of the host has, an ordinary user with those of the store's files."""
    namespaces = Namespaces(user=NEW if _has_user_namespace(workshop) else HOST, net=NEW if alone else HOST)
    ids = workshop.store.trees.ids
    mapped = os.geteuid() != 0 and ids.chown
    return {"namespaces": namespaces, **({"uids": ids.uids, "gids": ids.gids} if mapped else {})}
