"""`containerkit unshare`: an ordinary user as root of all ids the user has, with builds, stores and containers inside."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import entries, text
from registries import serving
from support import until

from containerkit import ns
from containerkit.cli.unshare import planned
from containerkit.errors import PlanError, Unavailable
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.linux import ids as _idmaps
from containerkit.rootfs import rootfs
from containerkit.state import scratch

COMMAND = [sys.executable, "-m", "containerkit"]
PASSWD = "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n"
PROGRAMS = ["sh", "id", "cat", "touch", "stat", "chown", "chmod", "cp", "ls", "mkdir"]
DOCKERFILE = """
FROM base
RUN --mount=type=cache,target=/cache,uid=1000 mkdir /srv && touch /srv/mine && chown -R 1000:1001 /srv && stat -c %u /cache
RUN cp /usr/bin/id /setuid && chown 7 /setuid && chmod 4755 /setuid && ls /sys/class/net > /interfaces
COPY --chown=5:6 Dockerfile /copied
USER web
RUN touch /srv/of-web && /setuid -u > /srv/effective
"""


class Home:
    """A directory for an ordinary user's stores, with the image `base` in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.archive, self.context = path, path / "base.tar", path / "context"
        self.environment = {**os.environ, "XDG_DATA_HOME": str(path), "XDG_CACHE_HOME": str(path)}
        self.environment.pop("CONTAINERKIT_STORE", None)
        self.context.mkdir()
        (self.context / "Dockerfile").write_text(DOCKERFILE)

    def base(self) -> Path:
        """The image's archive, made at first use: most tests need no image."""
        root = rootfs.from_programs(PROGRAMS, self.path / "root")
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc/passwd").write_text(PASSWD)
        Image.scratch().append(Layer.from_directory(root)).save(self.archive, "base")
        return self.archive

    def outside(self, *words: str | Path, code: int = 0, typed: str = "", **options: object) -> str:
        """Run containerkit and return both of its outputs."""
        argv = [*COMMAND, *map(str, words)]
        options = {"env": self.environment, "input": typed, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        done: subprocess.CompletedProcess[str] = subprocess.run(argv, text=True, timeout=100, check=False, **options)  # type: ignore[call-overload]
        assert done.returncode == code, done.stdout
        return done.stdout

    def inside(self, *words: str | Path, code: int = 0, **options: object) -> str:
        """Run containerkit inside of unshare."""
        return self.outside("unshare", *COMMAND, *words, code=code, **options)

    def python(self, source: str, *words: str | Path) -> str:
        """Run Python inside of unshare."""
        return self.outside("unshare", sys.executable, "-c", source, *words)


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="ck-home-", ignore_cleanup_errors=True) as path:
        found = Home(Path(path).resolve())
        yield found
        scratch.remove(found.path)  # with the files of the other ids
        assert not found.path.exists()


def sh(home: Home, script: str, code: int = 0) -> str:
    return home.outside("unshare", "--", "sh", "-c", script, code=code)


# The program -------------------------------------------------------------------------------------------------------


@pytest.mark.unprivileged
def test_the_program_is_root_of_all_ids_and_shares_the_other_namespaces(home: Home) -> None:
    user = ns.subids(2**32 - 1)
    ids = {kind: sh(home, f"cat /proc/self/{kind}_map").split() for kind in ("uid", "gid")}
    assert ids == {"uid": [str(n) for r in user.uids for n in r], "gid": [str(n) for r in user.gids for n in r]}
    assert sh(home, "id -u; id -g; id -G; pwd; echo $XDG_DATA_HOME").split() == ["0", "0", "0", os.getcwd(), str(home.path)]
    same = {
        kind: sh(home, f"readlink /proc/self/ns/{kind}").strip() == os.readlink(f"/proc/self/ns/{kind}")
        for kind in os.listdir("/proc/self/ns")
    }
    assert {kind for kind, is_same in same.items() if not is_same} == {"user", "mnt"}
    sh(
        home,
        f"touch {home.path}/theirs && chown 5:6 {home.path}/theirs && mount -t tmpfs x {home.path}/context && touch {home.path}/context/x",
    )
    found = (home.path / "theirs").stat()
    assert (found.st_uid, found.st_gid) == (user.uids[1][1] + 4, user.gids[1][1] + 5)
    assert os.listdir(home.context) == ["Dockerfile"], "what is mounted inside stays there"


@pytest.mark.unprivileged
def test_words_and_exit_codes(home: Home) -> None:
    assert home.outside("unshare", typed="id -u\nexit 3\n", code=3, env=home.environment | {"SHELL": "/bin/sh"}) == "0\n"
    assert home.outside("unshare", "sh", "-c", 'echo "$@"', "x", "--help", "-h", "--", "a b") == "--help -h -- a b\n"
    assert "CMD..." in home.outside("unshare", "--help")
    sh(home, "exit 7", code=7)
    sh(home, "kill -9 $$", code=137)
    home.outside("unshare", "/no/such/program", code=127)
    home.outside("unshare", "/etc/passwd", code=126)


WAITS = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print("ready", flush=True)
sys.exit(signal.sigwait(signal.valid_signals()))
"""


@pytest.mark.unprivileged
@pytest.mark.parametrize(("sent", "heard"), [("TERM", "TERM"), ("HUP", "TERM"), ("INT", "INT"), ("QUIT", "QUIT")])
def test_sigterm_is_passed_on_to_the_program(home: Home, sent: str, heard: str) -> None:
    options = {"env": home.environment, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([*COMMAND, "unshare", sys.executable, "-c", WAITS], **options) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.Signals[f"SIG{sent}"])
        assert process.wait(20) == signal.Signals[f"SIG{heard}"]


@pytest.mark.unprivileged
def test_a_terminal_and_its_keys_are_the_programs(home: Home) -> None:
    script = "trap 'echo heard; exit 6' INT; tty; echo ready; while :; do sleep 0.1; done"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*COMMAND, "unshare", "sh", "-c", script], home.environment)
    said = b""
    with open(terminal, "r+b", buffering=0) as ours, contextlib.suppress(OSError):  # EIO: no process has the other end any more
        while data := ours.read(1000):
            pressed, said = b"ready" in said, said + data
            if b"ready" in said and not pressed:
                ours.write(b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    assert b"/dev/pts/" in said
    assert said.rstrip().endswith(b"heard")


@pytest.mark.unprivileged
def test_the_program_ends_with_unshare(home: Home) -> None:
    with subprocess.Popen(
        [*COMMAND, "unshare", "sh", "-c", "echo $$; exec sleep 60"], env=home.environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        inner = int(process.stdout.readline())
        process.kill()
    assert until(lambda: not Path(f"/proc/{inner}").exists() or "Z" in Path(f"/proc/{inner}/stat").read_text())


@pytest.mark.unprivileged
def test_missing_subordinate_ids_have_a_remedy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "for ordinary users" in home.inside("unshare", "id", code=125)
    assert "package uidmap" in home.outside("unshare", "/bin/true", code=125, env=home.environment | {"PATH": "/nowhere"})
    monkeypatch.setattr(_idmaps, "subordinate", lambda path: [])
    with pytest.raises(Unavailable, match="usermod --add-subuids"):
        planned(["id"])


@pytest.mark.root
def test_root_has_all_ids_already() -> None:
    with pytest.raises(PlanError, match="run 'id' directly"):
        planned(["id"])


# What the library does in there ------------------------------------------------------------------------------------

WHERE = """
from containerkit.linux import ids as _idmaps
from containerkit.rootfs import tree as _tree
from containerkit.state import journal
from containerkit.store.store import Store, default_directory
print(_idmaps.is_machine_root(), _idmaps.machine_uid())
print(default_directory(), _tree.cache_directory(), journal.directory(), sep="\\n")
"""


@pytest.mark.unprivileged
def test_the_program_is_not_root_of_the_machine(home: Home) -> None:
    home.environment.pop("XDG_RUNTIME_DIR", None)
    own = str(home.path / "containerkit")
    place = f"{tempfile.gettempdir()}/.containerkit.{os.getuid()}"
    assert home.python(WHERE).split() == ["False", str(os.getuid()), f"{own}/store-subids", f"{own}/rootfs", place]


@pytest.mark.unprivileged
def test_a_build_with_owners_and_users(home: Home) -> None:
    home.inside("load", "-i", home.base())
    said = home.inside("build", "-t", "app", "--progress", "plain", home.context)
    assert " 1000\n" in said, "the owner of the cache"
    home.inside("save", "-o", home.path / "app.tar", "app")
    image = Image.open(home.path / "app.tar")
    found = {name: (e.uid, e.gid, oct(e.mode)) for layer in image.layers[1:] for name, e in entries(layer).items() if e.kind == "file"}
    assert text(image.layers[4], "srv/effective") == "7\n"
    assert "lo" in text(image.layers[2], "interfaces").split(), "the host's network"
    assert found == {
        "srv/mine": (1000, 1001, "0o644"), "setuid": (7, 0, "0o4755"), "interfaces": (0, 0, "0o644"), "copied": (5, 6, "0o644"),
        "srv/of-web": (1000, 1001, "0o644"), "srv/effective": (1000, 1001, "0o644"),
    }  # fmt: skip
    assert home.inside("run", "app", "sh", "-c", "id -u; id -g; stat -c %u:%g /copied /srv; /setuid -u").split() == [
        "1000",
        "1001",
        "5:6",
        "1000:1001",
        "7",
    ]
    assert home.inside("run", "-u", "0", "--network", "host", "app", "sh", "-c", "chown 9:9 /copied; stat -c %u /copied") == "9\n"
    assert not (home.path / "containerkit/store").exists()


@pytest.mark.unprivileged
def test_a_store_from_pull_to_gc(home: Home) -> None:
    home.inside("load", "-i", home.base())
    (home.context / "Dockerfile").write_text("FROM base\nRUN touch /one && chown 33:44 /one\n")
    with serving(home.path / "registry") as server:
        name = f"{server.host}/app:1"
        home.inside("build", "-q", "-t", name, home.context)
        home.inside("push", name)
        home.inside("rmi", name, "base")
        home.inside("builder", "prune", "-f")
        home.inside("gc")
        assert list((home.path / "containerkit/store-subids/blobs/sha256").iterdir()) == []
        home.inside("pull", name)
        assert home.inside("run", name, "stat", "-c", "%u:%g", "/one") == "33:44\n"
    assert home.inside("fsck") == "no problems found\n"
    home.inside("rmi", name)
    home.inside("gc")
    left = [path for path in (home.path / "containerkit/store-subids").rglob("*") if path.is_file() and path.parent.name != "locks"]
    assert {path.name for path in left} == {"store.json", "oci-layout", "index.json"}


@pytest.mark.unprivileged
def test_a_store_is_used_where_it_was_made(home: Home) -> None:
    base, own = home.base(), home.path / "containerkit"
    home.outside("load", "-i", base)
    home.inside("load", "-i", base)
    assert "use another one in `containerkit unshare`" in home.inside("--store", own / "store", "images", code=1)
    assert "inside `containerkit unshare`" in home.outside("--store", own / "store-subids", "images", code=1)
    made = json.loads((own / "store-subids/store.json").read_bytes())["owners"]["namespace"]
    assert made["uids"] == [list(each) for each in ns.subids(2**32 - 1).uids]
    for command in (home.inside, home.outside):
        assert "base" in command("images")


@pytest.mark.unprivileged
@pytest.mark.parametrize("step", ["USER 1000\nRUN id", "RUN touch /x && chown 5 /x"])
def test_a_build_outside_of_unshare_suggests_it(home: Home, step: str) -> None:
    home.outside("load", "-i", home.base())
    (home.context / "Dockerfile").write_text(f"FROM base\n{step}\n")
    assert "`containerkit unshare containerkit build ...`" in home.outside("build", home.context, code=1)
    (home.context / "Dockerfile").write_text("FROM base\nRUN echo no; exit 3\n")
    assert "unshare" not in home.outside("build", home.context, code=1)


REFUSED = """
import sys
from containerkit.image.errors import CannotUnpack
from containerkit.image.layer import Layer
try:
    Layer.from_tar(open(sys.argv[1], "rb")).unpack(sys.argv[2])
except CannotUnpack as error:
    print(error)
"""


@pytest.mark.unprivileged
def test_devices_and_strange_ids_are_refused(home: Home) -> None:
    strange = {"kind": tarfile.REGTYPE, "uid": 4_000_000_000}, {"kind": tarfile.CHRTYPE, "uid": 0}
    said = []
    for number, each in enumerate(strange):
        entry = tarfile.TarInfo("x")
        entry.type, entry.uid, entry.devmajor, entry.devminor = each["kind"], each["uid"], 1, 3
        with tarfile.open(home.path / f"{number}.tar", "w") as tar:
            tar.addfile(entry, io.BytesIO())
        said.append(home.python(REFUSED, home.path / f"{number}.tar", home.path / f"root{number}"))
    assert "4000000000:0 is refused; there is no such id in this user namespace" in said[0]
    assert "root of the machine, not only of a user namespace" in said[1]
