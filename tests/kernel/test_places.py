"""A mount needs a place in the root: the plan makes it, through links that lead to nothing yet, also in a read-only root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import TRUE, again, compiled

import containerkit as ck
from containerkit import kernel, mounts, ns
from containerkit.parts.files import Directory, File, Files
from containerkit.state import scratch

ALONE = [ns.User(), ns.Mount(), ns.Pid()]
SHOW = ["/bin/sh", "-c"]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A root with programs and nothing that a mount could be put on."""
    root = ck.rootfs.from_programs(["sh", "cat", "ls", "touch", "stat", "pwd", "mount"], tmp_path / "root")
    for name in ("proc", "sys", "dev", "tmp", "etc"):
        if (root / name).is_dir():
            scratch.remove(root / name)
    return root


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize("cut", [(), ("copies of detached mounts",), ("lowerdir+",), ("mount_setattr",)])
def test_a_sandbox_of_a_root_without_any_place(cut: tuple[str, ...], bare: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    before = names(bare)
    script = "ls -d /proc/1 /dev/null /tmp /mnt/a/b; touch /new; touch /mnt/new; mount -o remount,rw /"
    with kernel.assume_missing(*cut):
        try:
            result = ck.run([*SHOW, script], ck.sandbox(bare, mounts.Bind(tmp_path / "data", "/mnt/a/b")))
        except ck.Unavailable:
            assert "mount_setattr" in cut
            return
    assert sorted(result.text.split()) == ["/dev/null", "/mnt/a/b", "/proc/1", "/tmp"]
    assert result.stderr.count(b"Read-only file system") == 2
    assert names(bare) == before


def test_what_the_memory_for_places_takes_is_only_the_programs(bare: Path) -> None:
    """Root inside with every capability can make the root writable: then it writes to a memory, and to no layer."""
    before = names(bare)
    parts = [*ALONE, ck.LayerFS(bare, readonly=True)]
    result = ck.run([*SHOW, "mount -o remount,bind,rw / && touch /bin/new && ls /bin/new"], *parts)
    assert result.text == "/bin/new\n", result.stderr
    assert names(bare) == before


def test_several_layers_without_places(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "top/opt").mkdir(parents=True)
    result = ck.run([*SHOW, "ls -d /proc/1 /opt; touch /x"], ck.sandbox(ck.LayerFS(bare, tmp_path / "top", readonly=True)))
    assert (result.text.split(), b"Read-only" in result.stderr) == (["/opt", "/proc/1"], True)


def test_a_root_that_has_all_places_gets_no_memory(rootdir: Path) -> None:
    for root, needs in ((rootdir, False), (rootdir / "bin", True)):
        plan = ck.plan(*ALONE, ck.LayerFS(root, readonly=True), mounts.Tmpfs("/etc"), run=["/bin/true"])
        assert any("upperdir" in str(step) for step in plan.timeline.steps) is needs, root


def test_a_place_in_a_mount_of_the_plans_is_made_there(rootdir: Path) -> None:
    plan = ck.plan(
        *ALONE, ck.LayerFS(rootdir, readonly=True), mounts.Tmpfs("/etc"), mounts.Tmpfs("/etc/a/b/c"), run=["/bin/ls", "/etc/a/b"]
    )
    assert not any("upperdir" in str(step) for step in plan.timeline.steps)
    assert plan.run().text == "c\n"


@pytest.mark.parametrize(
    "link", ["../run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/stub-resolv.conf", "a", "../../../run/x"]
)
@pytest.mark.parametrize("kind", ["writable", "readonly", "sandbox", "root", "tmpfs"])
def test_a_file_is_mounted_where_a_dangling_link_leads_to(kind: str, link: str, bare: Path, tmp_path: Path) -> None:
    (bare / "etc").mkdir()
    (bare / "etc/resolv.conf").symlink_to(link)
    (bare / "etc/a").symlink_to("b/c/../d/e")
    (tmp_path / "file").write_text("mounted")
    bind, before = mounts.Bind(tmp_path / "file", "/etc/resolv.conf"), names(bare)
    with ck.LayerFS(bare) as layers:
        roots: dict[str, list[Any]] = {
            "writable": [*ALONE, layers], "readonly": [*ALONE, ck.LayerFS(bare, readonly=True)], "sandbox": [ck.sandbox(bare)],
            "root": [*ALONE, mounts.Root(bare)], "tmpfs": [*ALONE, layers, mounts.Tmpfs("/run")],
        }  # fmt: skip
        result = ck.run(["/bin/cat", "/etc/resolv.conf"], *roots[kind], bind)
    assert result.text == "mounted", result.stderr
    assert (names(bare) == before) is (kind != "root")


def test_a_directory_is_mounted_where_a_dangling_link_on_the_way_leads_to(bare: Path) -> None:
    scratch.remove(bare / "var")
    (bare / "var").symlink_to("srv/deep/var")
    with ck.LayerFS(bare) as root:
        result = ck.run([*SHOW, "touch /var/lib/data/x; ls /srv/deep/var/lib/data"], *ALONE, root, mounts.Tmpfs("/var/lib/data"))
    assert result.text == "x\n", result.stderr


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("path", ["/not/there", "/link/there", "/tmp/deep/there"])
def test_a_working_directory_is_made(path: str, readonly: bool, bare: Path) -> None:
    (bare / "link").symlink_to("/elsewhere")
    with ck.LayerFS(bare, readonly=readonly) as root:
        plan = ck.plan(*ALONE, root, mounts.Tmpfs("/tmp"), Directory(path), run=["/bin/pwd", "-P"], cwd=path)
        assert plan.run().text == path.replace("/link", "/elsewhere") + "\n"


def test_files_of_a_build_in_a_read_only_root(bare: Path) -> None:
    files = Files((File("/etc/hosts", b"one"), File("/run/secrets/key", b"two")))
    result = ck.run(["/bin/cat", "/etc/hosts", "/run/secrets/key"], *ALONE, ck.LayerFS(bare, readonly=True), files)
    assert result.text == "onetwo", result.stderr


@pytest.mark.parametrize("made", [
    lambda: mounts.Bind("/etc", "/"), lambda: mounts.Tmpfs("/"), lambda: mounts.Proc("//."), lambda: mounts.Masked(["/"]),
    lambda: mounts.ReadOnly(["/./"]), lambda: mounts.Sysfs("/"), lambda: mounts.Devpts("/"), lambda: mounts.Mqueue("/"),
])  # fmt: skip
def test_the_root_itself_is_refused_in_words(made: Any) -> None:
    with pytest.raises(ck.PlanError, match="on / itself"):
        made()


def test_a_link_that_leads_a_mount_to_the_kernels_own_is_refused(bare: Path) -> None:
    (bare / "data").symlink_to("/proc/sys")
    with pytest.raises(ck.StepError, match="/data leads to /proc/sys"):
        ck.run(["/bin/true"], *ALONE, ck.LayerFS(bare, readonly=True), mounts.Tmpfs("/data"))


def test_links_in_a_circle_are_told_by_the_kernel(bare: Path) -> None:
    (bare / "a").symlink_to("b")
    (bare / "b").symlink_to("a")
    with pytest.raises(ck.StepError, match="circle"), ck.LayerFS(bare) as root:
        ck.run(["/bin/true"], *ALONE, root, mounts.Tmpfs("/a"))


def test_a_place_of_the_other_kind_is_told(bare: Path, tmp_path: Path) -> None:
    (bare / "file").touch()
    with pytest.raises(ck.StepError, match="a directory on a directory"), ck.LayerFS(bare) as root:
        ck.run(["/bin/true"], *ALONE, root, mounts.Tmpfs("/file"))


def test_the_hint_of_a_missing_place_names_what_exists(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    compiled(TRUE, tmp_path / "bin/true")
    with pytest.raises(ck.StepError, match="LayerFS") as caught:
        ck.run(["/bin/true"], *ALONE, mounts.Root(tmp_path, readonly=True))
    assert caught.value.errno == 2


@pytest.mark.root
def test_places_do_not_depend_on_the_umask(bare: Path) -> None:
    script = "import os; os.umask(0o077)\nimport containerkit as ck\nfrom containerkit import mounts, ns\n"
    script += f"parts = ns.Mount(), ns.Pid(), ck.LayerFS({str(bare)!r}, readonly=True), mounts.Dev()\n"
    script += "print(ck.run(['/bin/stat', '-c', '%a', '/', '/dev/null'], *parts).text.split())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    mode = f"{os.stat(bare).st_mode & 0o7777:o}"
    assert done.stdout.strip() == str([mode, "666"])


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)


@pytest.mark.root
def test_no_place_of_a_mount_stays_in_a_layer(bare: Path, tmp_path: Path) -> None:
    """A build on an image as systemd-resolved leaves it: what was made where the link leads to goes again."""
    (bare / "etc").mkdir()
    (bare / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    store = ck.Store(tmp_path / "store")
    layer = ck.Layer.from_directory(bare, store.blobs)
    store.put(ck.Image.of(ck.image.config.ImageConfig(env=("PATH=/bin:/usr/bin",)), [layer]), "base:1")
    (tmp_path / "context").mkdir()
    text = b"FROM base:1\nRUN cat /etc/resolv.conf > /copy\n"
    image = ck.Image.build(tmp_path / "context", dockerfile=text, store=store, cache=False)
    (tmp_path / "top").mkdir()
    image.layers[-1].unpack_into(tmp_path / "top", whiteouts="plain")
    assert names(tmp_path / "top") == ["copy"]
