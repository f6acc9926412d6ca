"""The doctor reports this host truly, and finds the faults of hosts with obstacles.

Where a test can make the kernel refuse, it does.  Conditions that this machine does not have (another kernel, AppArmor, SELinux, v1 only)
are laid out as the files of such a host.
"""

from __future__ import annotations

import html
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from containerkit.diagnose.doctor import Finding, Host, Report, _has, doctor

REPO = Path(__file__).parent.parent
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

V2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "31 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 1 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
GOOD = {
    "proc/self/mountinfo": f"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n{V2}",
    "proc/self/cgroup": "0::/user.slice\n",
    "proc/self/status": "Seccomp:\t0\nNoNewPrivs:\t0\nCapBnd:\t000001ffffffffff\n",
    "proc/filesystems": "nodev\tproc\nnodev\toverlay\n\text4\n",
    "proc/sys/kernel/cap_last_cap": "40\n",
    "proc/sys/kernel/pid_max": "4194304\n",
    "sys/fs/cgroup/user.slice/cgroup.controllers": "cpu memory pids\n",
    "etc/subuid": "1234:100000:65536\n",
    "etc/subgid": "1234:100000:65536\n",
} | {f"proc/sys/user/max_{kind}_namespaces": "100\n" for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")}


def laid_out(root: Path, changes: dict[str, str | None], release: str = "6.12.0") -> Report:
    """Return the doctor's report on a host with these files; None removes one."""
    for path, text in (GOOD | changes).items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
    return doctor(Host(str(root), release, 1234))


def on_this_host(*prefix: str) -> dict[str, Finding]:
    """Return the doctor's report in a process started through `prefix`."""
    argv = [*prefix, sys.executable, "-c", "from containerkit.diagnose.doctor import doctor; print(doctor().to_json())"]
    done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return {fields["name"]: Finding(**fields) for fields in json.loads(done.stdout)}


HOST_DEPENDENT = ("userns: tried", "overlay: upper", "new", "nftables", "compiled", "static", "extra")


def test_a_good_host_has_nothing_to_remedy(tmp_path: Path) -> None:
    for finding in laid_out(tmp_path, {}):
        if not finding.name.startswith(HOST_DEPENDENT):
            assert (finding.ok, finding.remedy) == (True, ""), finding


@pytest.mark.parametrize(
    ("changes", "name", "said", "remedy"),
    [
        ({"proc/sys/user/max_user_namespaces": "0\n"}, "user namespaces", "at most 0", "sysctl -w user.max_user_namespaces="),
        ({"proc/sys/user/max_user_namespaces": None}, "user namespaces", "not in this kernel", "CONFIG_USER_NS"),
        ({"proc/sys/kernel/unprivileged_userns_clone": "0\n"}, "userns: sysctl switch", "= 0", "unprivileged_userns_clone=1"),
        ({"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, "userns: AppArmor", "= 1", "restrict_unprivileged_userns=0"),
        ({"proc/self/mountinfo": V2}, "userns: chroot", "is not a mount", "pivot_root"),
        ({"proc/sys/user/max_net_namespaces": "0\n"}, "net namespaces", "at most 0", "user.max_net_namespaces"),
        ({"proc/sys/user/max_time_namespaces": None}, "time namespaces", "not in this kernel", "time namespaces"),
        ({"proc/self/mountinfo": ""}, "cgroup mode", "no cgroup file system", "mount -t cgroup2"),
        ({"sys/fs/cgroup/user.slice/cgroup.controllers": "cpu"}, "cgroup controllers", "missing: memory pids", "cgroup.subtree_control"),
        ({"proc/filesystems": "\text4\n"}, "overlay", "not in this kernel", "modprobe overlay"),
        ({"etc/subuid": "someone:100000:65536\n"}, "/etc/subuid", "0 ids for 1234", "usermod --add-subuids 100000-165535 1234"),
        ({"etc/subgid": "1234:100000:1000\n"}, "/etc/subgid", "1000 ids", "usermod --add-subgids"),
        ({"proc/sys/kernel/pid_max": "301\n"}, "pid_max", "301", "kernel.pid_max="),
        (
            {"proc/self/mountinfo": "27 1 0:9 / / rw - overlay overlay rw\n"},
            "overlay: upper in TMPDIR",
            "is on overlay",
            "TMPDIR",
        ),
    ],
)
def test_each_fault_is_found_and_remedied(tmp_path: Path, changes: dict[str, str | None], name: str, said: str, remedy: str) -> None:
    finding = laid_out(tmp_path, changes)[name]
    assert finding.ok is False
    assert said in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("mounts", "mode"),
    [(V2, "v2 at /sys/fs/cgroup"), (V1, "v1 at /sys/fs/cgroup/memory"), (V1 + V2, "hybrid: v1 with v2 at /sys/fs/cgroup")],
)
def test_cgroup_modes(tmp_path: Path, mounts: str, mode: str) -> None:
    finding = laid_out(tmp_path, {"proc/self/mountinfo": mounts})["cgroup mode"]
    assert (finding.ok, finding.found) == (True, mode)


def test_v1_controllers_come_from_the_mounts(tmp_path: Path) -> None:
    own = "2:cpu,cpuacct:/\n1:memory:/box/inner\n"
    below = V1.replace("0:27 / ", "0:27 /box ")  # as in a container: the mount begins deeper in the hierarchy
    (tmp_path / "sys/fs/cgroup/memory/inner").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu").mkdir()
    report = laid_out(tmp_path, {"proc/self/mountinfo": below, "proc/self/cgroup": own})
    assert report["cgroup controllers"].found == "cpu cpuacct memory (missing: pids)"
    assert report["cgroup delegation"].found == "2 of 2 hierarchies can be written to"


def test_unknowns_are_not_called_faults(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/selinux/class/user_namespace").mkdir(parents=True)
    changes: dict[str, str | None] = {"sys/fs/selinux/enforce": "1", "proc/self/status": "Seccomp:\t2\n"}
    report = laid_out(tmp_path, changes)
    for name in ("userns: SELinux", "seccomp"):
        assert report[name].ok is None
        assert report[name].remedy


@pytest.mark.parametrize(
    ("release", "floor", "missing"),
    [
        ("5.4.0-generic", False, ["openat2", "CLONE_INTO_CGROUP", "close_range", "mount_setattr", "statmount"]),
        ("5.10.0", True, ["mount_setattr", "statmount"]),
        ("6.8.0", True, []),
        (
            "nonsense",
            False,
            ["fsopen", "clone3", "pidfd_open", "openat2", "CLONE_INTO_CGROUP", "close_range", "mount_setattr", "statmount"],
        ),
    ],
)
def test_kernels(tmp_path: Path, release: str, floor: bool, missing: list[str]) -> None:
    report = laid_out(tmp_path, {}, release)
    assert report["kernel"].ok is floor
    calls = [finding for finding in report if finding.name.startswith("call ")]
    assert [finding.name.removeprefix("call ") for finding in calls if not finding.ok] == missing
    assert all("by version" in finding.found for finding in calls)
    assert {report["call mount_setattr"].ok, report["call statmount"].ok} <= {True, None}  # calls below the floor


def test_every_fault_has_a_remedy_in_a_whole_sentence(tmp_path: Path) -> None:
    for report in (doctor(), laid_out(tmp_path, dict.fromkeys(GOOD, None), "4.19.0")):
        for finding in report:
            assert bool(finding.remedy) is (finding.ok is not True), finding


def test_an_empty_host_is_no_error(tmp_path: Path) -> None:
    report = laid_out(tmp_path, dict.fromkeys(GOOD, None), "")
    assert report["cgroup mode"].ok is False


def test_calls_of_this_kernel_are_there() -> None:
    """The probe agrees with the kernel where Python can ask it."""
    os.close(os.pidfd_open(os.getpid()))
    there, _ = _has("pidfd_open", (5, 3), Host("/", os.uname().release, os.geteuid()))
    assert there


def test_doctor_is_quick() -> None:
    def once() -> float:
        begin = time.perf_counter()
        doctor()
        return time.perf_counter() - begin

    assert min(once() for _ in range(3)) < 0.3


def test_forms(tmp_path: Path) -> None:
    report = laid_out(tmp_path, {"proc/filesystems": ""})
    assert len(report) == len(list(report)) == len(json.loads(report.to_json()))
    assert [fields["name"] for fields in json.loads(report.to_json())] == [finding.name for finding in report]
    lines = str(report).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("NO  overlay "))
    assert "modprobe overlay" in lines[at + 1]
    for finding in report:
        assert html.escape(finding.remedy) in report._repr_html_()
    assert Report((Finding("<b>", None, "&", "x"),))._repr_html_().count("<b>") == 0
    with pytest.raises(KeyError):
        report["nothing of this name"]


# Refused for real -----------------------------------------------------------------------------------------------

needs_unshare = pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare: apt-get install util-linux")


@needs_unshare
def test_user_namespaces_switched_off() -> None:
    """Each user namespace has a limit of its own: setting it in a new one leaves the host's alone."""
    limit = Path("/proc/sys/user/max_user_namespaces")
    before = limit.read_text()
    if subprocess.run(["unshare", "-r", "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    said = on_this_host("unshare", "-r", "sh", "-c", f'echo 0 > {limit} && exec "$@"', "sh")
    assert limit.read_text() == before
    assert said["user namespaces"].ok is False
    assert said["userns: tried"].ok is False
    assert "No space left on device" in said["userns: tried"].found


@needs_unshare
@needs_root
def test_in_a_chroot(tmp_path: Path) -> None:
    """A chroot that the mount table does not show, but the trial does."""
    script = f'mount --rbind / {tmp_path} && exec chroot {tmp_path} "$@"'
    said = on_this_host("unshare", "-m", "sh", "-c", script, "sh")
    assert said["userns: tried"].ok is False
    assert "Operation not permitted" in said["userns: tried"].found


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv: apt-get install util-linux")
def test_privileges_given_up() -> None:
    said = on_this_host("setpriv", "--no-new-privs", "--bounding-set=-net_raw,-checkpoint_restore")
    assert said["no_new_privs"].ok is False
    assert {"CAP_NET_RAW", "CAP_CHECKPOINT_RESTORE"} <= set(said["capability bounding set"].found.split())
    assert "CAP_NET_ADMIN" not in said["capability bounding set"].found


@needs_root
def test_missing_tools(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "newuidmap").write_text("#!/bin/sh\n")
    (tools / "newuidmap").chmod(0o755)
    said = on_this_host("/usr/bin/env", f"PATH={tools}")
    assert "neither set-user-ID nor" in said["newuidmap"].found
    assert "chmod u+s" in said["newuidmap"].remedy
    assert said["newgidmap"].found == "not found"
    assert said["userns: tried"].ok is None


def test_file_capabilities_replace_set_user_id(tmp_path: Path) -> None:
    from containerkit.diagnose.doctor import _has_privilege

    tool = tmp_path / "newuidmap"
    tool.write_text("")
    assert not _has_privilege(str(tool))
    if os.geteuid() == 0:
        os.setxattr(tool, "security.capability", bytes.fromhex("0000000280000000000000000000000000000000"))
        assert _has_privilege(str(tool))
        os.removexattr(tool, "security.capability")
    tool.chmod(0o4755)
    assert _has_privilege(str(tool))


@pytest.mark.unprivileged
def test_as_an_ordinary_user() -> None:
    report = doctor()
    assert report["kernel"].ok
    assert report["/etc/subuid"].ok, report["/etc/subuid"]
    assert "this user" in report["userns: tried"].found
    assert report["cgroup delegation"].ok is False
