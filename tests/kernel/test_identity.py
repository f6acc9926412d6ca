"""Root's container is not the host's root: what it reads, makes and changes it does as nobody; its root's files are its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import pause

import containerkit as ck
from containerkit import kernel, mounts, ns
from containerkit.core.timeline import IDMAPPED
from containerkit.image.config import ImageConfig
from containerkit.linux import dumpable as memory
from containerkit.linux.ids import own_range
from containerkit.rootfs import rootfs

pytestmark = pytest.mark.root

PROGRAMS = ["sh", "ls", "cat", "id", "stat", "touch", "chmod", "chown", "cp", "ln", "mkdir", "mkfifo", "rm", "mv", "sleep", "true"]
OURS = (0, 1000, 65534, 1_000_000)
LIBC = ctypes.CDLL(None)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(rootfs.from_programs(PROGRAMS, tmp_path_factory.mktemp("programs") / "root"))
    (root / "data").mkdir()
    for uid in OURS:
        (root / "data" / str(uid)).write_text("x")
        os.chown(root / "data" / str(uid), uid, uid)
        os.chmod(root / "data" / str(uid), 0o600)
    return root


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory with a key of root's, into which every user may write."""
    (tmp_path / "key").write_text("root's key\n")
    (tmp_path / "key").chmod(0o600)
    tmp_path.chmod(0o777)
    return tmp_path


def sh(script: str, *parts: Any) -> ck.Result:
    return ck.run(["/bin/sh", "-c", script], *parts, timeout=60)


def owners(directory: Path) -> dict[str, tuple[int, int, int]]:
    return {p.name: (p.lstat().st_uid, p.lstat().st_gid, stat.S_IMODE(p.lstat().st_mode)) for p in directory.iterdir()}


BASE = [ns.User(), ns.Mount(), ns.Pid()]
outside = ns.User().outside


# What is the host's ----------------------------------------------------------------------------------------------


def test_a_key_of_roots_is_not_read(programs: Path, volume: Path) -> None:
    done = sh("cat /mnt/key; echo mine > /mnt/key; cat /proc/self/uid_map", ck.sandbox(programs, mounts.Bind(volume, "/mnt")))
    assert "root's key" not in done.text
    assert done.text.split()[1] != "0"
    assert (volume / "key").read_text() == "root's key\n"


def test_what_it_makes_in_a_volume_is_nobodys(programs: Path, volume: Path) -> None:
    script = "cp /bin/sh /mnt/sh && chmod 4755 /mnt/sh && mkdir /mnt/d && mkfifo /mnt/p && touch /mnt/f && chown 5:6 /mnt/f"
    done = sh(script, *BASE, mounts.Root(programs, readonly=True), mounts.Bind(volume, "/mnt"))
    assert done.exit_code == 0, done
    root = outside()
    found = owners(volume)
    assert {found[name][:2] for name in ("sh", "d", "p")} == {root}
    assert found["f"][:2] == outside(5, 6)
    assert 0 not in {uid for name, (uid, _, _) in found.items() if name != "key"}


def test_inodes_of_the_hosts_stay_as_they_are(programs: Path, volume: Path) -> None:
    (volume / "open").touch()
    (volume / "open").chmod(0o666)
    before, device = owners(volume), os.stat("/dev/full")
    files = "/mnt/open /mnt/key /dev/full"
    script = f"chmod 4777 {files}; chown 1 {files}; ln /mnt/key /mnt/k2; touch -d @0 /mnt/key /dev/full; true"
    with ck.LayerFS(programs) as root:
        sh(script, *BASE, root, mounts.Dev(), mounts.Bind(volume, "/mnt"))
    after = os.stat("/dev/full")
    assert owners(volume) == before
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime) == (device.st_mode, device.st_uid, device.st_gid, device.st_mtime)


def test_a_volume_with_its_ids_is_asked_for_by_name(programs: Path, volume: Path) -> None:
    done = sh("cat /mnt/key; touch /mnt/new; stat -c %u /mnt/key", *BASE, mounts.Root(programs), mounts.Bind(volume, "/mnt", idmap=True))
    assert done.text == "root's key\n0\n"
    assert owners(volume)["new"][:2] == (0, 0)


def test_a_place_that_nobody_may_make_in_a_volume_is_refused_with_the_ways_out(programs: Path, tmp_path: Path) -> None:
    parts = [*BASE, mounts.Root(programs), mounts.Bind(tmp_path, "/data"), mounts.Bind("/etc/hostname", "/data/name")]
    with pytest.raises(ck.StepError, match="root inside may make nothing in this directory of the host's") as caught:
        ck.run(["/bin/true"], *parts)
    assert caught.value.errno == 13
    assert sh("cat /data/name", *parts[:-2], mounts.Bind(tmp_path, "/data", idmap=True), parts[-1]).exit_code == 0


def test_a_source_below_a_closed_directory_is_bound_all_the_same(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "closed" / "open").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    (tmp_path / "closed" / "open" / "file").write_text("seen")
    (tmp_path / "closed" / "open").chmod(0o755)
    assert sh("cat /mnt/file", *BASE, mounts.Root(programs), mounts.Bind(tmp_path / "closed" / "open", "/mnt")).text == "seen"


def test_the_cgroup_stays_roots(programs: Path) -> None:
    with ck.Cgroup("identity") as group:
        show = "for f in /sys/fs/cgroup/cgroup.procs; do [ -e $f ] && echo 0 > $f && echo wrote; done; id -u"
        done = sh(show, *BASE, ns.Cgroup(), group, mounts.Root(programs), mounts.Bind("/sys", "/sys"))
        assert done.text == "0\n", done


def test_nothing_but_what_was_asked_for_is_mounted(programs: Path, tmp_path: Path) -> None:
    """The directory of the layers is mounted for a moment: nothing of it may be left under, or over, the new root."""
    (tmp_path / "other").mkdir()
    show = "ls -d /../*; while read a b c d e f; do echo $e; done < /proc/self/mountinfo"
    for missing in ((), ("lowerdir+",)):
        with kernel.assume_missing(*missing), ck.LayerFS(tmp_path / "other", programs) as root:
            seen = sh(show, *BASE, root).text.split()
        assert [line for line in seen if not line.startswith("/../")] == ["/", "/proc"]
        assert {line.removeprefix("/../") for line in seen if line.startswith("/../")} == {*os.listdir(programs), "proc"}


# What is its own -------------------------------------------------------------------------------------------------

READ = "stat -c '%u %g %n' /data/*; for f in /data/*; do cat $f > /dev/null || echo not read $f; done"
SHOWN = sorted(f"{uid} {uid} /data/{uid}" for uid in OURS)


@pytest.mark.parametrize("kind", ["root", "read-only", "two", "writable", "classic"])
def test_files_of_its_root_keep_their_owners_on_disk(kind: str, programs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    layers: dict[str, Any] = {
        "root": mounts.Root(programs),
        "read-only": ck.LayerFS(programs, readonly=True),
        "two": ck.LayerFS(programs, tmp_path / "empty", readonly=True),
    }
    if kind in layers:
        assert sorted(sh(READ, *BASE, layers[kind], mounts.Dev()).text.splitlines()) == SHOWN
        return
    with kernel.assume_missing(*(("lowerdir+",) if kind == "classic" else ())), ck.LayerFS(programs) as root:
        assert sorted(sh(READ, *BASE, root, mounts.Dev()).text.splitlines()) == SHOWN


def test_changes_have_the_ids_that_layers_have(programs: Path) -> None:
    steps = ["chown 5:6 0", "chmod 640 1000", "touch new", "chown 1000:7 new", "chmod 6755 new", "ln new hard", "ln -s x link"]
    steps += ["chown -h 8:9 link", "mkdir d", "chown 65534:65534 d", "rm 65534", "mkfifo p", "chown 2000000 p"]
    script = " && ".join(["cd /data", *steps])
    with ck.LayerFS(programs) as root:
        done = sh(script, *BASE, root)
        assert done.exit_code == 0, done
        assert {str(c) for c in root.changes()} >= {"modified /data/0", "modified /data/1000", "deleted  /data/65534", "added    /data/new"}
        found = {os.fsdecode(e.name): (e.kind, e.uid, e.gid, e.mode) for e in root.diff().entries()}
    assert found["data/0"] == ("file", 5, 6, 0o600)
    assert found["data/1000"] == ("file", 1000, 1000, 0o640)
    assert found["data/hard"][1:] == (1000, 7, 0o6755)
    assert found["data/new"] == ("hardlink", 1000, 7, 0o6755)
    assert found["data/link"][:3] == ("symlink", 8, 9)
    assert found["data/d"][:3] == ("directory", 65534, 65534)
    assert found["data/p"][:3] == ("fifo", 2_000_000, 0)
    assert "data/.wh.65534" in found


def test_a_file_capability_is_in_the_layer_as_others_have_it(programs: Path) -> None:
    """Inside it belongs to root of the user namespace; a layer says nothing of one."""
    value = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    (programs / "capable").touch()
    os.setxattr(programs / "capable", "security.capability", value)

    class Give:
        def steps(self) -> Iterator[ck.Step]:
            call = ck.syscalls.Call("setxattr", (b"/new", b"security.capability", ck.syscalls.Bytes(value, "v2"), len(value), 0))
            yield ck.Step.child(ck.Phase.DROP, call, why="setcap(8), as one call")

    with ck.LayerFS(programs) as root:
        assert sh("touch /new", *BASE, root).exit_code == 0
        assert sh("mv /capable /moved", *BASE, root, Give()).exit_code == 0
        assert os.getxattr(root.upper / "new", "security.capability") == value
        assert os.getxattr(root.upper / "moved", "security.capability") == value


def test_a_hundred_and_twenty_layers(programs: Path, tmp_path: Path) -> None:
    layers = []
    for number in range(120):
        (directory := tmp_path / f"layer{number}").mkdir()
        (directory / f"file{number}").touch()
        os.chown(directory / f"file{number}", number, number)
        layers.append(directory)
    with ck.LayerFS(programs, *layers) as root:
        plan = ck.plan(*BASE, root, run=["/bin/sh", "-c", "stat -c '%u %n' /file*"])
        assert sum(s.call.name in ("open_tree", "mount_setattr") for s in plan.timeline.steps) == 4, (
            "one tree for all layers, one for changes"
        )
        assert sorted(plan.run().text.splitlines()) == sorted(f"{n} /file{n}" for n in range(120))


def test_who_the_program_is(programs: Path) -> None:
    root = ck.LayerFS(programs, readonly=True)
    for more, inside in (([], (0, 0)), ([ck.Credentials(1000, 7)], (1000, 7))):
        with ck.plan(*BASE, root, *more, run=["/bin/sleep", "100"]).spawn() as process:
            status = os.stat(f"/proc/{process.pid}")
            assert (status.st_uid, status.st_gid) == outside(*inside)
    with ck.plan(ns.User(1000, 7), ns.Mount(), root, run=["/bin/sleep", "100"]).spawn() as process:
        status = os.stat(f"/proc/{process.pid}")
        assert (status.st_uid, status.st_gid) == outside(1000, 7)


# Ways in, and ways back ------------------------------------------------------------------------------------------


def test_joined_by_another_program(programs: Path) -> None:
    with ck.LayerFS(programs) as root, ck.plan(*BASE, root, run=["/bin/sleep", "100"]).spawn() as process:
        found = [ck.Namespace.of(process.pid, kind) for kind in ("user", "mnt", "pid")]
        try:
            done = sh("id -u; touch /made && stat -c %u /made; cat /proc/self/uid_map", *found)
            assert done.text.split()[:3] == ["0", "0", "0"], done
            assert done.text.split()[3] == str(outside()[0])
            assert owners(root.upper)["made"][:2] == (0, 0)
        finally:
            for each in found:
                each.close()


def test_inside_a_user_namespace_it_is_the_callers_one_id(programs: Path, open_path: Path) -> None:
    """Root of a user namespace only has no power over filesystems: the single map, as for every ordinary user."""
    code = f"""
import containerkit as ck
from containerkit import mounts, ns
from containerkit.linux import ids as _idmaps
assert not _idmaps.has_own_ids()
done = ck.run(["/bin/cat", "/proc/self/uid_map"], ns.User(), ns.Mount(), ns.Pid(), mounts.Root({str(open_path / "root")!r}))
print(done.text)
"""
    rootfs.from_programs(["cat"], open_path / "root")
    env = {"PYTHONPATH": ":".join(sys.path), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    done = ck.plan(ns.User(), ns.Mount(), run=[sys.executable, "-c", code], env=env).run(timeout=60)
    if b"Permission denied" in done.stderr or b"ModuleNotFoundError" in done.stderr:
        pytest.skip("nobody may read this tree")
    assert done.text.split() == ["0", "0", "1"], done


def test_the_callers_own_ids_are_asked_for_by_name(programs: Path, volume: Path) -> None:
    done = sh(
        "cat /mnt/key; touch /mnt/new; cat /proc/self/uid_map",
        ns.User.same(),
        *BASE[1:],
        mounts.Root(programs),
        mounts.Bind(volume, "/mnt"),
    )
    assert done.text.startswith("root's key\n")
    assert done.text.split()[2:] == ["0", "0", "4294967295"]
    assert owners(volume)["new"][:2] == (0, 0)


@pytest.mark.parametrize("missing", ["mount_setattr", "open_tree", "idmapped layers"])
def test_a_kernel_that_cannot_is_named_with_the_way_out(missing: str, programs: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    parts: list[Any] = [ck.LayerFS(programs, tmp_path / "other", readonly=True)]
    parts += [mounts.Root(programs)] if missing != "idmapped layers" else []
    with kernel.assume_missing(missing):
        for part in parts:
            with pytest.raises(ck.PlanError, match=rf"{IDMAPPED}.*ns\.User\.same\(\), --userns=host"):
                ck.plan(*BASE, part, run=["/bin/true"])
        if missing == "idmapped layers":
            ck.plan(ns.User.same(), ns.Mount(), parts[0], run=["/bin/true"])


def test_a_filesystem_that_cannot_is_named_with_the_way_out() -> None:
    with pytest.raises(ck.StepError, match=r"cannot be idmapped(.|\n)*ns\.User\.same\(\), --userns=host"):
        ck.run(["/bin/true"], *BASE, mounts.Root("/proc/sys"))


def test_trusted_attributes_are_refused_before_anything_is_done(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ck.PlanError, match="trusted"):
        ck.plan(*BASE, ck.LayerFS(programs, tmp_path / "other", readonly=True, xattrs="trusted"), run=["/bin/true"])


# The caller ------------------------------------------------------------------------------------------------------


def dumpable() -> int:
    return LIBC.prctl(3, 0, 0, 0, 0)


@pytest.mark.parametrize("before", [1, 0])
def test_the_caller_is_as_traceable_as_before(before: int, programs: Path) -> None:
    root = ck.LayerFS(programs, readonly=True)
    good, bad = (ck.plan(*BASE, root, run=[program]) for program in ("/bin/true", "/bin/nowhere"))

    def spawn(number: int) -> None:
        if number % 3:
            assert good.run().exit_code == 0
        else:
            with pytest.raises(ck.StepError):
                bad.run()

    LIBC.prctl(4, before, 0, 0, 0)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(spawn, range(40)))
        assert dumpable() == before
    finally:
        LIBC.prctl(4, 1, 0, 0, 0)


def test_so_is_a_process_that_was_forked_meanwhile(programs: Path) -> None:
    """As multiprocessing does it: the thread of the spawn is not in the new process, which may spawn all the same."""
    plan = ck.plan(ns.User(), Pausing(), run=["/bin/true"])
    with ThreadPoolExecutor(1) as threads:
        spawned = threads.submit(plan.run)
        while dumpable() == 1 and not spawned.done():
            pass
        assert not spawned.done()
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                first = dumpable()
                code = ck.plan(ns.User(), run=["/bin/true"]).run(timeout=20).exit_code
                os._exit(0 if (first, code, dumpable()) == (1, 0, 1) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert spawned.result().exit_code == 0
    assert dumpable() == 1


def test_and_one_forked_while_the_count_is_changed() -> None:
    with memory._lock:
        pid = os.fork()
        if not pid:
            free = memory._lock.acquire(timeout=1)
            os._exit(0 if free else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Pausing:
    """Time to look at the caller, when the child has changed its ids."""

    def steps(self) -> Iterator[ck.Step]:
        yield ck.Step.child(ck.Phase.INSIDE, pause(1), why="wait")


def test_no_descriptor_stays_with_the_caller(programs: Path) -> None:
    plan = ck.plan(*BASE, ck.LayerFS(programs, readonly=True), run=["/bin/true"])
    plan.run()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(5):
        plan.run()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_command_line(programs: Path, tmp_path: Path) -> None:
    def containerkit(*words: str) -> str:
        argv = [sys.executable, "-m", "containerkit", "run", "--rootfs", str(programs), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60).stdout

    (programs / "etc").mkdir(exist_ok=True)
    (programs / "etc" / "passwd").write_text("root:x:0:0::/:\nwww:x:1000:33::/:\n")
    (tmp_path / "key").write_text("key")
    (tmp_path / "key").chmod(0o600)
    show = ["--", "sh", "-c", "id -u; cat /key; cat /proc/self/uid_map"]
    (first, base, _), *_ = own_range("uid")
    assert containerkit("-v", f"{tmp_path}/key:/key", *show).split()[:3] == ["0", str(first), str(base)]
    assert containerkit("-v", f"{tmp_path}/key:/key:ro,idmap", *show).split()[1].startswith("key")
    assert containerkit("--userns=host", "-v", f"{tmp_path}/key:/key", *show).split()[1].startswith("key")
    assert containerkit("--user", "www", "--", "id").startswith("uid=1000(www) gid=33")
    assert containerkit("--user", "1000:5", "--", "cat", "/data/1000") == "x"


# Kept changes ----------------------------------------------------------------------------------------------------

EVIL = "cp /bin/sh /evil && chmod 4755 /evil"


def reachable(path: Path) -> bool:
    """Whether another user of the host may execute it."""
    argv = ["setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "/bin/sh", "-c", 'exec "$0" -c "exit 0"', str(path)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_nobody_runs_what_a_program_left(programs: Path, open_path: Path) -> None:
    (open_path / "there").mkdir()
    (open_path / "there").chmod(0o755)
    for name in ("there", "new"):
        with ck.LayerFS(programs, directory=open_path / name) as root:
            assert sh(EVIL, *BASE, root).exit_code == 0
            upper = root.upper
            assert owners(upper)["evil"] == (0, 0, 0o4755)
        assert not any(reachable(path) for path in (open_path / name).rglob("evil"))
        assert oct(stat.S_IMODE((open_path / "there").stat().st_mode)) == "0o755"
        with ck.LayerFS(programs, directory=open_path / name) as root:
            assert root.upper == upper
            assert (upper / "evil").exists()
            with pytest.raises(ck.LayerError, match="open to others"):
                root.commit(open_path / "frozen")
    assert not (open_path / "frozen").exists()


def test_what_an_older_version_kept_is_found(programs: Path, open_path: Path) -> None:
    for name in ("upper", "work"):
        (open_path / name).mkdir()
    (open_path / "upper" / "kept").write_text("kept")
    with ck.LayerFS(programs, directory=open_path) as root:
        assert sh("cat /kept", *BASE, root).text == "kept"


@pytest.mark.parametrize("planted", ["link", "others", "open"])
def test_a_place_for_changes_that_is_not_the_callers_alone_is_refused(planted: str, programs: Path, open_path: Path) -> None:
    place = open_path / "changes"
    if planted == "link":
        place.symlink_to("/tmp")
    else:
        place.mkdir()
        place.chmod(0o755 if planted == "open" else 0o700)
        os.chown(place, 1001 if planted == "others" else 0, 0)
    with pytest.raises(ck.LayerError, match="mode 700"):
        ck.LayerFS(programs, directory=open_path).__enter__()


def test_a_build_and_a_program_of_an_image(programs: Path, tmp_path: Path) -> None:
    store = ck.Store(tmp_path / "store")
    base = store.put(ck.Image.of(ImageConfig(env=("PATH=/bin:/usr/bin",)), [ck.Layer.from_directory(programs, store.blobs)]), "base")
    script = (
        "cat /proc/self/uid_map > /map; cp /bin/sh /evil; chmod 4755 /evil; touch /www; chown 1000:33 /www; chmod 600 /dev/full || true"
    )
    device = os.stat("/dev/full").st_mode
    image = base.run(["/bin/sh", "-c", script], store=store)
    with ck.LayerFS(image, readonly=True) as root:
        assert (root.read("/map") or b"").split()[1] == str(outside()[0]).encode()
        assert owners(root.lowers[-1])["www"][:2] == (1000, 33)
        assert owners(root.lowers[-1])["evil"] == (0, 0, 0o4755)
        assert not reachable(root.lowers[-1] / "evil")
    assert os.stat("/dev/full").st_mode == device
    assert store.fsck() == ()


SHARED = """
import sys
import containerkit as ck
from containerkit import mounts, ns
here, propagation = sys.argv[1:]
table = lambda: open("/proc/self/mountinfo").read()
before = table()
with ck.LayerFS(f"{here}/root", directory=f"{here}/kept") as layers, ck.LayerFS(f"{here}/root", f"{here}/more") as two:
    for root in (mounts.Root(f"{here}/root"), ck.LayerFS(f"{here}/root", readonly=True), layers, two):
        parts = [ns.User(), ns.Mount(propagation), ns.Pid(), root, mounts.Dev(), mounts.Tmpfs("/tmp"), mounts.Bind(f"{here}/more", "/mnt")]
        parts += [mounts.Tmpfs("/mnt/in"), mounts.Bind(f"{here}/more", "/srv", idmap=True), mounts.Tmpfs("/srv/in")]
        with ck.plan(*parts, run=["/bin/sleep", "100"]).spawn() as process:
            assert table() == before, table()
            inside = [line.split() for line in open(f"/proc/{process.pid}/mountinfo")]
        assert not any(word.startswith("shared:") for fields in inside for word in fields), inside
        assert any(word.startswith("master:") for fields in inside for word in fields) == (propagation == "slave"), inside
        assert table() == before, table()
print("nothing came out")
"""


@pytest.mark.parametrize("propagation", ["private", "slave"])
def test_no_mount_reaches_a_host_that_shares_its_own(propagation: str, programs: Path, tmp_path: Path) -> None:
    """As systemd makes them: what the parent copies of the host's mounts is still of their group."""
    make = 'mount -t tmpfs t "$0" && mount --make-shared "$0" && cp -a "$1" "$0/root" && mkdir "$0/more" "$0/more/in" && exec "${@:2}"'
    python = [sys.executable, "-c", SHARED, str(tmp_path), propagation]
    argv = ["unshare", "-m", "--propagation", "private", "bash", "-c", make, str(tmp_path), str(programs), *python]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "nothing came out\n", done.stderr


@pytest.mark.parametrize("user", [ns.User(), ns.User.same(), ns.User(uids=[(0, 300000, 65536)], gids=[(0, 300000, 65536)])])
def test_a_root_of_ones_own_in_a_user_namespace_that_is_there(user: ns.User, programs: Path) -> None:
    with ck.plan(user, run=["/bin/sleep", "100"]).spawn() as holder, ck.Namespace.of(holder.pid, "user") as ids:
        for place in (mounts.Root(programs), ck.LayerFS(programs, readonly=True)):
            assert sh("stat -c %u /data/1000", ids, ns.Mount(), ns.Pid(), place).text == "1000\n"
        with ck.LayerFS(programs) as root:
            assert sh("touch /made; id -u", ids, ns.Mount(), ns.Pid(), root, mounts.Dev()).text == "0\n"
            assert owners(root.upper)["made"][:2] == (0, 0)


LOCKED = """
import sys
import containerkit as ck
from containerkit import mounts, ns, syscalls
from containerkit.linux.syscalls import MNT, MS
here, what = sys.argv[1:]

class Try:
    def __init__(self, call):
        self.call = call
    def steps(self):
        yield ck.Step.child(ck.Phase.DROP, self.call, why="try it")

uncover = syscalls.umount2("/mnt/m", MNT.DETACH)
writable = lambda path: syscalls.mount(None, path, None, MS.REMOUNT | MS.BIND)
tries = {
    "bind": ([mounts.Root(f"{here}/root"), mounts.Bind(f"{here}/ro", "/mnt")], writable("/mnt")),
    "idmapped": ([mounts.Root(f"{here}/root"), mounts.Bind(f"{here}/ro", "/mnt", idmap=True)], writable("/mnt")),
    "root": ([mounts.Root(f"{here}/ro")], writable("/")),
    "layer": ([ck.LayerFS(f"{here}/ro", readonly=True)], writable("/")),
    "covered": ([mounts.Root(f"{here}/root"), mounts.Bind(f"{here}/over", "/mnt")], uncover),
    "covered, idmapped": ([mounts.Root(f"{here}/root"), mounts.Bind(f"{here}/over", "/mnt", idmap=True)], uncover),
}
parts, call = tries[what]
try:
    ck.plan(ns.User(), ns.Mount(), *parts, Try(call), run=["/bin/true"]).spawn().close()
    print("done")
except ck.StepError as error:
    print("refused" if error.step.why == "try it" else error)
"""


@pytest.mark.parametrize("what", ["bind", "idmapped", "root", "layer", "covered", "covered, idmapped"])
def test_what_the_hosts_mounts_forbid_stays_forbidden(what: str, programs: Path, tmp_path: Path) -> None:
    """With every capability inside: a read-only mount of the host's stays so, and what a mount covers stays covered."""
    make = """mount -t tmpfs t "$0" && mkdir "$0/ro" "$0/over" "$0/over/m" && cp -a "$1" "$0/root" && mount --bind "$0/root" "$0/ro"
    mount -o remount,bind,ro "$0/ro" && mount -t tmpfs t "$0/over/m" && exec "${@:2}" """
    python = [sys.executable, "-c", LOCKED, str(tmp_path), what]
    argv = ["unshare", "-m", "--propagation", "private", "bash", "-c", make, str(tmp_path), str(programs), *python]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "refused\n", (done.stdout, done.stderr)


def test_as_many_binds_as_one_likes(programs: Path, tmp_path: Path) -> None:
    binds = [mounts.Bind(tmp_path, f"/mnt/{number}", idmap=number % 2 == 0) for number in range(150)]
    assert sh("ls /mnt", *BASE, mounts.Root(programs), *binds).text.split() == sorted(map(str, range(150)))
