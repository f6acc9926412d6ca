"""`containerkit run IMAGE` and its neighbours, as root and as an ordinary user, through the real command."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import serving
from trees import tar

from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.tar import Entry
from containerkit.rootfs import rootfs
from containerkit.store.store import Store

COMMAND = [sys.executable, "-m", "containerkit"]
PASSWD = "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:1001:\nextra:x:50:web\n"
PROGRAMS = ["sh", "cat", "id", "env", "sleep", "touch", "rm", "ls", "stat"]


@pytest.fixture
def store() -> Iterator[Store]:
    """Yield a store with the image `box`: the machine's own programs, two users, a config."""
    with tempfile.TemporaryDirectory(prefix="ck-cli-") as path:
        root = rootfs.from_programs(PROGRAMS, Path(path, "root"))
        for name, text in (("passwd", PASSWD), ("group", GROUP)):
            (root / "etc").mkdir(exist_ok=True)
            (root / "etc" / name).write_text(text)
        (root / "srv").mkdir()
        image = Image.scratch().append(Layer.from_directory(root), history="ADD root /")
        found = Store(Path(path, "store"))
        found.put(image.with_config(env=["GREETING=hello"], cmd=["sh", "-c", "echo $GREETING from $HOSTNAME"]), "box")
        yield found


def containerkit(store: Store, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CONTAINERKIT_STORE": str(store.directory)}
    argv = [*COMMAND, *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


def variant(store: Store, **config: object) -> None:
    """Name the same layers with another config as the image `other`."""
    store.put(store.get("box").with_config(**config), "other")


def _runs_what_the_image_says(store: Store) -> None:
    done = containerkit(store, "run", "--rm", "-h", "inside", "box")
    assert (done.stdout, done.stderr, done.returncode) == ("hello from inside\n", "", 0)
    done = containerkit(store, "run", "-e", "GREETING=salve", "box")
    assert done.stdout == "salve from container\n"
    done = containerkit(store, "run", "box", "sh", "-c", "exit 7")
    assert done.returncode == 7


def test_run_starts_the_image_s_program(store: Store) -> None:
    _runs_what_the_image_says(store)


@pytest.mark.unprivileged
def test_run_starts_the_image_s_program_for_an_ordinary_user(store: Store) -> None:
    _runs_what_the_image_says(store)


def _users(store: Store) -> None:
    variant(store, user="web", working_dir="/srv", entrypoint=["sh", "-c", 'id -u; id -g; pwd; echo $HOME "$@"', "x"], cmd=["usual"])
    assert containerkit(store, "run", "other").stdout.split() == ["1000", "1001", "/srv", "/home/web", "usual"]
    assert containerkit(store, "run", "other", "-w", "given").stdout.split()[3:] == ["/home/web", "-w", "given"]
    assert containerkit(store, "run", "-u", "7:8", "-w", "/", "other").stdout.split() == ["7", "8", "/", "/", "usual"]
    assert containerkit(store, "run", "-w", "/new/place", "--entrypoint", "sh", "other", "-c", "pwd").stdout == "/new/place\n"
    assert containerkit(store, "run", "-u", "root", "--entrypoint", "id", "other", "-u").stdout == "0\n"
    assert containerkit(store, "run", "-u", "nobody-here", "other").returncode == 125


def test_user_directory_entrypoint(store: Store) -> None:
    _users(store)


@pytest.mark.unprivileged
def test_user_directory_entrypoint_for_an_ordinary_user(store: Store) -> None:
    _users(store)


@pytest.mark.root
def test_supplementary_groups_and_owners(store: Store) -> None:
    """Root has all ids inside, so that every file keeps its owner."""
    assert "50(extra)" in containerkit(store, "run", "-u", "web", "box", "id").stdout
    root = Path(store.directory.parent, "owned")
    root.mkdir()
    (root / "mine").write_text("")
    os.chown(root / "mine", 1000, 1001)
    store.put(store.get("box").append(Layer.from_directory(root), history="ADD mine /"), "owned")
    assert containerkit(store, "run", "owned", "stat", "-c", "%U:%G", "/mine").stdout == "web:staff\n"


def _looks_names_up(store: Store) -> None:
    found = containerkit(store, "run", "-h", "web", "box", "cat", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf").stdout
    assert found.splitlines()[0] == "127.0.0.1\tlocalhost"
    assert "127.0.0.1\tweb" in found.splitlines()
    assert "\nweb\n" in found
    ours = Path("/etc/resolv.conf").read_text() if Path("/etc/resolv.conf").exists() else ""
    assert containerkit(store, "run", "--network", "host", "box", "cat", "/etc/resolv.conf").stdout == ours
    (store.directory.parent / "mine").write_text("mine\n")
    volume = f"{store.directory.parent}/mine:/etc/hosts"
    assert containerkit(store, "run", "-v", volume, "box", "cat", "/etc/hosts").stdout == "mine\n"
    shown = containerkit(store, "run", "--read-only", "-h", "web", "box", "sh", "-c", "ls /etc; cat /etc/hosts; ! touch /etc/new").stdout
    assert "resolv.conf" in shown, "a place that the image lacks is made before the root is frozen"
    assert "127.0.0.1\tweb" in shown.splitlines()


def test_user_names_are_looked_up_in_the_image(store: Store) -> None:
    _looks_names_up(store)


@pytest.mark.unprivileged
def test_user_names_are_looked_up_for_an_ordinary_user(store: Store) -> None:
    _looks_names_up(store)


def test_exit_codes_are_dockers(store: Store) -> None:
    codes = {
        "run box nothing": 127, "run box /srv/nothing": 127, "run box /etc/passwd": 126, "run box /srv": 126,
        "run --pull never nobody sh": 125, "run --stop-signal NONE box": 125, "run -w /etc/passwd box": 125,
        "run --entrypoint= box": 125,
        "run --init box sh -c 'kill -9 $$'": 137,
    }  # fmt: skip
    for line, code in codes.items():
        done = subprocess.run(
            f"{sys.executable} -m containerkit --store {store.directory} {line}", shell=True, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{line}: {done.stderr}"
        assert "Traceback" not in done.stderr


def test_changes_are_discarded_or_kept(store: Store, tmp_path: Path) -> None:
    before = sorted(store.layers("box")[0].rglob("*"))
    assert containerkit(store, "run", "box", "touch", "/new").returncode == 0
    assert containerkit(store, "run", "box", "ls", "/new").returncode != 0
    for words in (("touch", "/new"), ("ls", "/new")):
        assert containerkit(store, "run", "--keep", str(store.directory.parent / "kept"), "box", *words).returncode == 0
    assert containerkit(store, "run", "--read-only", "box", "touch", "/new").returncode != 0
    assert sorted(store.layers("box")[0].rglob("*")) == before


@pytest.mark.parametrize(
    ("named", "number"), [("SIGUSR1", signal.SIGUSR1), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("rtmax-14", signal.SIGRTMAX - 14)]
)
def test_a_container_is_stopped_with_the_image_s_signal(store: Store, named: str, number: int) -> None:
    """systemd's stop signal is a real-time one."""
    script = f"trap 'echo asked; exit 9' {number}; echo ready; while :; do sleep 0.05; done"
    variant(store, stop_signal=named, cmd=["sh", "-c", script])
    argv = [*COMMAND, "--store", str(store.directory), "run", "other"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "asked\n"
        assert process.wait(20) == 9


@pytest.mark.parametrize("named", ["SIGRTMIN+31", "RTMIN-1", "SIGRTMAX+1", "RTMIN+", "NONE"])
def test_an_unknown_signal_is_refused(store: Store, named: str) -> None:
    done = containerkit(store, "run", "--stop-signal", named, "box")
    assert (done.returncode, "no such signal" in done.stderr) == (125, True)


def test_mount_targets_of_volumes_are_made(store: Store) -> None:
    variant(store, volumes=["/new/volume", "/srv", "/"], cmd=["sh", "-c", "touch /new/volume/file /srv/file && stat -c %a /new/volume"])
    done = containerkit(store, "run", "other")
    assert (done.stdout, done.stderr) == ("755\n", "")


@pytest.mark.unprivileged
def test_entries_an_ordinary_user_may_not_make_are_skipped_on_request(store: Store) -> None:
    layer = Layer.from_tar(io.BytesIO(tar((Entry(b"node", "char", major=1, minor=3), b""))))
    store.put(store.get("box").append(layer), "nodes")
    done = containerkit(store, "run", "nodes")
    assert (done.returncode, "--skip devices" in done.stderr) == (125, True)
    for words in (("run", "--skip", "devices", "nodes"), ("--skip", "devices", "run", "nodes", "sh", "-c", "ls /node || echo hello")):
        done = containerkit(store, *words)
        assert (done.returncode, done.stdout[:5]) == (0, "hello"), done.stderr


def test_a_container_that_does_not_stop_is_killed(store: Store) -> None:
    argv = [*COMMAND, "--store", str(store.directory), "run", "--stop-timeout", "0.3", "box", "sh", "-c", "echo ready; sleep 100"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 137
    assert time.monotonic() - begin < 15


def test_gc_keeps_layers_of_running_containers(store: Store) -> None:
    argv = [*COMMAND, "--store", str(store.directory), "run", "-i", "box", "sh", "-c", "echo ready; read x; cat /etc/passwd"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert containerkit(store, "image", "prune", "-af").returncode == 0
        assert len(store.images()) == 1, "an image that runs keeps its name"
        assert containerkit(store, "rmi", "box").returncode == 0
        assert len(list(store.trees)) == 1
        out, _ = process.communicate("go\n", timeout=30)
    assert out == PASSWD
    assert containerkit(store, "gc").returncode == 0
    assert list(store.trees) == []


def test_a_missing_image_is_pulled(store: Store, tmp_path: Path) -> None:
    with serving(tmp_path / "registry") as server:
        name = f"{server.host}/box:1"
        assert containerkit(store, "push", "box", name).returncode == 0
        done = containerkit(store, "run", "--pull=never", name)
        assert done.returncode == 125
        done = containerkit(store, "run", name)
        assert done.stdout == "hello from container\n", done.stderr
        assert f"Unable to find image '{name}' locally" in done.stderr
        assert containerkit(store, "run", name).stderr == ""
        assert containerkit(store, "run", "--pull", "always", name).stdout == "hello from container\n"


def test_plan_and_trace_take_images_too(store: Store) -> None:
    assert json.loads(containerkit(store, "plan", "--json", "box", "id").stdout)["run"] == ["id"]
    done = containerkit(store, "trace", "box")
    assert done.stdout == "hello from container\n"
    assert " us  child" in done.stderr


def test_a_program_of_this_machine_is_no_image(store: Store) -> None:
    assert containerkit(store, "run", "--", "id", "-u").stdout == "0\n"
    root = store.directory.parent / "root"
    assert containerkit(store, "run", "--rootfs", str(root), "cat", "/etc/passwd").stdout == PASSWD
    assert containerkit(store, "run", "--rootfs", str(root), "-u", "web", "--", "id", "-u").stdout == "1000\n"
    assert containerkit(store, "run", "--entrypoint", "id", "--", "id").returncode == 125


def test_setuid_programs_work_by_default(store: Store) -> None:
    shown = ["box", "cat", "/proc/self/status"]
    assert "NoNewPrivs:\t0" in containerkit(store, "run", *shown).stdout
    assert "NoNewPrivs:\t1" in containerkit(store, "run", "--security-opt", "no-new-privileges", *shown).stdout
    for words in ((), ("--security-opt", "no-new-privileges")):
        assert "Seccomp:\t2" in containerkit(store, "run", *words, *shown).stdout


def test_on_a_terminal(store: Store) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        script = "test -t 0 && echo ready && read x && echo got $x"
        os.execv(sys.executable, [*COMMAND, "--store", str(store.directory), "run", "-it", "box", "sh", "-c", script])
    said = b""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 1024):
            said += data
            if data.rstrip().endswith(b"ready"):
                os.write(terminal, b"word\n")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"got word" in said


DOCKERFILE = """\
FROM box AS base
ARG WHO=nobody
RUN echo built for $WHO > /srv/who && id -u >> /srv/who
RUN --mount=type=secret,id=s,required cat /run/secrets/s > /srv/seen
FROM base
USER web
CMD ["cat", "/srv/who", "/srv/seen"]
"""


def _build(store: Store) -> None:
    context = store.directory.parent / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "secret").write_text("hidden\n")
    words = ("build", "-t", "built", "--build-arg", "WHO=you", "--secret", f"id=s,src={context}/secret", "--network", "none", str(context))
    done = containerkit(store, *words)
    assert done.returncode == 0, done.stderr
    assert " CACHED" not in done.stderr
    assert containerkit(store, "run", "built").stdout == "built for you\n0\nhidden\n"
    again = containerkit(store, *words)
    assert [line for line in again.stderr.splitlines() if line.endswith(" CACHED")], again.stderr
    (context / "Dockerfile").write_text("FROM box\nRUN echo so far; exit 3\n")
    done = containerkit(store, "build", "-qt", "failed", str(context))
    assert (done.returncode, done.stdout) == (1, "")
    assert "so far" in done.stderr
    assert "Dockerfile:2" in done.stderr
    assert containerkit(store, "images", "-q", "failed").stdout == ""


def test_build_and_run(store: Store) -> None:
    _build(store)


@pytest.mark.unprivileged
def test_build_and_run_for_an_ordinary_user(store: Store) -> None:
    _build(store)


def test_the_steps_of_a_build_on_a_terminal(store: Store) -> None:
    pytest.importorskip("rich", reason="needs rich: pip install containerkit[top]")
    context = store.directory.parent / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM box\nRUN echo first; sleep 0.5; echo last\n")
    pid, terminal = pty.fork()
    if pid == 0:
        argv = [*COMMAND, "--store", str(store.directory), "build", str(context)]
        os.execve(sys.executable, argv, {**os.environ, "TERM": "xterm", "COLUMNS": "100"})
    said = b""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 1024):
            said += data
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    for words in (b" => => first", b" => [0 2/2] RUN echo first", b"image sha256:"):
        assert words in said, said


def _round(store: Store) -> None:
    """Tag, save, load, export, diff and remove by the real command."""
    away = store.directory.parent / "away"
    root = store.directory.parent
    for line in (
        "tag box box:2", f"save -o {root}/box.tar box:2", f"--store {away} load -i {root}/box.tar", f"export box -o {root}/flat.tar",
        "diff box", "image ls-layers", "fsck", f"--store {away} rmi box:2", "system df",
    ):  # fmt: skip
        done = containerkit(store, *line.split())
        assert (done.returncode, done.stderr) == (0, ""), line
    with tarfile.open(root / "flat.tar") as tar:
        assert tar.extractfile("etc/passwd").read().decode() == PASSWD  # type: ignore[union-attr]
    assert Store(away).images() == ()
    assert "A /etc/passwd" in containerkit(store, "diff", "box").stdout.splitlines()


def test_the_verbs_about_images(store: Store) -> None:
    _round(store)


@pytest.mark.unprivileged
def test_the_verbs_about_images_for_an_ordinary_user(store: Store) -> None:
    _round(store)


def test_a_reader_that_leaves_and_ctrl_c(store: Store) -> None:
    line = f"{sys.executable} -m containerkit --store {store.directory} export box | true"
    assert subprocess.run(line, shell=True, capture_output=True, text=True, check=False).stderr == ""
    with subprocess.Popen([*COMMAND, "--store", str(store.directory), "load"], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr
        assert process.stderr.read() == b""
