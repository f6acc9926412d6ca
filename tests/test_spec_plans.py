"""Plans made from a spec, against the same parts put together by hand: `ck.sandbox`, the command line, RUN of a build."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import containerkit as ck
from containerkit import mounts, ns
from containerkit.builder.running import Job, spec_of
from containerkit.builder.workspace import Workspace
from containerkit.cli import main
from containerkit.container import ContainerSpec, Namespaces, Profile
from containerkit.core.step import Part
from containerkit.layers.accounts import Account
from containerkit.linux.ids import has_own_ids
from containerkit.parts.files import Directory, Files, Umask
from containerkit.parts.name_files import network_files
from containerkit.store.store import Store

KEPT = ck.Capabilities.default()
SETUID = [mounts.Masked(), mounts.ReadOnly(), KEPT, ck.Seccomp.default(KEPT.names).before_capabilities()]
CONFINED = [mounts.Masked(), mounts.ReadOnly(), KEPT, ck.NoNewPrivileges(), ck.Seccomp.default(KEPT.names)]
ROOT = os.geteuid() == 0
USER = ns.User() if has_own_ids() or not ROOT else ns.User.same()


def alone(hostname: str, *, user: ns.User | None = USER, init: bool = False, net: bool = True) -> list[Part]:
    kinds: list[Part] = [ns.Mount(), ns.Pid(init=init), ns.Ipc(), ns.Uts(hostname), ns.Cgroup()]
    return [*([user] if user else []), *kinds, *([ns.Net()] if net else [])]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two users in it."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("web:x:33:34::/var/www:/bin/sh\n")
    (tmp_path / "root/etc/group").write_text("more:x:44:web\n")
    return tmp_path / "root"


def test_a_sandbox(root: Path) -> None:
    parts = [mounts.Dev(), mounts.Tmpfs("/tmp", size="64M"), mounts.Masked(), mounts.ReadOnly()]
    parts += [ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default()]
    by_hand = ck.plan(*alone("sandbox", user=ns.User()), ck.LayerFS(root, readonly=True), *parts, run=["sh"])
    assert str(ck.plan(ck.sandbox(root), run=["sh"])) == str(by_hand)


RUNS: list[tuple[list[str], list[Part], list[Part]]] = [
    ([], alone("container"), [mounts.Sysfs(), *CONFINED]),
    (["-h", "box", "--init"], alone("box", init=True), [mounts.Sysfs(), *CONFINED]),
    (["--network", "host"], alone("container", net=False), CONFINED),
    (["--privileged"], alone("container"), [mounts.Sysfs()]),
    (["--share", "user"], alone("container", user=None), [mounts.Sysfs(), *CONFINED]),
    (["--tmpfs", "/t", "-v", "/dev/null:/n:ro"], alone("container"), [
        mounts.Sysfs(), *CONFINED, mounts.Bind("/dev/null", "/n", readonly=True, idmap=False), mounts.Tmpfs("/t"),
    ]),
    (["-v", "/etc:/e:idmap"], alone("container"), [mounts.Sysfs(), *CONFINED, mounts.Bind("/etc", "/e", options=("nodev",), idmap=True)]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "namespaces", "others"), RUNS, ids=[" ".join(options) or "nothing" for options, _, _ in RUNS])
def test_a_run_in_a_root(
    root: Path, options: list[str], namespaces: list[Part], others: list[Part], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *options, "--read-only", "--rootfs", str(root), "--", "sh"]) == 0
    parts = [*namespaces, ck.LayerFS(root, readonly=True), mounts.Dev(), *others]
    assert capsys.readouterr().out == f"{ck.plan(*parts, run=['sh'], env=environment(), die_with_parent=True)}\n"


def environment() -> dict[str, str]:
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | ({"TERM": ""} if "TERM" in os.environ else {})


def test_a_run_of_an_image(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "store")
    config: dict[str, Any] = {"cmd": ["sh"], "user": "web", "working_dir": "/srv/app", "volumes": ["/data"], "env": ["A=b"]}
    image = store.put(ck.Image.scratch().append(ck.Layer.from_directory(root)).with_config(**config), "app:1")
    assert main(["plan", "--store", str(tmp_path / "store"), "--read-only", "-v", "/dev/null:/etc/hosts", "app:1"]) == 0
    printed = capsys.readouterr().out
    user = ns.User() if has_own_ids() else ns.User.same() if ROOT else ns.User(33, 34)
    parts = [mounts.Dev(), mounts.Sysfs(), *SETUID, *([ck.Credentials(33, 34, (44,))] if ROOT else [])]
    parts += [Directory("/srv/app"), Directory("/data")]
    parts += [Files(tuple(file for file in network_files("none", "container") if file.target != "/etc/hosts"))]
    parts += [mounts.Bind("/dev/null", "/etc/hosts", idmap=False)]
    variables = {**environment(), "HOSTNAME": "", "HOME": "", "A": ""}
    with ck.LayerFS(image, readonly=True) as layers:
        namespaces = alone("container", user=user)
        by_hand = ck.plan(*namespaces, layers, *parts, run=["sh"], env=variables, cwd="/srv/app", die_with_parent=True)
        assert printed == f"{by_hand}\n"


def test_a_run_of_a_build(tmp_path: Path) -> None:
    job = Job(["make"], {"A": "b"}, "/src", Account(33, 34, (44,), "/var/www"), "none", binds=(mounts.Tmpfs("/t"),))
    with Workspace(Store(tmp_path / "store")) as workspace:
        spec, connected = spec_of(workspace, job), spec_of(workspace, Job(["make"], {}))
    ids = {"uids": spec.uids, "gids": spec.gids}
    assert spec == ContainerSpec(
        ["make"], env={"HOME": "/var/www", "A": "b"}, cwd="/src", directories=["/src"], user="33:34", groups=(44,), hostname="build",
        name_files=True, umask=0o022, mounts=[mounts.Dev(), mounts.Sysfs(), mounts.Tmpfs("/t")],
        namespaces=Namespaces(user="new" if has_own_ids() or not ROOT else "host"), **ids,
    )  # fmt: skip
    assert connected.profile == Profile().dropping("CAP_NET_RAW")
    assert connected.namespaces.net == "host"


def test_the_plan_of_a_run_of_a_build(root: Path, tmp_path: Path) -> None:
    job = Job(["make"], {}, "/", Account(33, 34, (), "/var/www"), "none")
    with Workspace(Store(tmp_path / "store")) as workspace, ck.LayerFS(root) as layers:
        spec = spec_of(workspace, job)
        user = (ns.User(uids=spec.uids, gids=spec.gids) if spec.uids else ns.User(33, 34)) if not ROOT else USER if has_own_ids() else None
        parts = [
            *alone("build", user=user),
            Umask(),
            layers,
            mounts.Dev(),
            mounts.Sysfs(),
            *SETUID,
            Files(tuple(network_files("none", "build"))),
        ]
        parts += [ck.Credentials(33, 34)] if ROOT or spec.uids else []
        by_hand = ck.plan(*parts, run=["make"], env={"HOME": ""}, cwd="/", die_with_parent=True)
        assert str(spec.plan(layers, die_with_parent=True)) == str(by_hand)
