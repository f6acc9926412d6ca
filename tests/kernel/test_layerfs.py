"""LayerFS on the real kernel: the changes of a program, the users that may mount it, the leftovers."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import until

import containerkit as ck
from containerkit import mounts, ns
from containerkit.core.timeline import OWN_IDS
from containerkit.state.scratch import PREFIX

STANDARD = (ns.User(), ns.Mount(), ns.Pid())


@pytest.fixture
def base(tmp_path: Path, rootdir: Path) -> Path:
    """The shared root is a layer of its own; this one lies over it with known contents."""
    layer = tmp_path / "base"
    (layer / "data" / "deep").mkdir(parents=True)
    (layer / "data" / "file").write_text("old\n")
    (layer / "data" / "deep" / "leaf").write_text("leaf\n")
    (layer / "data" / "link").symlink_to("file")
    (layer / "gone").mkdir()
    (layer / "gone" / "inner").write_text("inner\n")
    return layer


@pytest.fixture
def root(rootdir: Path, base: Path) -> Iterator[ck.LayerFS]:
    with ck.LayerFS(rootdir, base) as made:
        yield made


def sh(root: ck.LayerFS, script: str, *parts: ck.Part) -> str:
    result = ck.run(["/bin/sh", "-c", script], *STANDARD, root, *parts, timeout=30)
    assert result.exit_code == 0, result.stderr.decode()
    return result.text


def listed(root: ck.LayerFS) -> set[str]:
    return {str(change) for change in root.changes()}


def test_added_modified_deleted(root: ck.LayerFS, base: Path) -> None:
    sh(root, "echo new > /data/file; rm /data/link; mkdir -p /made/here; echo x > /made/here/it")
    assert listed(root) == {"modified /data/file", "deleted  /data/link", "added    /made", "added    /made/here", "added    /made/here/it"}
    assert (base / "data" / "file").read_text() == "old\n", "the layer below was written to"


def test_nothing_changed_is_nothing_listed(root: ck.LayerFS) -> None:
    sh(root, "cat /data/file")
    assert listed(root) == set()
    assert root.usage().entries == 0


def test_opaque_directory_hides_what_was_there(root: ck.LayerFS) -> None:
    sh(root, "rm -r /gone; mkdir /gone; echo y > /gone/other")
    assert listed(root) == {"deleted  /gone/inner", "added    /gone/other"}


def test_a_whiteout_over_nothing_is_no_change(root: ck.LayerFS) -> None:
    sh(root, "touch /brief; rm /brief")
    assert listed(root) == set()


def test_a_file_that_becomes_a_directory(root: ck.LayerFS) -> None:
    sh(root, "rm /data/file; mkdir /data/file; touch /data/file/now")
    assert listed(root) == {"modified /data/file", "added    /data/file/now"}


def test_commit_is_the_next_layer(root: ck.LayerFS) -> None:
    sh(root, "echo one > /one; rm -r /gone")
    with root.commit() as following:
        assert len(following.lowers) == 3
        assert sh(following, "cat /one; ls /").startswith("one\n")
        assert "gone" not in sh(following, "ls /").split()
        assert listed(following) == set()
        sh(following, "rm /one; mkdir /gone")
        assert listed(following) == {"deleted  /one", "added    /gone"}
    with pytest.raises(ck.LayerError):
        root.upper  # noqa: B018 - it is at its end


def test_commit_to_a_directory_stays(root: ck.LayerFS, tmp_path: Path, rootdir: Path) -> None:
    kept = tmp_path / "kept"
    with ck.LayerFS(rootdir, scratch=tmp_path) as here:
        sh(here, "echo kept > /kept")
        here.commit(kept).close()
    assert (kept / "kept").read_text() == "kept\n"


def test_changes_are_kept_where_asked(rootdir: Path, tmp_path: Path) -> None:
    with ck.LayerFS(rootdir, directory=tmp_path / "state") as first:
        sh(first, "echo here > /here")
    with ck.LayerFS(rootdir, directory=tmp_path / "state") as second:
        assert sh(second, "cat /here") == "here\n"


def test_one_child_at_a_time(root: ck.LayerFS) -> None:
    plan = ck.plan(*STANDARD, root, run=["/bin/sleep", "100"])
    with plan.spawn(), pytest.raises(ck.StepError, match="another process has this LayerFS mounted"):
        plan.spawn()
    sh(root, "true")  # the first is gone, so it is free again


def test_a_mounted_one_is_neither_closed_nor_committed(root: ck.LayerFS) -> None:
    with ck.plan(*STANDARD, root, run=["/bin/sleep", "100"]).spawn():
        with pytest.raises(ck.LayerError, match="still mounted"):
            root.commit()
        with pytest.raises(ck.LayerError, match="still mounted"):
            root.close()


def test_a_failed_spawn_frees_it(root: ck.LayerFS) -> None:
    with pytest.raises(ck.StepError):
        ck.run(["/bin/nothing"], *STANDARD, root)
    sh(root, "true")


@pytest.mark.parametrize("layers", [1, 2])
def test_readonly_needs_no_entering(rootdir: Path, base: Path, layers: int) -> None:
    view = ck.LayerFS(*[rootdir, base][:layers], readonly=True)
    result = ck.run(["/bin/sh", "-c", "touch /x"], *STANDARD, view)
    assert b"Read-only file system" in result.stderr
    assert result.exit_code


def test_many_layers(rootdir: Path, tmp_path: Path) -> None:
    for i in range(499):
        (tmp_path / f"{i:03}").mkdir()
        (tmp_path / f"{i:03}" / f"file{i}").touch()
    with ck.LayerFS(rootdir, *sorted(tmp_path.iterdir())) as root:
        names = sh(root, "ls /").split()
    assert {f"file{i}" for i in range(499)} <= set(names)


def test_a_later_layer_covers_an_earlier_one(rootdir: Path, base: Path, tmp_path: Path) -> None:
    over = tmp_path / "over"
    (over / "data").mkdir(parents=True)
    (over / "data" / "file").write_text("over\n")
    with ck.LayerFS(rootdir, base, over) as root:
        assert sh(root, "cat /data/file /data/deep/leaf") == "over\nleaf\n"


def test_odd_names(rootdir: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a:b,c\\d e"
    odd.mkdir()
    (odd / "found").write_text("yes\n")
    with ck.LayerFS(rootdir, odd) as root:
        assert sh(root, "cat /found") == "yes\n"


@pytest.mark.parametrize("name", ["with:colon", "with\\backslash", "with space"])
def test_odd_names_the_classic_way(rootdir: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "found").write_text("yes\n")
    with ck.kernel.assume_missing("fsopen", "lowerdir+"), ck.LayerFS(rootdir, tmp_path / name) as root:
        assert sh(root, "cat /found") == "yes\n"


def test_a_long_path_takes_the_classic_way(rootdir: Path, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 100] * 3)
    deep.mkdir(parents=True)
    (deep / "found").write_text("yes\n")
    with ck.LayerFS(rootdir, deep) as root:
        assert "mount" in {step.call.name for step in root.steps() if step.only_with != OWN_IDS}
        assert sh(root, "cat /found") == "yes\n"


@pytest.mark.root
def test_mounted_on_the_host(root: ck.LayerFS) -> None:
    with root.mounted() as path:
        assert (path / "data" / "file").read_text() == "old\n"
        (path / "data" / "file").write_text("host\n")
        with pytest.raises(ck.StepError, match="another process"):
            ck.run(["/bin/true"], *STANDARD, root)
    assert listed(root) == {"modified /data/file"}
    assert not path.exists()


@pytest.mark.root
def test_mounted_read_only_on_the_host(rootdir: Path, base: Path, tmp_path: Path) -> None:
    with ck.LayerFS(rootdir, base, readonly=True).mounted(tmp_path / "at") as path:
        assert path == tmp_path / "at"
        with pytest.raises(OSError, match="Read-only"):
            (path / "never-there-before").touch()


@pytest.mark.unprivileged
def test_mounting_on_the_host_needs_root(rootdir: Path) -> None:
    with ck.LayerFS(rootdir) as root, pytest.raises(ck.StepRefused, match="CAP_SYS_ADMIN") as caught, root.mounted():
        pass
    assert isinstance(caught.value, PermissionError)


@pytest.mark.unprivileged
def test_files_of_other_ids_are_removed_too(rootdir: Path, tmp_path: Path) -> None:
    """A range of ids makes files that their owner cannot delete from outside."""
    with ck.LayerFS(rootdir) as root:
        parts = (ns.subids(), ns.Mount(), ns.Pid(), root)
        result = ck.run(["/bin/sh", "-c", "mkdir -m 700 /d; touch /d/f; chown -R 7:7 /d"], *parts, env={"PATH": "/bin:/usr/bin"})
        assert result.exit_code == 0, result.stderr
        upper = root.upper
        assert (upper / "d").stat().st_uid not in (0, os.getuid())
    assert not upper.exists()


def test_a_killed_owner_is_swept(rootdir: Path, tmp_path: Path) -> None:
    script = f"""
import containerkit as ck, sys, time
from containerkit import ns
root = ck.LayerFS({str(rootdir)!r}, scratch={str(tmp_path)!r}).__enter__()
ck.run(["/bin/sh", "-c", "mkdir -p /a/b; touch /a/b/c"], ns.User(), ns.Mount(), ns.Pid(), root)
print("ready", flush=True)
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"ready\n"
        before = [p for p in tmp_path.iterdir() if p.name.startswith(PREFIX)]
        assert len(before) == 1
        with ck.LayerFS(rootdir, scratch=tmp_path):
            assert before[0].exists(), "swept while its owner lives"
        owner.send_signal(signal.SIGKILL)
    with ck.LayerFS(rootdir, scratch=tmp_path):
        assert not before[0].exists()


@pytest.mark.parametrize("survives", [True, False])
def test_a_killed_owner_blocks_kept_changes_no_longer_than_they_are_mounted(survives: bool, rootdir: Path, tmp_path: Path) -> None:
    kept = tmp_path / "with space, and comma"
    script = f"""
import containerkit as ck, os, signal, sys
from containerkit import ns
root = ck.LayerFS({str(rootdir)!r}, directory={str(kept)!r}).__enter__()
plan = ck.plan(ns.User(), ns.Mount(), ns.Pid(), root, run=["/bin/sleep", "1000"], die_with_parent={not survives})
print(plan.spawn().pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        child = int(owner.stdout.readline())
    with contextlib.ExitStack() as stack:
        if survives:
            with ck.LayerFS(rootdir, directory=kept) as root, pytest.raises(ck.StepError, match="another process"):
                sh(root, "true")
            pidfd = os.pidfd_open(child)
            stack.callback(os.close, pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            assert select.select([pidfd], [], [], 5)[0]
        assert until(lambda: not os.path.exists(f"/proc/{child}/exe"))
        with ck.LayerFS(rootdir, directory=kept) as root:
            sh(root, "true")


def test_two_that_start_at_once_do_not_sweep_each_other(rootdir: Path, tmp_path: Path) -> None:
    script = f"""
import containerkit as ck
from containerkit import ns
for _ in range(30):
    with ck.LayerFS({str(rootdir)!r}, scratch={str(tmp_path)!r}) as root:
        assert root.upper.is_dir()
"""
    runs = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [run.wait(60) for run in runs] == [0] * 4


def test_dev_and_masks_over_layers(root: ck.LayerFS) -> None:
    text = sh(root, "ls /dev; cat /proc/keys; echo ok > /dev/null", mounts.Dev(), mounts.Masked())
    assert {"null", "zero", "fd", "pts", "shm"} <= set(text.split())
    assert listed(root) == set(), "set-up wrote into the changes"
