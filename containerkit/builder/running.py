"""RUN: a program in the layers so far, and the layer that comes of it.

    layer = run(workshop, layers, Job(argv, environment, "/", account), reporter, running)

It has mount, pid, ipc, uts and cgroup namespaces of its own, the capabilities and the system calls that container engines commonly
leave to root, and nothing of the host's but its network, unless that is "none".  CAP_NET_RAW is not among them: with the host's
network it would read along.  To the host's network belong abstract unix sockets: a service there that trusts root trusts a program
that root builds with, so give what nobody knows ``network="none"``.

Built by root, it is root in a user namespace with a range of ids of its own: nobody outside.  chown, set-user-ID files, file
capabilities, hard links and fifos come out the same; mknod(2) of a device is refused.  A build with ``userns="host"`` has no user
namespace, as other builders have it, and root there is root of the machine.  Built by an ordinary user it is root in a user
namespace with the ids that the store has: one, so that it can become nobody else, unless all is done inside `containerkit unshare`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from ..base import late
from ..base.frozen import field, frozen
from ..core.errors import StepError
from ..core.plan import Plan, plan
from ..core.stdio import DEVNULL, PIPE, STDOUT
from ..core.step import Part
from ..image.layer import Layer
from ..layers.accounts import Account
from ..layers.layerfs import LayerFS
from ..linux.ids import has_own_ids, is_machine_root
from ..parts import mounts, ns
from ..parts.capabilities import Capabilities
from ..parts.credentials import Credentials
from ..parts.files import Directory, File, Files, Umask
from ..parts.name_files import network_files
from ..parts.seccomp import Seccomp
from .errors import BuildError, Exited
from .progress import Reporter
from .session import Running
from .settling import Stubs
from .workspace import Workspace

__all__ = ["Job", "Running", "run"]

HOSTNAME = "build"
ONE_ID = "an ordinary user builds with one id; `containerkit unshare containerkit build ...` has more"
#: What programs say that wanted another: chown(1), apt(8), su(1).
REFUSED = late.pattern(rb"ch(own|grp)|set(e|res|fs)?[ug]id|setgroups|initgroups", re.IGNORECASE)


@frozen
class Job:
    """What is to be run, and in what.

    :param argv: the program and its arguments
    :param environment: all of it
    :param directory: where it works; made where it is missing
    :param account: who it is
    :param network: "none", "host", or "default", which is the host's
    :param files: that are there for it alone
    :param binds: what else is mounted
    :param places: where `binds` mount something
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)  # secrets may be in it
    directory: str = "/"
    account: Account = field(default_factory=Account)
    network: str = "default"
    files: tuple[File, ...] = ()
    binds: tuple[Part, ...] = ()
    places: tuple[str, ...] = ()


def run(workshop: Workspace, layers: Sequence[Layer], job: Job, reporter: Reporter, running: Running) -> Layer | None:
    """Runs a program to its end.

    :return: the layer of what it changed; None where it changed nothing
    :raises Exited: it did not exit with 0;  :raises BuildError: it could not be started
    """
    running.check()
    if _has_one_id(workshop) and (job.account.uid, job.account.gid) != (0, 0):
        raise BuildError(f"there is no user {job.account.uid}:{job.account.gid} here, only root: {ONE_ID}")
    lowers = workshop.unpacked(layers) or (workshop.directory(),)
    files = (*network_files(job.network, HOSTNAME), *job.files)
    with workshop.tree(layers) as below, LayerFS(*lowers, directory=workshop.place(), xattrs=workshop.store.trees.xattrs) as root:
        stubs = Stubs(below, ["/proc", "/sys", "/dev", *(file.target for file in files), *job.places])
        made = _plan(workshop, job, root, files)
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
    """Both outputs go through one pipe, so that their lines keep their order."""
    with made.spawn(stdin=DEVNULL, stdout=PIPE, stderr=STDOUT) as process, running.watching(process):
        assert process.stdout
        output = reporter.listen(process.stdout.fileno())
        return process.wait(), output


def _plan(workshop: Workspace, job: Job, root: LayerFS, files: tuple[File, ...]) -> Plan:
    account, alone = job.account, job.network == "none"
    parts: list[Part] = [ns.Mount(), ns.Pid(), ns.Ipc(), ns.Uts(HOSTNAME), ns.Cgroup(), Umask(), root, mounts.Dev()]
    parts += [_system(workshop, alone), mounts.Masked(), mounts.ReadOnly(), Files(files), *job.binds]
    parts += [ns.Net()] if alone else []
    parts += [Directory(job.directory)] if job.directory != "/" else []
    parts += [_powers(alone), Seccomp.default(_powers(alone).names).before_capabilities()]
    user = _user(workshop)
    if (os.geteuid() == 0 and not user) or (account.uid, account.gid, account.groups) != (0, 0, ()):
        parts.append(Credentials(account.uid, account.gid, account.groups))
    environment = {"HOME": account.home, **job.environment}
    return plan(*user, *parts, run=job.argv, env=environment, cwd=job.directory, die_with_parent=True)


def _powers(alone: bool) -> Capabilities:
    return Capabilities.default() if alone else Capabilities.default().dropping("CAP_NET_RAW")


def _system(workshop: Workspace, alone: bool) -> Part:
    """A new sysfs belongs to the user namespace that owns the network."""
    return mounts.Sysfs() if alone or (is_machine_root() and not _user(workshop)) else mounts.Bind("/sys", readonly=True)


def _user(workshop: Workspace) -> list[Part]:
    """A user namespace: of ids that are nobody's, where root builds; for an ordinary user with those that the store's files have."""
    if os.geteuid() == 0:
        return [ns.User()] if has_own_ids() and workshop.userns != "host" else []
    ids = workshop.store.trees.ids
    return [ns.User(uids=ids.uids, gids=ids.gids)] if ids.chown else [ns.User()]
