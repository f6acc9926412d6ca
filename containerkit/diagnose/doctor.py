"""doctor: report what this host allows, what it does not, and the remedy for each fault.

    print(doctor())

It reads files under /proc, /sys and /etc, and tries one `unshare` in a process of its own.  It changes nothing and needs no
privilege.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ..base.frozen import frozen
from ..core.errors import StepError
from ..errors import ContainerKitError
from ..linux.ids import has_own_ids, own_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psutil

__all__ = ["Finding", "Report", "doctor"]

FLOOR = (5, 10)
NOBODY = 65534

# The calls that plans are made of, and the first kernel of each.  :see: the VERSIONS section of each man page
_CALLS = {
    "fsopen": (5, 2),
    "clone3": (5, 3),
    "pidfd_open": (5, 3),
    "openat2": (5, 6),
    "CLONE_INTO_CGROUP": (5, 7),
    "close_range": (5, 9),
    "mount_setattr": (5, 12),
    "statmount": (6, 8),
}
_CAPABILITIES = """
chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin
sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override
mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore
""".split()
_NO_UPPER = ("overlay", "nfs", "nfs4", "cifs", "smb3", "9p", "vfat", "exfat", "ntfs", "ecryptfs", "ramfs")


@frozen(slots=False)
class Finding:
    """The result of one check.

    :ivar name: the thing that was checked
    :ivar ok: True: in order; False: prevents some use; None: unknown, or needed for few uses only
    :ivar found: the state of the thing
    :ivar remedy: a command or setting; "" if all is in order
    """

    name: str
    ok: bool | None
    found: str
    remedy: str = ""


@frozen(slots=False)
class Report:
    """All findings, in an order to read them in."""

    findings: tuple[Finding, ...]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, name: str) -> Finding:
        """Return one finding by its name.  :raises KeyError: there is no check of that name"""
        for finding in self:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def __str__(self) -> str:
        width = max((len(finding.name) for finding in self), default=0)
        lines = []
        for finding in self:
            lines.append(f"{_MARKS[finding.ok]:>2}  {finding.name:<{width}}  {finding.found}")
            lines += [f"    {'':<{width}}  -> {finding.remedy}"] if finding.remedy else []
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return a JSON list of objects with the fields of `Finding`."""
        import json
        from dataclasses import asdict

        return json.dumps([asdict(finding) for finding in self], indent=2)

    def _repr_html_(self) -> str:
        import html

        rows = ((_MARKS[finding.ok], finding.name, finding.found, finding.remedy) for finding in self)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table><tr><th></th><th>checked</th><th>found</th><th>remedy</th></tr>{body}</table>"


_MARKS = {True: "ok", False: "NO", None: "?"}


@frozen(slots=False)
class Host:
    """The machine to check: this host, or a directory of files laid out like one.

    :ivar root: the directory that holds proc, sys and etc
    :ivar release: the kernel release, as uname(2) returns it
    :ivar uid: the id of the user that the checks are made for
    """

    root: str = "/"
    release: str = ""
    uid: int = -1

    def read(self, path: str) -> str | None:
        """Return a small file's text without the space around it; None if the file is missing or not readable."""
        try:
            return Path(self.root, path).read_text(errors="replace").strip()
        except OSError:
            return None

    @property
    def version(self) -> tuple[int, int]:
        found = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def status(self, field: str) -> str:
        """Return a field of /proc/self/status, "" if there is none."""
        found = re.search(rf"^{field}:\s*(.*)$", self.read("proc/self/status") or "", re.MULTILINE)
        return found[1] if found else ""

    def mounts(self) -> list[tuple[list[str], str, str]]:
        """Parse mountinfo: the first fields of each mount, its file system type and its superblock options."""
        pairs = (line.partition(" - ") for line in (self.read("proc/self/mountinfo") or "").splitlines())
        return [(head.split(), tail.split()[0], tail.split()[-1]) for head, _, tail in pairs if tail]


Check = Callable[[Host], Iterator[Finding]]


# The kernel -----------------------------------------------------------------------------------------------------


def _kernel(host: Host) -> Iterator[Finding]:
    remedy = f"Run a kernel of {FLOOR[0]}.{FLOOR[1]} or newer."
    yield _finding("kernel", host.version >= FLOOR, host.release or "unknown", remedy)
    for name, since in _CALLS.items():
        there, how = _has(name, since, host)
        needed = f"Run a kernel of {since[0]}.{since[1]} or newer" + ("." if host.version < since else ", or lift the seccomp filter.")
        ok = there or (None if since > FLOOR else False)  # a call newer than the floor has a substitute
        yield _finding(f"call {name}", ok, f"{'there' if there else 'missing'} ({how})", needed)
    there = host.version >= (5, 12)
    found = "ext4, xfs and others" + (", tmpfs" if host.version >= (6, 3) else "") + (", overlay lowers" if host.version >= (5, 19) else "")
    yield _finding("idmapped mounts", there, f"{found if there else 'missing'} (by version)", "Run a kernel of 5.12 or newer.")


def _has(name: str, since: tuple[int, int], host: Host) -> tuple[bool, str]:
    """Whether a call exists: probed if the library can probe it and this is the running kernel, else by version."""
    if host.root == "/":
        try:
            return bool(importlib.import_module("containerkit.linux.kernel").has(name)), "probed"
        except (ImportError, AttributeError, ValueError, KeyError, ContainerKitError):
            pass  # no probe for this call
    return host.version >= since, "by version"


def _finding(name: str, ok: bool | None, found: str, remedy: str) -> Finding:
    return Finding(name, ok, found, "" if ok else remedy)


# User namespaces, and each thing that blocks them ----------------------------------------------------------------


def _user_namespaces(host: Host) -> Iterator[Finding]:
    limit = host.read("proc/sys/user/max_user_namespaces")
    if limit is None:
        yield Finding("user namespaces", False, "not in this kernel", "Run a kernel built with CONFIG_USER_NS.")
    else:
        yield _finding("user namespaces", int(limit) > 0, f"at most {limit}", "Run: sysctl -w user.max_user_namespaces=15000")
    switch = host.read("proc/sys/kernel/unprivileged_userns_clone")
    remedy = "Run: sysctl -w kernel.unprivileged_userns_clone=1"
    yield _finding("userns: sysctl switch", switch != "0", _shown("kernel.unprivileged_userns_clone", switch), remedy)
    switch = host.read("proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    remedy = "Run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or load an AppArmor profile with `userns,` for this program."
    found = _shown("kernel.apparmor_restrict_unprivileged_userns", switch)
    yield _finding("userns: AppArmor", switch in (None, "0"), found, remedy)
    yield from _policies(host)


def _shown(name: str, value: str | None) -> str:
    return "this kernel has no such switch" if value is None else f"{name} = {value}"


def _policies(host: Host) -> Iterator[Finding]:
    enforcing = host.read("sys/fs/selinux/enforce") == "1"
    asks = enforcing and Path(host.root, "sys/fs/selinux/class/user_namespace").exists()
    remedy = "If user namespaces are refused: see `ausearch -m avc -c python3`, allow user_namespace create in the policy."
    found = "enforcing, and its policy knows user_namespace" if asks else "enforcing" if enforcing else "not enforcing"
    yield _finding("userns: SELinux", None if asks else True, found, remedy)
    mode = host.status("Seccomp")
    remedy = "A filter may refuse calls. In a container engine start this with --security-opt seccomp=unconfined."
    found = {"0": "no filter", "1": "strict mode", "2": "a filter is in force"}.get(mode, "not known to this kernel")
    yield _finding("seccomp", None if mode in ("1", "2") else True, found, remedy)
    rooted = any(head[4] == "/" for head, _, _ in host.mounts())
    remedy = "The kernel refuses user namespaces in a chroot: enter the directory with pivot_root or bubblewrap instead."
    yield _finding("userns: chroot", rooted, "not in one" if rooted else "the root directory is not a mount", remedy)


def _try_user_namespace(host: Host) -> Iterator[Finding]:
    """Make a user namespace, as the ultimate check; for root as the user nobody, since root is allowed more than others."""
    import shutil
    import subprocess

    tool = shutil.which("unshare")
    if not tool or host.root != "/":
        yield Finding("userns: tried", None, "not tried", "Install util-linux: its program unshare makes the check.")
        return
    as_nobody = host.uid == 0 and _is_mapped(host, NOBODY)
    other = NOBODY if as_nobody else None
    groups: list[int] | None = [] if as_nobody else None
    argv = [tool, "--user", "--map-root-user", "true"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=5, cwd="/", user=other, group=other, extra_groups=groups)
        worked, said = done.returncode == 0, done.stderr.strip()
    except (OSError, subprocess.SubprocessError) as error:
        worked, said = False, str(error)
    user = "an ordinary user" if as_nobody else "this user"
    remedy = "See the findings on user namespaces above; run as root where none of them can be changed."
    yield _finding("userns: tried", worked, f"{user} can make one" if worked else f"{user} cannot: {said}", remedy)


def _is_mapped(host: Host, uid: int) -> bool:
    """Whether this user namespace maps a user id."""
    ranges = (line.split() for line in (host.read("proc/self/uid_map") or "").splitlines())
    return any(int(first) <= uid < int(first) + int(count) for first, _, count in ranges)


def _namespaces(host: Host) -> Iterator[Finding]:
    for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
        limit = host.read(f"proc/sys/user/max_{kind}_namespaces")
        remedy = f"Run: sysctl -w user.max_{kind}_namespaces=15000"
        if limit is None:
            remedy = f"Run a kernel built with {kind} namespaces."
        yield _finding(f"{kind} namespaces", int(limit or 0) > 0, f"at most {limit}" if limit else "not in this kernel", remedy)


# Control groups -------------------------------------------------------------------------------------------------


def _cgroups(host: Host) -> Iterator[Finding]:
    mounts = [(head, kind, options) for head, kind, options in host.mounts() if kind in ("cgroup", "cgroup2")]
    old = [head for head, kind, _ in mounts if kind == "cgroup"]
    new = [head for head, kind, _ in mounts if kind == "cgroup2"]
    mode = {(True, False): "v1", (True, True): "hybrid: v1 with v2", (False, True): "v2"}.get((bool(old), bool(new)))
    where = f" at {(new or old)[0][4]}" if mode else ""
    remedy = "Run: mount -t cgroup2 none /sys/fs/cgroup"
    yield _finding("cgroup mode", bool(mode), f"{mode}{where}" if mode else "no cgroup file system is mounted", remedy)
    own = _own_cgroups(host)
    controllers = _controllers(host, mounts, own.get(""))
    lacking = {"cpu", "memory", "pids"} - set(controllers)
    found = " ".join(sorted(controllers)) + (f" (missing: {' '.join(sorted(lacking))})" if lacking else "")
    remedy = "Enable them in cgroup.subtree_control of the parent, or boot without cgroup_disable=."
    yield _finding("cgroup controllers", not lacking, found.strip(), remedy)
    yield _delegation(host, mounts, own)


def _own_cgroups(host: Host) -> dict[str, str]:
    """Parse /proc/self/cgroup: the path of this process by controller, "" for v2."""
    triples = (line.split(":", 2) for line in (host.read("proc/self/cgroup") or "").splitlines())
    return {name: triple[2] for triple in triples if len(triple) == 3 for name in triple[1].split(",")}


def _directory(host: Host, head: list[str], path: str) -> Path:
    """Return the directory of a cgroup below a mount, whose root may itself lie deeper in the hierarchy."""
    below = path.removeprefix(head[3]) if head[3] != "/" else path
    return Path(host.root, head[4].lstrip("/"), below.lstrip("/"))


def _controllers(host: Host, mounts: list[tuple[list[str], str, str]], path: str | None) -> dict[str, list[str]]:
    """Return the controllers, and the mount that each is on."""
    found: dict[str, list[str]] = {}
    for head, kind, options in mounts:
        if kind == "cgroup2":
            names = (host.read(str(_directory(host, head, path or "/") / "cgroup.controllers")) or "").split()
        else:
            names = [name for name in options.split(",") if name not in ("rw", "ro", "xattr") and "=" not in name]
        found |= dict.fromkeys(names, head)
    return found


def _delegation(host: Host, mounts: list[tuple[list[str], str, str]], own: dict[str, str]) -> Finding:
    """Check whether this user may make cgroups below its own."""
    directories = []
    for head, kind, options in mounts:
        path = own.get("") if kind == "cgroup2" else next((own[name] for name in options.split(",") if name in own), None)
        if path is not None and "name=" not in options:
            directories.append(_directory(host, head, path))
    open_to_us = [directory for directory in directories if os.access(directory, os.W_OK)]
    found = f"{len(open_to_us)} of {len(directories)} hierarchies can be written to"
    remedy = "Start this with: systemd-run --user --scope -p Delegate=yes COMMAND, or as root."
    return _finding("cgroup delegation", bool(directories) and len(open_to_us) == len(directories), found, remedy)


# File systems ---------------------------------------------------------------------------------------------------


def _overlay(host: Host) -> Iterator[Finding]:
    import tempfile

    there = "overlay" in (host.read("proc/filesystems") or "").split()
    yield _finding("overlay", there, "there" if there else "not in this kernel, or its module is not loaded", "Run: modprobe overlay")
    ok = there and host.version >= (5, 11)
    yield _finding("overlay: rootless", ok, "userxattr (by version)" if ok else "no userxattr", "Run a kernel of 5.11 or newer.")
    directory = os.path.realpath(tempfile.gettempdir())
    kind = _filesystem(host, directory)
    ok = kind not in _NO_UPPER and not kind.startswith("fuse")
    remedy = "Set TMPDIR to a directory on ext4, xfs, btrfs or tmpfs."
    yield _finding("overlay: upper in TMPDIR", ok, f"{directory} is on {kind}", remedy)


def _filesystem(host: Host, directory: str) -> str:
    """Return the type of the file system that holds a directory: that of the longest mount point above it, the last one there."""
    above = [(len(head[4]), kind) for head, kind, _ in host.mounts() if f"{directory}/".startswith(f"{head[4].rstrip('/')}/")]
    longest = max((length for length, _ in above), default=0)
    return next((kind for length, kind in reversed(above) if length == longest), "an unknown file system")


# Users, privileges, tools -----------------------------------------------------------------------------------------


def _id_maps(host: Host) -> Iterator[Finding]:
    import shutil

    for tool in ("newuidmap", "newgidmap"):
        path = shutil.which(tool)
        able = bool(path) and _has_privilege(str(path))
        found = "not found" if not path else path if able else f"{path} is neither set-user-ID nor has file capabilities"
        remedy = f"Run: chmod u+s {path}" if path else "Run: apt-get install uidmap (Fedora: dnf install shadow-utils)"
        yield _finding(tool, able, found, remedy)
    for file in ("subuid", "subgid"):
        yield _subordinate(host, file)


def _own_ids(host: Host) -> Iterator[Finding]:
    """Check the ids that containers of root get, and whether files can be mapped to them."""
    if host.uid != 0:
        return
    try:
        found = ", ".join(f"{kind} {first}+{count}" for kind in ("uid", "gid") for _, first, count in own_range(kind, f"{host.root}/etc"))
        yield Finding("ids of root's containers", True, f"unused on this host: {found}", "")
    except ContainerKitError as error:
        yield Finding(
            "ids of root's containers", False, str(error), "Run: usermod --add-subuids 524288-589823 --add-subgids 524288-589823 root"
        )
    if host.root == "/" and has_own_ids():
        import tempfile

        from ..store.store import default_directory

        yield from (_shown_with(name, path) for name, path in (("TMPDIR", Path(tempfile.gettempdir())), ("the store", default_directory())))


def _shown_with(name: str, path: Path) -> Finding:
    """Check idmapped mounts at a directory, or at the nearest existing directory above it."""
    there = next(each for each in (path, *path.parents) if each.is_dir())
    why = _refusal(there)
    remedy = "Put it on ext4, xfs, btrfs or tmpfs; or use the caller's own ids inside: ns.User.same(), --userns=host."
    return _finding(f"idmapped mounts: {name}", not why, f"{there}: {why or 'they work'} (probed)", remedy)


def _refusal(directory: Path) -> str:
    """Return why files below a directory cannot be idmapped, or "".  The trial plan stops at a program that does not exist."""
    from ..core.plan import plan
    from ..parts import mounts, ns

    try:
        plan(ns.User(), ns.Mount(), mounts.Root(directory), run=["/no/such/program"]).spawn()
    except StepError as error:
        return "" if error.step.call.name == "execve" else error.strerror or str(error)
    except ContainerKitError as error:
        return str(error)
    return ""


def _has_privilege(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_ISUID) or bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _subordinate(host: Host, file: str) -> Finding:
    try:
        name = pwd.getpwuid(host.uid).pw_name
    except KeyError:
        name = str(host.uid)
    entries = [line.split(":") for line in (host.read(f"etc/{file}") or "").splitlines()]
    sizes = [int(entry[2]) for entry in entries if len(entry) == 3 and entry[0] in (name, str(host.uid)) and entry[2].isdecimal()]
    found = f"{sum(sizes)} ids for {name}"
    if host.uid == 0:
        return Finding(f"/etc/{file}", True, f"{found}; root needs none")
    return _finding(f"/etc/{file}", sum(sizes) >= 65536, found, f"Run as root: usermod --add-{file}s 100000-165535 {name}")


def _privileges(host: Host) -> Iterator[Finding]:
    held, last = int(host.status("CapBnd") or "0", 16), int(host.read("proc/sys/kernel/cap_last_cap") or len(_CAPABILITIES) - 1)
    names = [_CAPABILITIES[bit] if bit < len(_CAPABILITIES) else str(bit) for bit in range(last + 1)]
    missing = [f"CAP_{name.upper()}" for bit, name in enumerate(names) if not held >> bit & 1]
    remedy = "Calls that need them fail even for root. Start this where they are not dropped (container engines: --cap-add)."
    yield _finding("capability bounding set", not missing, f"missing: {' '.join(missing)}" if missing else "full", remedy)
    new = host.status("NoNewPrivs")
    remedy = "newuidmap and newgidmap do not work under no_new_privs: start this from a process without no_new_privs."
    yield _finding("no_new_privs", new != "1", "set" if new == "1" else "not set", remedy)
    most = host.read("proc/sys/kernel/pid_max") or "0"
    yield _finding("pid_max", int(most) >= 32768, most, "Run: sysctl -w kernel.pid_max=4194304")


def _tools(host: Host) -> Iterator[Finding]:
    import shutil

    nft = shutil.which("nft", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    yield _finding("nftables", bool(nft), nft or "nft not found", "Run: apt-get install nftables (needed to publish ports)")
    package = Path(__file__).parents[1]
    remedy = "Build it: a C compiler and `pip install .`, or install a wheel for this machine."
    there = importlib.util.find_spec("containerkit._spawn") is not None
    yield _finding("compiled extension", there, "there" if there else "containerkit._spawn is missing", remedy)
    helper = package / "libexec/ck-helper"
    there = os.access(helper, os.X_OK)
    yield _finding("static helper", there, str(helper) if there else f"{helper} is missing", remedy)
    yield from _extras()


def _extras() -> Iterator[Finding]:
    """Check every optional dependency, as the package's metadata lists them."""
    from ..base import extras  # loads importlib.metadata, for which only callers of doctor shall wait

    found = extras.extras()
    if not found:
        yield Finding("extras", None, "the package has no metadata: it was not installed by pip", "Run: pip install . in its directory.")
    for extra in found:
        said = f"not installed: {', '.join(extra.missing)}" if extra.missing else f"installed: {', '.join(extra.needs)}"
        yield _finding(f"extra {extra.name}", None if extra.missing else True, said, f"Run: {extras.command(extra.name)}")


# This host, and the programs that started us, by psutil -----------------------------------------------------------


def _figures(host: Host) -> Iterator[Finding]:
    """Report how large and how busy the machine is, and the programs that started this one."""
    if host.root != "/":
        return
    import psutil

    memory, load = psutil.virtual_memory(), psutil.getloadavg()[0]
    processors = f"{psutil.cpu_count()} processors, load {load:.2f}"
    yield Finding("machine", True, f"{processors}; {_gib(memory.total)} of memory, {_gib(memory.available)} available")
    chain = [*reversed(_parents()), psutil.Process()]
    yield Finding("started by", True, " > ".join(filter(None, map(_name, chain))))


def _gib(number: float) -> str:
    return f"{number / 2**30:.1f} GiB"


def _parents() -> list[psutil.Process]:
    import psutil

    try:
        return psutil.Process().parents()
    except psutil.Error:
        return []


def _name(process: psutil.Process) -> str:
    """Return the program of a process; "" if it has ended meanwhile."""
    import psutil

    try:
        return process.name()
    except psutil.Error:
        return ""


_CHECKS: tuple[Check, ...] = (
    _kernel,
    _figures,
    _user_namespaces,
    _try_user_namespace,
    _namespaces,
    _cgroups,
    _overlay,
    _id_maps,
    _own_ids,
    _privileges,
    _tools,
)


def doctor(host: Host | None = None) -> Report:
    """Check what this host allows.

    :param host: the machine to check; None for the running system
    :returns: a `Report`: print it, iterate over its findings, or get one by name
    :see: namespaces(7), user_namespaces(7), cgroups(7), capabilities(7)
    """
    host = host or Host("/", os.uname().release, os.geteuid())
    return Report(tuple(finding for check in _CHECKS for finding in check(host)))
