"""Root directories made from the host's programs: their content, and that the programs start in them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from containerkit.errors import PlanError
from containerkit.rootfs import elf, rootfs
from containerkit.rootfs import tree as _tree

CC = shutil.which("cc") or shutil.which("gcc")
needs_cc = pytest.mark.skipif(CC is None, reason="needs a C compiler")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chroot(2)")
PATH = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(_tree, "cache_directory", lambda: directory)
    return directory


def inside(root: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program with `root` as its root directory and nothing of the host's environment."""

    def enter() -> None:
        os.chroot(root)
        os.chdir("/")

    return subprocess.run(argv, preexec_fn=enter, env={"PATH": PATH}, capture_output=True, text=True, timeout=30)


def compile(tmp: Path, name: str, source: str, *flags: str) -> Path:
    assert CC
    (tmp / f"{name}.c").write_text(source)
    subprocess.run([CC, "-o", tmp / name, tmp / f"{name}.c", *flags], check=True, cwd=tmp)
    return tmp / name


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@needs_root
def test_programs_start_in_it() -> None:
    root = rootfs.from_programs(["sh", "ls", "cat", "id"])
    done = inside(root, "/bin/sh", "-c", "ls / && id -un && cat /etc/hosts")
    assert done.returncode == 0, done.stderr
    assert {"proc", "sys", "dev", "tmp", "run", "etc", "root", "var", "home", "mnt", "bin"} <= set(done.stdout.split())
    assert "root\n" in done.stdout
    assert "127.0.0.1\tlocalhost" in done.stdout


def test_top_level_links_are_the_hosts() -> None:
    root = rootfs.from_programs(["true"])
    for name in ("bin", "sbin", "lib", "lib64"):
        host = Path("/", name)
        if host.is_symlink():
            assert os.readlink(root / name) == os.readlink(host)
        assert not (root / name).is_symlink() or host.is_symlink()


def test_nothing_of_the_root_is_the_hosts_own_file() -> None:
    root = rootfs.from_programs(["sh"])
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.stat().st_nlink == 1


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_modes_do_not_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        root = rootfs.from_programs(["true"], tmp_path / "root")
    finally:
        os.umask(before)
    modes = {path: (root / path).stat().st_mode & 0o7777 for path in ("", "tmp", "var/tmp", "var", "etc", "etc/passwd", "usr/bin/true")}
    shared, plain = 0o1777, 0o755
    assert modes == {"": plain, "tmp": shared, "var/tmp": shared, "var": plain, "etc": plain, "etc/passwd": 0o644, "usr/bin/true": plain}


def test_set_user_id_stays_behind(tmp_path: Path) -> None:
    shutil.copy("/bin/true", tmp_path / "su")
    (tmp_path / "su").chmod(0o4755)
    root = rootfs.from_programs([str(tmp_path / "su")])
    assert (root / str(tmp_path / "su")[1:]).stat().st_mode & 0o7777 == 0o755


def test_missing_program_is_named() -> None:
    with pytest.raises(PlanError, match="no-such-program-anywhere"):
        rootfs.from_programs(["true", "no-such-program-anywhere"])
    with pytest.raises(PlanError, match="/no/such/file"):
        rootfs.from_programs(["/no/such/file"])


@pytest.mark.parametrize("wrong", ["sh", ["./sh"], ["bin/sh"]])
def test_bad_names(wrong: list[str]) -> None:
    with pytest.raises(PlanError):
        rootfs.from_programs(wrong)


@needs_cc
def test_missing_library_is_named_with_the_file_that_needs_it(tmp_path: Path) -> None:
    compile(tmp_path, "libgone.so", "int gone(void){return 0;}", "-shared", "-fPIC", "-Wl,-soname,libgone.so")
    program = compile(tmp_path, "user", "int gone(void); int main(void){return gone();}", "-L.", "-lgone")
    (tmp_path / "libgone.so").unlink()
    with pytest.raises(PlanError, match=rf"libgone\.so.*{program}"):
        rootfs.from_programs([str(program)], tmp_path / "root")
    assert not (tmp_path / "root").exists()


@needs_cc
@needs_root
@pytest.mark.parametrize("tags", ["--enable-new-dtags", "--disable-new-dtags"])
def test_origin_in_runpath_and_rpath(tmp_path: Path, tags: str) -> None:
    """RUNPATH counts for its own file only; RPATH counts for the libraries of its libraries too."""
    (tmp_path / "lib").mkdir()
    deep = compile(tmp_path, "lib/libdeep.so", "int deep(void){return 7;}", "-shared", "-fPIC", "-Wl,-soname,libdeep.so")
    near = ["-Wl,-rpath,$ORIGIN"] if tags == "--enable-new-dtags" else []
    flags = ["-shared", "-fPIC", "-Llib", "-ldeep", "-Wl,-soname,libnear.so", f"-Wl,{tags}", *near]
    compile(tmp_path, "lib/libnear.so", "int deep(void); int near(void){return deep();}", *flags)
    flags = ["-Llib", "-lnear", "-Wl,-rpath,$ORIGIN/lib", f"-Wl,{tags}", "-Wl,-rpath-link,lib"]
    program = compile(tmp_path, "user", "int near(void); int main(void){return near();}", *flags)
    root = rootfs.from_programs([str(program)])
    assert (root / str(deep)[1:]).is_file()
    (root / "proc/self").mkdir()  # ld.so learns $ORIGIN from this link; there is no procfs here
    (root / "proc/self/exe").symlink_to(program)
    assert inside(root, str(program)).returncode == 7


@needs_cc
def test_runpath_does_not_reach_the_next_library(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    compile(tmp_path, "lib/libdeep.so", "int deep(void){return 7;}", "-shared", "-fPIC", "-Wl,-soname,libdeep.so")
    flags = ["-shared", "-fPIC", "-Llib", "-ldeep", "-Wl,-soname,libnear.so"]
    compile(tmp_path, "lib/libnear.so", "int deep(void); int near(void){return deep();}", *flags)
    flags = ["-Llib", "-lnear", "-Wl,-rpath,$ORIGIN/lib", "-Wl,--enable-new-dtags", "-Wl,-rpath-link,lib"]
    program = compile(tmp_path, "user", "int near(void); int main(void){return near();}", *flags)
    assert subprocess.run([program], capture_output=True).returncode == 127  # ld.so does not find the library either
    with pytest.raises(PlanError, match=r"libdeep\.so"):
        rootfs.from_programs([str(program)])


@needs_cc
def test_library_of_another_machine_is_passed_over(tmp_path: Path) -> None:
    """As in ld.so, a file in the first directory that cannot be loaded does not stop the search."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    library = compile(tmp_path, "two/libx.so", "int x(void){return 3;}", "-shared", "-fPIC", "-Wl,-soname,libx.so")
    rpath = "-Wl,-rpath,$ORIGIN/one:$ORIGIN/two"
    program = compile(tmp_path, "user", "int x(void); int main(void){return x();}", "-Ltwo", "-lx", rpath)
    foreign = bytearray(library.read_bytes())
    foreign[18:20] = (0xF3).to_bytes(2, sys.byteorder)  # e_machine: EM_RISCV
    (tmp_path / "one/libx.so").write_bytes(foreign)
    root = rootfs.from_programs([str(program)])
    assert str(library)[1:] in names(root)
    assert str(tmp_path / "one/libx.so")[1:] not in names(root)


def test_ld_so_conf_includes(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "ld.so.conf").write_text("include conf.d/*.conf\n# a comment\n/opt/two  # said why\n")
    (tmp_path / "conf.d/a.conf").write_text("/opt/one\nhwcap 0 nosegneg\n")
    (tmp_path / "conf.d/loop.conf").write_text(f"include {tmp_path}/ld.so.conf {tmp_path}/conf.d/loop.conf\n")
    found = list(elf._configured(str(tmp_path / "ld.so.conf")))
    assert found[0] == "/opt/one"
    assert found[-1] == "/opt/two"


@needs_root
def test_libraries_agree_with_the_loader() -> None:
    """ld.so in the new root, asked to list and not to run, finds every library of each program."""
    programs = ["sh", "ls", "mount", "ps"]
    root = rootfs.from_programs(programs)
    for name in programs:
        path = shutil.which(name)
        assert path
        found = elf.read(path)
        assert found
        assert found.interpreter
        listed = inside(root, found.interpreter, "--list", path)
        assert listed.returncode == 0, listed.stderr
        assert "not found" not in listed.stdout


@needs_root
def test_script_brings_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "hello"
    script.write_text("#!/usr/bin/env -S sh\necho hello from a script\n")
    script.chmod(0o755)
    root = rootfs.from_programs([str(script)])
    assert inside(root, str(script)).stdout == "hello from a script\n"


@needs_root
def test_name_from_an_unusual_directory_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("/bin/echo", tmp_path / "say")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert inside(rootfs.from_programs(["say", "env"]), "/usr/bin/env", "say", "hi").stdout == "hi\n"


@needs_root
def test_python_runs() -> None:
    root = rootfs.from_programs(["python3"])
    code = "import json, hashlib, ctypes, socket, subprocess, sys; print(json.dumps(sys.version_info[0]))"
    done = inside(root, "/usr/bin/env" if (root / "usr/bin/env").exists() else _python_of(root), "-c", code)
    assert done.stdout == "3\n", done.stderr


def _python_of(root: Path) -> str:
    found = [place for place in PATH.split(":") if os.path.lexists(f"{root}{place}/python3")]
    return f"{found[0]}/python3"


def test_extra_files_come_with_their_tree_links_and_libraries(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub/empty").mkdir(parents=True)
    (tree / "sub/data").write_text("data")
    (tree / "link").symlink_to("sub/data")
    (tree / "loop").symlink_to(".")
    (tree / "dangling").symlink_to("/nowhere/at/all")
    (tree / "away").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("outside")
    shutil.copy("/bin/ls", tree / "program")
    root = rootfs.from_programs([], tmp_path / "root", extra_files=[tree])
    copy = root / str(tree)[1:]
    assert (copy / "link").read_text() == "data"
    assert (copy / "sub/empty").is_dir()
    assert os.readlink(copy / "dangling") == "/nowhere/at/all"
    assert (root / str(tmp_path / "outside")[1:]).read_text() == "outside"
    assert any(name.endswith("/libc.so.6") for name in names(root))


def test_extra_file_that_is_not_on_this_host(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PlanError, match="pipe"):
        rootfs.from_programs([], extra_files=[tmp_path])
    with pytest.raises(PlanError, match="not an absolute path"):
        rootfs.from_programs([], extra_files=["relative"])
    with pytest.raises(PlanError, match="/no/such"):
        rootfs.from_programs([], extra_files=["/no/such"])


def test_dest_must_be_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for dest in (tmp_path, tmp_path / "file"):
        with pytest.raises(FileExistsError):
            rootfs.from_programs(["true"], dest)
    (tmp_path / "empty").mkdir()
    assert rootfs.from_programs(["true"], tmp_path / "empty") == tmp_path / "empty"


def test_broken_program(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\x7fELF" + b"\x02\x01\x01" + b"\xff" * 80)
    with pytest.raises(PlanError, match="broken"):
        rootfs.from_programs([str(tmp_path / "broken")])


def test_cache_is_found_again_and_a_change_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy("/bin/true", program)
    first = rootfs.from_programs([str(program)])
    inode = first.stat().st_ino
    again = rootfs.from_programs([str(program)])
    assert (again, again.stat().st_ino) == (first, inode)
    os.utime(program, ns=(1, 1))
    assert rootfs.from_programs([str(program)]) != first


def test_damaged_cache_is_made_anew() -> None:
    root = rootfs.from_programs(["true"])
    inode = root.stat().st_ino
    os.truncate(root / "usr/bin/true", 10)
    again = rootfs.from_programs(["true"])
    assert (again == root, again.stat().st_ino == inode) == (True, False)
    assert (again / "usr/bin/true").stat().st_size == os.stat("/usr/bin/true").st_size


@pytest.fixture
def staging(cache: Path) -> Path:
    directory = cache / ".staging-another"
    directory.mkdir()
    (directory / "half").write_text("")
    return directory


def test_stale_staging_is_swept(staging: Path) -> None:
    rootfs.from_programs(["true"])
    assert not staging.exists()


def test_staging_of_a_live_maker_is_kept(staging: Path) -> None:
    fd = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        rootfs.from_programs(["true"])
        assert (staging / "half").exists()
    finally:
        os.close(fd)


def test_failure_while_writing_leaves_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_tree, "_copy", full_disk)
    for dest in (None, tmp_path / "new"):
        with pytest.raises(OSError, match="No space"):
            rootfs.from_programs(["true"], dest)
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match="No space"):
        rootfs.from_programs(["true"], tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "new").exists()
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_killed_maker_leaves_no_half_root(cache: Path) -> None:
    """SIGKILL in the middle of copying; the next process makes a complete root and sweeps."""
    code = f"""
import os, pathlib, signal
from containerkit import rootfs; from containerkit.rootfs import tree as _tree
_tree.cache_directory = lambda: pathlib.Path({str(cache)!r})
copy, left = _tree._copy, [3]
def one_more(*a):
    left[0] -= 1
    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
    copy(*a)
_tree._copy = one_more
rootfs.from_programs(["sh", "ls"])
"""
    repo = Path(__file__).resolve().parent.parent
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(repo)})
    assert killed.returncode == -9
    assert [path.name[:9] for path in cache.iterdir() if path.is_dir()] == [".staging-"]
    root = rootfs.from_programs(["sh", "ls"])
    assert [path for path in cache.iterdir() if path.is_dir()] == [root]


def test_makers_at_the_same_time_agree(cache: Path) -> None:
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(rootfs.from_programs(["sh", "ls", "cat"]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert [path for path in cache.iterdir() if path.is_dir()] == list(set(made))


def test_cached_roots_are_not_for_others_to_write() -> None:
    root = rootfs.from_programs(["sh"])
    loose = [path for path in root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert {str(path.relative_to(root)) for path in loose} == {"tmp", "var/tmp"}


class TestBusybox:
    @pytest.fixture(autouse=True)
    def _static(self) -> None:
        path = shutil.which("busybox")
        found = elf.read(path) if path else None
        if not found or found.interpreter:
            pytest.skip("needs a static busybox: apt-get install busybox-static")

    @needs_root
    def test_applets_run(self) -> None:
        done = inside(rootfs.busybox(), "/bin/sh", "-c", "ls /bin/busybox && hostname >/dev/full; id -u")
        assert done.stdout.split() == ["/bin/busybox", "0"]

    def test_applets_are_those_it_lists(self) -> None:
        root = rootfs.busybox()
        listed = subprocess.run(["busybox", "--list-full"], capture_output=True, text=True, check=True).stdout.split()
        assert len(listed) > 50
        assert all(os.readlink(root / name) == "/bin/busybox" for name in listed if name != "bin/busybox")

    def test_from_programs_needs_no_library(self) -> None:
        root = rootfs.from_programs(["busybox"])
        assert not [name for name in names(root) if ".so" in name]


def test_busybox_must_be_static_and_busybox(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="not a static program"):
        rootfs.busybox("/bin/ls")
    with pytest.raises(PlanError, match="no-such"):
        rootfs.busybox("/no-such")


@needs_cc
def test_static_program_that_is_not_busybox(tmp_path: Path) -> None:
    program = compile(tmp_path, "other", "int main(void){return 0;}", "-static")
    with pytest.raises(PlanError, match="names no bin/sh"):
        rootfs.busybox(program)


def test_busybox_needs_no_library() -> None:
    code = "import sys; sys.modules['elftools'] = None; from containerkit import rootfs; print(rootfs.from_programs(['true']))"
    repo = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(repo)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
