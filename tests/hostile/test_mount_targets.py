# ruff: noqa: E501 - tables of cases and scripts read better on one line
"""Roots whose /proc, /sys or /dev is a link, or becomes one: no mask is missed, and no kernel file is left open to a program."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import again

import containerkit as ck
from containerkit import kernel, mounts, ns
from containerkit.image.config import ImageConfig
from containerkit.state import scratch

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(120)]
OLD = ("fsopen", "open_tree", "move_mount")
WALLS = [ns.User(), ns.Mount(), ns.Pid(), ns.Net(), ns.Ipc()]
LINKS = [".", "d", "d/x/..", "./d/x/../", "d/x/../../d", "/d", "../../d/x/..", "self"]
#: Shows and changes what a second, unmasked proc would give away.
REACH = """
for at in /d /d/x /self / /proc; do
  [ -e $at/sys/kernel/core_pattern ] && { ( : >> $at/sys/kernel/core_pattern ) 2>/dev/null && echo "WRITABLE $at"; }
  [ "$(cat $at/timer_list $at/keys 2>/dev/null | head -c 1)" ] && echo "READABLE $at"
done; echo done
"""


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    """Files that must stay unchanged; put back first, and then compared."""
    paths = ("/dev/null", "/dev/full", "/dev/zero", "/dev/tty")
    pattern, before = Path("/proc/sys/kernel/core_pattern").read_text(), [os.stat(path) for path in paths]
    try:
        yield
    finally:
        after = [os.stat(path) for path in paths]
        changed = Path("/proc/sys/kernel/core_pattern").read_text()
        if os.geteuid() == 0:
            if changed != pattern:
                Path("/proc/sys/kernel/core_pattern").write_text(pattern)
            for path, status in zip(paths, before, strict=True):
                os.chmod(path, status.st_mode & 0o7777)
                os.chown(path, status.st_uid, status.st_gid)
    assert changed == pattern
    assert [(s.st_mode, s.st_uid, s.st_gid) for s in after] == [(s.st_mode, s.st_uid, s.st_gid) for s in before]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("programs")
    directory.chmod(0o755)
    return ck.rootfs.from_programs(
        ["sh", "cat", "head", "chmod", "chown", "touch", "mount", "ls", "mv", "ln", "mkdir", "sleep"], directory / "root"
    )


@pytest.fixture
def root(programs: Path, tmp_path: Path) -> Path:
    made = tmp_path / "root"
    subprocess.run(["cp", "-a", programs, made], check=True)
    (made / "d/x").mkdir(parents=True)
    return made


def replace(root: Path, name: str, link: str) -> None:
    path = root / name
    if path.is_dir() and not path.is_symlink():
        scratch.remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(link)


def other(root: Path) -> Path:
    """One more layer, below."""
    path = root.with_name("other")
    path.mkdir(exist_ok=True)
    return path


def ways(root: Path, *, old: bool = False) -> dict[str, list[Any]]:
    """The plans of an attacked root.  A kernel so old shows root no files but with the caller's own ids, asked for by name."""
    walls = [mounts.Dev(), mounts.Masked(), mounts.ReadOnly()]
    space = [*(identity() if old else WALLS[:1]), *WALLS[1:]]
    found = {
        "root": [*space, mounts.Root(root), *walls],
        "readonly": [*space, ck.LayerFS(root, readonly=True), *walls],
        "layers": [*space, ck.LayerFS(other(root), root, readonly=True), *walls],
        "sysfs": [*space, mounts.Root(root), mounts.Sysfs(), *walls],
        "proc": [*space[:2], ns.Pid(proc=False), ns.Net(), mounts.Root(root), mounts.Proc(), *walls],
    }
    found |= {"sandbox": [ck.sandbox(root)]} if not old or os.geteuid() else {}
    return found | ({"no user namespace": [*WALLS[1:], mounts.Root(root), *walls]} if os.geteuid() == 0 else {})


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_link_in_the_place_of_the_kernels_own_is_refused_by_name(name: str, link: str, old: bool, root: Path) -> None:
    replace(root, name, link)
    with kernel.assume_missing(*(OLD if old else ())):
        for way, parts in ways(root, old=old).items():
            with pytest.raises(ck.StepError, match=f"/{name}.* is a link in this root") as caught:
                ck.run(["/bin/sh", "-c", REACH], *parts)
            assert caught.value.errno == 40, way


@pytest.mark.parametrize("name", ["dev/pts", "dev/shm", "dev/mqueue", "sys/firmware"])
def test_so_is_one_below_them(name: str, root: Path) -> None:
    replace(root, name, "../d")
    parts = {
        "dev/pts": mounts.Devpts(),
        "dev/shm": mounts.Tmpfs("/dev/shm"),
        "dev/mqueue": mounts.Mqueue(),
        "sys/firmware": mounts.Masked(),
    }
    with pytest.raises(ck.StepError, match=f"/{name}"):
        ck.run(["/bin/true"], *WALLS, mounts.Root(root), parts[name])


@pytest.mark.parametrize("kind", [mounts.Proc, mounts.Mqueue, mounts.Devpts])
def test_so_is_one_that_a_kernels_filesystem_elsewhere_would_follow(kind: Any, root: Path) -> None:
    replace(root, "elsewhere", "d")
    with pytest.raises(ck.StepError, match="/elsewhere"):
        ck.run(["/bin/true"], *WALLS[:2], ns.Pid(proc=False), ns.Ipc(), mounts.Root(root), kind("/elsewhere"))


@pytest.mark.root
@pytest.mark.parametrize("link", ["d/x/..", "."])
def test_so_it_is_on_the_command_line_and_in_a_build(link: str, root: Path, tmp_path: Path) -> None:
    replace(root, "proc", link)
    store = ck.Store(tmp_path / "store")
    layer = ck.Layer.from_directory(root, store.blobs)
    store.put(ck.Image.of(ImageConfig(cmd=("sh", "-c", REACH), env=("PATH=/bin:/usr/bin",)), [layer]), "evil:1")
    for more in ([], ["--read-only"], ["--network", "none"]):
        argv = [sys.executable, "-m", "containerkit", "run", *more, "--store", str(store.directory), "--pull", "never", "evil:1"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (125, ""), more
        assert "/proc, or a directory on the way to it, is a link" in done.stderr
    (tmp_path / "context").mkdir()
    with pytest.raises(ck.ContainerKitError, match="is a link in this root"):
        ck.Image.build(tmp_path / "context", dockerfile=b"FROM evil:1\nRUN cat /etc/hosts\n", store=store, cache=False)


@pytest.mark.parametrize("way", ["sandbox", "root", "old"])
def test_a_root_that_changes_meanwhile(way: str, root: Path) -> None:
    """Another process swaps /proc for a link and back, again and again: the program finds a masked proc at /proc, or does not start."""
    proc, done = root / "proc", threading.Event()
    proc.mkdir(exist_ok=True)

    def swap() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                os.rename(proc, root / "d/was")
                proc.symlink_to("d/x/..")
            with contextlib.suppress(OSError):
                proc.unlink()
                os.rename(root / "d/was", proc)

    thread = threading.Thread(target=swap)
    thread.start()
    seen, reach = set(), REACH.replace("/d/x", "/d/x /d/was")
    try:
        with kernel.assume_missing(*(OLD if way == "old" else ())):
            for _ in range(60):
                parts = ways(root, old=way == "old")["root" if way == "old" else way]
                try:
                    seen.add(ck.run(["/bin/sh", "-c", reach], *parts).text)
                except ck.StepError as error:
                    seen.add(f"refused: {error.errno}")
    finally:
        done.set()
        thread.join()
    assert not [text for text in seen if "WRITABLE" in text or "READABLE" in text], seen


def test_a_mask_below_a_mount_follows_no_link_of_the_root(root: Path, tmp_path: Path) -> None:
    """The bind lands where the link leads to, and hides the link's own way: the mask is found from the bind."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("secret")
    replace(root, "data", "d/x/..")
    parts = [
        *WALLS,
        mounts.Root(root),
        mounts.Bind(tmp_path / "secrets", "/data"),
        mounts.Masked(["/data/key"]),
        mounts.ReadOnly(["/data"]),
    ]
    result = ck.run(["/bin/sh", "-c", "cat /d/key; touch /d/new; ls /d"], *parts)
    assert result.text == "key\n"
    assert b"Read-only" in result.stderr
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["key"]


def test_a_link_in_a_volume_does_not_lead_a_mount_out_of_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/sub").symlink_to("../../d")
    (root / "vol").mkdir()
    with pytest.raises(ck.StepError, match="out of the mount"):
        ck.run(["/bin/true"], *WALLS, mounts.Root(root), mounts.Bind(tmp_path / "volume", "/vol"), mounts.Tmpfs("/vol/sub"))


# --- devices -----------------------------------------------------------------------------------------------------

TOUCH = "for f in /dev/full /dev/null /dev/zero /proc/self/fd/0 /proc/timer_list; do chmod 0600 $f; chown 1001 $f; touch -t 200001010000 $f; done 2>/dev/null"
REMOUNT = (
    "for f in /dev/full /dev/null /proc/timer_list; do mount -o remount,bind,rw $f; mount -o remount,rw $f; done 2>/dev/null; " + TOUCH
)


def identity() -> list[Any]:
    """The caller's ids as themselves, asked for by name."""
    if os.geteuid():
        return [ns.User()]
    return [ns.User(uids=[(0, 0, 65536)], gids=[(0, 0, 65536)])]


def times() -> list[int]:
    return [os.stat(path).st_mtime_ns for path in ("/dev/full", "/dev/zero")]


@pytest.mark.parametrize("script", [TOUCH, REMOUNT])
@pytest.mark.parametrize("kind", ["sandbox", "identity", "none", "no root of its own"])
def test_no_device_node_of_the_hosts_changes(kind: str, script: str, root: Path) -> None:
    parts: dict[str, list[Any]] = {
        "sandbox": [ck.sandbox(root)],
        "identity": [*identity(), *WALLS[1:], mounts.Root(root), mounts.Dev(), mounts.Masked()],
        "none": [*WALLS[1:], mounts.Root(root), mounts.Dev(), mounts.Masked(), ck.Capabilities.default()],
        "no root of its own": [*identity(), *WALLS[1:], mounts.Dev(), mounts.Masked()],
    }
    if kind == "none" and os.geteuid():
        pytest.skip("needs root")
    before = times()
    result = ck.run(["/bin/sh", "-c", f"{script}; echo x > /dev/null && head -c 2 /dev/zero && ls /dev/full"], *parts[kind])
    assert result.stdout == b"\0\0/dev/full\n", result.stderr
    assert times() == before


@pytest.mark.root
@pytest.mark.parametrize("missing", [(), ("copies of detached mounts",), ("mount_setattr",), OLD, (*OLD, "mount_setattr")])
def test_nor_where_the_kernel_is_older(missing: tuple[str, ...], root: Path) -> None:
    with kernel.assume_missing(*missing):
        for hosts in (True, None):
            for user in (identity(), []):
                parts = [*user, *WALLS[1:], mounts.Root(root), mounts.Dev(hosts=hosts), mounts.Masked(["/proc/timer_list"])]
                plan = ck.plan(*parts, run=["/bin/sh", "-c", f"{TOUCH}; echo x > /dev/null && head -c 1 /dev/zero"])
                stdin = ck.PIPE if "fsopen" in missing else ck.DEVNULL  # which is the host's where no filesystem can be made
                with plan.spawn(stdin=stdin, stdout=ck.PIPE) as process:
                    assert process.communicate()[0] == b"\0"


@pytest.mark.parametrize("same", [False, True])
def test_several_parts_hide_files(same: bool, root: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    parts = [mounts.Masked(["/proc/version"]), mounts.Masked(["/proc/version" if same else "/proc/cmdline"]), mounts.Masked()]
    result = ck.run(["/bin/cat", "/proc/version", *([] if same else ["/proc/cmdline"])], *WALLS, mounts.Root(root), mounts.Dev(), *parts)
    assert (result.exit_code, result.stdout) == (0, b"")
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
def test_nor_by_containerkit_run_or_a_build(root: Path, tmp_path: Path) -> None:
    store = ck.Store(tmp_path / "store")
    layer = ck.Layer.from_directory(root, store.blobs)
    store.put(ck.Image.of(ImageConfig(cmd=("sh", "-c", TOUCH), env=("PATH=/bin:/usr/bin",)), [layer]), "evil:1")
    argv = [sys.executable, "-m", "containerkit", "run", "--store", str(store.directory), "--pull", "never", "evil:1"]
    subprocess.run(argv, capture_output=True, check=False)
    (tmp_path / "context").mkdir()
    ck.Image.build(tmp_path / "context", dockerfile=f"FROM evil:1\nRUN {TOUCH}; true\n".encode(), store=store, cache=False)


@pytest.mark.root
def test_our_own_nodes_stay_as_they_are_for_the_next_program(root: Path) -> None:
    parts = [*identity(), *WALLS[1:], mounts.Root(root), mounts.Dev(), mounts.Masked()]
    ck.run(["/bin/sh", "-c", REMOUNT], *parts)
    assert ck.run(["/bin/ls", "-ln", "/dev/full"], *parts).text.split()[:4] == ["crw-rw-rw-", "1", "0", "0"]


@pytest.mark.root
def test_who_closes_every_descriptor_gets_new_nodes(root: Path) -> None:
    script = f"""
import os, containerkit as ck
from containerkit.core import device_nodes as nodes
def look(): return ck.run(["/bin/ls", "/dev/full"], ck.sandbox({str(root)!r})).text
assert look()
os.closerange(3, 100)
held = [os.open("/etc", os.O_RDONLY) for _ in range(8)]
print(look(), len(nodes.shared.kept()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["/dev/full", "1"], done.stderr


# --- after a build -----------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("to", ["{host}", "../../../../../../../../..{host}", "/proc/self/root{host}"])
@pytest.mark.parametrize("name", ["emptydir", "emptyfile", "hosts"])
def test_what_cleans_up_after_a_program_follows_none_of_its_links(name: str, to: str, root: Path, tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "emptydir").mkdir(parents=True)
    for each in ("emptyfile", "hosts", "hostname", "resolv.conf"):
        (host / each).touch()
    if (root / "etc").exists():
        scratch.remove(root / "etc")
    store = ck.Store(tmp_path / "store")
    layer = ck.Layer.from_directory(root, store.blobs)
    store.put(ck.Image.of(ImageConfig(env=("PATH=/bin:/usr/bin",)), [layer]), "base:1")
    (tmp_path / "context").mkdir()
    before, where = sorted(os.listdir(host)), "/etc" if name == "hosts" else "/a"
    mount = "" if name == "hosts" else f"--mount=type=tmpfs,target=/a/{name} "
    text = f"FROM base:1\nRUN {mount}mv {where} /zz && ln -s {to.format(host=host)} {where}\n"
    image = ck.Image.build(tmp_path / "context", dockerfile=text.encode(), store=store, cache=False)
    assert image.layers
    assert sorted(os.listdir(host)) == before


@pytest.mark.root
def test_the_same_as_an_ordinary_user(as_user: Any) -> None:
    again(as_user, __file__)
