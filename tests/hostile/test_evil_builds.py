"""Builds by an attacker: contexts, base images, tars and programs that reach for the host, and for what they should not see."""

from __future__ import annotations

import io
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from builds import Yard, entries, tree, yard_in_memory
from evil import corpus, symlink, tar

from containerkit.builder import build
from containerkit.builder.digests import Digests
from containerkit.errors import ContainerKitError
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.rootfs import rootfs
from containerkit.store.store import Store

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]

SECRET = "what nobody may see"


@pytest.fixture
def yard() -> Iterator[Yard]:
    with yard_in_memory() as made:
        outside = made.directory / "outside"
        (outside / "sub").mkdir(parents=True)
        (outside / "canary").write_text(SECRET)
        yield made


@pytest.fixture
def based(yard: Yard) -> Yard:
    """With busybox, called base."""
    yard.base(rootfs.busybox(dest=yard.directory / "busybox"), env=("PATH=/bin:/sbin:/usr/bin:/usr/sbin",))
    return yard


def attempted(action: Callable[[], Image]) -> tuple[Image | None, str]:
    """What comes of it: an image, or the words of an error that is ours."""
    try:
        return action(), ""
    except ContainerKitError as error:
        return None, str(error)


def shows(yard: Yard, image: Image | None) -> str:
    """All that can be read in an image."""
    return "".join(tree(image, yard.directory / "shown").values()) if image else ""


def seen(directory: Path) -> list[tuple[Any, ...]]:
    """A part of the host: all that could be changed."""
    found = []
    for path in [directory, *sorted(directory.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        kept = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns, status.st_rdev)
        found.append((str(path), *kept, content, tuple(os.listxattr(path, follow_symlinks=False))))
    return found


@pytest.fixture
def untouched(yard: Yard) -> Iterator[None]:
    """Nothing beside the build changes."""
    outside = yard.directory / "outside"
    before, top = seen(outside), sorted(os.listdir("/"))
    yield
    assert seen(outside) == before
    assert sorted(os.listdir("/")) == top
    assert yard.store.fsck() == ()
    assert os.listdir(yard.store.directory / "staging") == []


# Base images whose directories lead elsewhere ---------------------------------------------------------------------


PLACES = ("proc", "sys", "dev", "etc", "tmp", "root", "etc/hosts", "etc/resolv.conf", "etc/hostname", "dev/null", "dev/shm", "dev/pts")


FILES = ("etc/hosts", "etc/resolv.conf", "etc/hostname", "dev/null")


@pytest.mark.parametrize("form", ["absolute", "climbing", "by way of proc"])
@pytest.mark.usefixtures("untouched")
def test_what_run_mounts_is_mounted_inside(based: Yard, form: str) -> None:
    """RUN puts /proc, /dev, /etc/hosts there: through no link of the image to a place of the host."""
    outside = based.directory / "outside"
    target = {"absolute": str(outside), "climbing": "../" * 20 + str(outside)[1:], "by way of proc": f"/proc/1/root{outside}"}[form]
    for place in PLACES:
        link = tar(symlink(place.encode(), (target + "/canary" * (place in FILES)).encode()))
        image = based.store.put(based.store.get("base").append(Layer.from_tar(io.BytesIO(link))))
        line = "RUN cat /etc/hosts /proc/self/status /tmp/* /root/* > /tmp/all; cat /tmp/all; true"
        _, said = attempted(lambda image=image, line=line: based.build(f"FROM evil\n{line}\n", contexts={"evil": image}))  # type: ignore[misc]
        assert SECRET not in said + based.output, place


LINES = (
    "RUN --mount=type=cache,target=/l/c touch /l/c/x", "RUN --mount=type=tmpfs,target=/l/t touch /l/t/x", "WORKDIR /l/w", "COPY x /l/x",
    "RUN --mount=type=secret,id=s,target=/l/canary true", "RUN --mount=type=bind,target=/l/b true", "COPY --link x /l/x", "ADD x /l/new/",
    "COPY x /l/../../../../../outside/x", "WORKDIR ../../../l/../..", "RUN --mount=type=cache,target=/l,source=../../../outside true",
    "RUN --mount=type=bind,source=l,target=/b cat /b/canary", "RUN --mount=type=bind,from=evil,source=/l,target=/b cat /b/canary",
    "COPY --from=evil /l/canary /c", "COPY --from=evil /l /c", "RUN echo x > /l/x", "RUN mkdir -p /l && cd /l && cat canary",
)  # fmt: skip


@pytest.mark.usefixtures("untouched")
def test_links_of_an_image_lead_nowhere_else(based: Yard) -> None:
    outside = based.directory / "outside"
    made, context = based.build(f"FROM base\nRUN ln -s {outside} /l\n"), based.context({"x": "x", "l": f"-> {outside}"})
    for line in LINES:
        options: dict[str, Any] = {"contexts": {"evil": made}, "secrets": {"s": b"s"}}
        image, said = attempted(lambda line=line, options=options: based.build(f"FROM evil\n{line}\n", context, **options))  # type: ignore[misc]
        assert SECRET not in said + based.output + shows(based, image), line


# Programs that reach for the host ---------------------------------------------------------------------------------

# None does any harm where it succeeds: what is written is what was there.
ATTEMPTS = {
    "core_pattern": 'v="$(cat /proc/sys/kernel/core_pattern)" && echo "$v" > /proc/sys/kernel/core_pattern',
    "sysrq": "echo h > /proc/sysrq-trigger",
    "modprobe": 'v="$(cat /proc/sys/kernel/modprobe)" && echo "$v" > /proc/sys/kernel/modprobe',
    "hostname of the host": "echo x > /proc/sys/kernel/hostname && [ $(readlink /proc/self/ns/uts) = HOST_UTS ]",
    "uevent_helper": "echo > /sys/kernel/uevent_helper",
    "cgroup": "mkdir /sys/fs/cgroup/evil || (mkdir /c && mount -t cgroup2 none /c)",
    "mount tmpfs": "mkdir -p /m && mount -t tmpfs none /m",
    "mount proc": "mkdir -p /m && mount -t proc none /m",
    "remount": "mount -o remount,rw,dev /",
    "bind": "mkdir -p /m && mount --bind / /m",
    "root of the first process": "ls /proc/1/root/HOST_DIRECTORY/canary",
    "chroot": "mkdir -p /j && cp /bin/busybox /j/ && chroot /j /busybox ls ../../../../HOST_DIRECTORY/canary",
    "nsenter": "nsenter -t 1 -m ls HOST_DIRECTORY/canary",
    "a disk": "mknod /disk b 254 0 && dd if=/disk of=/dev/null bs=512 count=1",
    "memory": "mknod /mem c 1 1 && dd if=/mem of=/dev/null bs=512 count=1",
    "kmsg": "mknod /kmsg c 1 11 && echo x > /kmsg",
    "kcore": "dd if=/proc/kcore of=/dev/null bs=512 count=1 && [ -s /proc/kcore ] && [ $(dd if=/proc/kcore bs=4 count=1 | wc -c) = 4 ]",
    "time": 'date -s "@$(date +%s)" > /said 2>&1; ! grep -q "can.t set" /said',
    "reboot": "reboot -f -n",
    "a process of the host": "kill -0 HOST_PID && grep -q pytest /proc/HOST_PID/cmdline",
    "descriptors of the host": "ls -l /proc/self/fd | grep -q HOST_DIRECTORY",
    "the environment of the host": "env | grep -q EVIL_ENVIRONMENT",
    "an unshared namespace": "unshare -U -m sh -c 'mount -t tmpfs none /tmp && mkdir /sys/fs/cgroup/x'",
    "swap": "swapon /dev/vda",
    "iptables of the host": "ip link add evil0 type dummy",
}


@pytest.mark.parametrize("network", ["none", "host"])
@pytest.mark.usefixtures("untouched")
def test_run_gets_nowhere(based: Yard, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL_ENVIRONMENT", SECRET)
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    script = ["#!/bin/sh", "true && echo GOT nothing"]  # or the script would show nothing
    for name, attempt in ATTEMPTS.items():
        line = attempt.replace("HOST_DIRECTORY", str(based.directory / "outside")).replace("HOST_PID", str(os.getpid()))
        line = line.replace("HOST_UTS", os.readlink("/proc/self/ns/uts"))
        script.append(f"({line}) > /dev/null 2>&1 && echo GOT {name.split()[-1]}")
    based.build(f"FROM base\nRUN --network={network} <<'EOF'\n" + "\n".join([*script, "echo ended"]) + "\nEOF\n")
    assert [line for line in based.output.splitlines() if line] == ["GOT nothing", "ended"]
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern


LEFT = (
    "(setsid sleep 1000 >/dev/null 2>&1 </dev/null &)", "(trap '' TERM HUP INT; sleep 1000) &", "sleep 1000 & sleep 1000 &",
    "nohup sh -c 'while :; do sleep 0.01; done' &", "(sleep 1000 &) ; exec 1>&- 2>&-", "kill -9 -1", "kill -STOP 1",
    "trap '' TERM; kill -9 1",
)  # fmt: skip


@pytest.mark.usefixtures("untouched")
def test_nobody_stays_behind(based: Yard) -> None:
    """The leak check of all hostile tests looks for processes, mounts and groups."""
    started = time.monotonic()
    for left in LEFT:
        attempted(lambda left=left: based.build(f"FROM base\nRUN {left} ; true\n"))  # type: ignore[misc]
    assert time.monotonic() - started < 20


# What is left between instructions --------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
def test_an_instruction_after_a_link_stays_inside(based: Yard) -> None:
    outside = based.directory / "outside"
    lines = [
        "FROM base", f"RUN mv /etc /etc.old && ln -s {outside} /etc", "COPY passwd /etc/passwd", "ADD passwd /etc/sub/", "WORKDIR /etc/w",
        "RUN echo x > new", "COPY --chown=app passwd /etc/canary",
    ]  # fmt: skip
    try:
        image = based.build("\n".join(lines), {"passwd": "app:x:5:5::/:/bin/sh\n"})
    except ContainerKitError:
        return
    shown = tree(image, based.directory / "shown")
    assert shown[f"{str(outside)[1:]}/passwd"].startswith("app")
    assert SECRET not in "".join(shown.values())


@pytest.mark.usefixtures("untouched")
def test_a_name_that_means_a_deletion_is_no_file(based: Yard) -> None:
    for name in (".wh.etc", "d/.wh.x", ".wh..wh..opq", "d/.wh..wh..opq", ".wh..wh.plnk"):
        with pytest.raises(ContainerKitError, match=r"deletion|whiteout|\.wh\."):
            based.build(f"FROM base\nRUN mkdir -p /d && echo x > /{name}\n")
        with pytest.raises(ContainerKitError, match=r"deletion|whiteout|\.wh\."):
            based.build("FROM base\nCOPY . /c/\n", {name: "x"})


@pytest.mark.root
@pytest.mark.usefixtures("untouched")
def test_overlayfs_is_not_spoken_to(based: Yard) -> None:
    """Neither by its devices nor by its attributes."""
    for attempt in ("mknod /etc/evil c 0 0", "mkdir /o && setfattr -n trusted.overlay.opaque -v y /o", "mknod /x c 0 0 && mv /x /bin"):
        try:
            image = based.build(f"FROM base\nRUN {attempt} || true\nRUN ls -la / /etc\n")
        except ContainerKitError:
            continue
        for layer in image.layers:
            for entry in entries(layer).values():
                assert not [key for key in entry.xattrs if b"overlay" in key]
                assert (entry.kind, entry.major, entry.minor) != ("char", 0, 0)


# Contexts ---------------------------------------------------------------------------------------------------------


IGNORED = (
    "COPY secret /", "COPY s* /", "COPY . /", "COPY link /", "COPY d/link /", "COPY d /", "COPY --parents ./d/../secret /", "ADD secret /",
    "COPY ./d/../secret /", "COPY /secret /", "COPY --parents **/secret /", "COPY d/../*ret /", "COPY hard /",
)  # fmt: skip


@pytest.mark.usefixtures("untouched")
def test_what_is_ignored_cannot_be_had(yard: Yard) -> None:
    files = {".dockerignore": "secret\n**/secret\nhard\n", "secret": SECRET, "link": "-> secret", "d/link": "-> ../secret", "x": "x"}
    context = yard.context(files | {"d/secret": SECRET})
    os.link(context / "secret", context / "hard")
    for line in IGNORED:
        image, said = attempted(lambda line=line: yard.build(f"FROM scratch\n{line}\n", context))  # type: ignore[misc]
        assert SECRET not in said + shows(yard, image), line


@pytest.mark.usefixtures("untouched")
def test_what_is_ignored_cannot_be_seen(based: Yard) -> None:
    files = {".dockerignore": "secret\nd\n!d/fine\n", "secret": SECRET, "d/secret": SECRET, "d/fine": "fine", "link": "-> secret"}
    line = "RUN --mount=type=bind,target=/c cat /c/d/fine; cat /c/secret /c/d/secret /c/link; ls -R /c; true"
    based.build(f"FROM base\n{line}\n", files)
    assert "fine" in based.output
    assert SECRET not in based.output


@pytest.mark.parametrize("how", ["fifo", "socket", "link to itself", "link out", "link to a fifo", "link to zeros"])
@pytest.mark.usefixtures("untouched")
def test_odd_files_of_a_context_end_nothing(yard: Yard, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(yard.directory / "fifo")
    for name in ("x", ".dockerignore", "Dockerfile", "d/x"):
        context = yard.context({"d/ok": "ok"})
        odd(context / name, how, yard.directory, monkeypatch)
        text = None if name == "Dockerfile" else b"FROM scratch\nCOPY . /\n"
        image, said = attempted(lambda context=context, text=text: build(context, dockerfile=text, store=yard.store))  # type: ignore[misc]
        assert SECRET not in said + shows(yard, image), name


def odd(path: Path, how: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes what is no file."""
    if how == "fifo":
        os.mkfifo(path)
    elif how == "socket":
        monkeypatch.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    else:
        to = {"itself": path.name, "out": directory / "outside" / "canary", "fifo": directory / "fifo", "zeros": "/dev/zero"}
        path.symlink_to(to[how.split()[-1]])


PATHS = (
    "COPY <<../../../evil /d/\nx\n../../../evil", "COPY <</etc/evil /\nx\n/etc/evil", "COPY <<.. /\nx\n..", "COPY <<.wh.x /\nx\n.wh.x",
    "COPY x /..", "COPY x /../../..", "COPY x ../../../../evil", "COPY ../outside/canary /", "COPY d/../../outside/canary /",
    "COPY /../outside/canary /", "COPY d/up/outside/canary /", "ADD d/up/outside /", "COPY --from=../outside canary /",
    "COPY --from=/etc passwd /", "COPY --parents d/up/outside /", "COPY d/up /", "COPY d/up/outsid? /", "COPY --exclude=../* d/up/ /",
)  # fmt: skip


@pytest.mark.usefixtures("untouched")
def test_no_path_leads_out(yard: Yard) -> None:
    context = yard.context({"x": "x", "d/up": "-> ../.."})
    for line in PATHS:
        image, said = attempted(lambda line=line: yard.build(f"FROM scratch\n{line}\n", context))  # type: ignore[misc]
        assert SECRET not in said + shows(yard, image), line
        if image:
            image.validate()


# What is remembered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["two", "second, longer"])
def test_a_file_that_changes_meanwhile_poisons_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    """Its digest is taken, it changes, and then it is copied: whoever has the old bytes does not get the new ones."""
    context = yard.context({"a": "one", "d/b": "one"})
    files = (context / "a", context / "d/b")
    known = Digests.of

    def changed(self: Digests, *arguments: Any) -> Any:
        found = known(self, *arguments)
        for path in files:
            path.write_text(second)
        return found

    text = "FROM scratch\nCOPY a /a\nCOPY d /d\n"
    with monkeypatch.context() as patch:
        patch.setattr(Digests, "of", changed)
        attempted(lambda: yard.build(text, context))
    for path in files:
        path.write_text("one")
    shown = tree(yard.build(text, context), yard.directory / "shown")
    assert shown == {"a": "one", "d/b": "one"}


def test_damaged_memories_are_forgotten(yard: Yard) -> None:
    """What builds remember is files; whatever is in them, the image is the right one."""
    context = yard.context({"a": "one"})
    text = "FROM scratch\nCOPY a /a\n"
    digest = yard.build(text, context).digest
    memory = yard.store.directory / "build"
    records = [path for path in memory.rglob("*") if path.is_file()]
    assert records
    for damage in (b"", b"{", b"[]", b"{}", b"null", b'{"layer": 5}', b"\xff" * 100, b"[" * 100_000, b'{"a":1e999}', bytes(5 << 20)):
        for path in records:
            path.write_bytes(damage)
        assert yard.build(text, context).digest == digest, damage[:20]


@pytest.mark.usefixtures("untouched")
def test_a_cache_of_somebody_else_that_lies(yard: Yard, tmp_path: Path) -> None:
    """One that cannot be read is passed over or refused; its files are verified like those of any image."""
    context = yard.context({"a": "one"})
    text = "FROM scratch\nCOPY a /a\n"
    yard.build(text, context, cache_to=tmp_path / "cache.oci")
    files = [path for path in (tmp_path / "cache.oci").rglob("*") if path.is_file()]
    originals = {path: path.read_bytes() for path in files}
    for path in files:
        for damage in (originals[path][:-1], originals[path].replace(b"a", b"b"), b"{}", b"[" * 100_000, b"\xff"):
            path.write_bytes(damage)
            other = Store(tmp_path / f"store{len(os.listdir(tmp_path))}")
            image, _ = attempted(lambda other=other: yard.build(text, context, store=other, cache_from=[tmp_path / "cache.oci"]))  # type: ignore[misc]
            assert image is None or tree(image, yard.directory / "shown") == {"a": "one"}
            assert other.fsck() == ()
        path.write_bytes(originals[path])


# Archives and what is fetched -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
def test_add_unpacks_no_evil_tar(yard: Yard) -> None:
    """The whole corpus of evil layers, as archives of ADD and as contexts."""
    refused = 0
    evils = [each for each in corpus(os.fsencode(yard.directory / "outside")) if len(each.data) < 100_000]
    for evil in evils:
        context = yard.context({"evil.tar": evil.data})
        for given, line in ((context, b"ADD evil.tar /d/"), (evil.data, b"COPY . /d/")):
            text = b"FROM scratch\n" + line
            image, said = attempted(lambda given=given, text=text: build(given, dockerfile=text, store=yard.store))  # type: ignore[misc]
            refused += image is None
            assert SECRET not in said, evil.name
            assert image is None or SECRET.encode() not in b"".join(_contents(image)), evil.name
    assert len(evils) > 90
    assert refused > 120


def _contents(image: Image) -> Iterator[bytes]:
    for layer in image.layers:
        with layer.uncompressed() as stream:
            while piece := stream.read(1 << 20):
                yield piece


class Evil(BaseHTTPRequestHandler):
    """Answers a fetch."""

    def do_GET(self) -> None:
        kind, _, rest = self.path.strip("/").partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", {"file": "file:///etc/passwd", "circle": self.path, "nowhere": "http://"}[rest])
            self.end_headers()
        elif kind == "short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x")
        else:
            self.send_response(200)
            self.send_header("Content-Disposition", 'attachment; filename="../../../evil"')
            self.end_headers()
            self.wfile.write(b"x")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("untouched")
def test_what_is_fetched_leads_nowhere(yard: Yard, web: str) -> None:
    for path in ("to/file", "to/circle", "to/nowhere", "short/x", "x/..%2f..%2fevil", "x/..", "x/%2e%2e", "x/.wh.x", "x/a%00b", "x/"):
        image, _ = attempted(lambda path=path: yard.build(f"FROM scratch\nADD {web}/{path} /d/\n"))  # type: ignore[misc]
        if image:
            assert path.startswith("x/")
            image.validate()
            names = set().union(*(entries(layer) for layer in image.layers))
            assert not [name for name in names if ".." in name.split("/") or not name.startswith("d")], path
