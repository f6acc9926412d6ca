"""RUN on the real kernel: the program's view and rights, the content of the layer, and nothing left behind."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import Yard, entries, text, tree, yard_in_memory
from registries import serving
from support import REPO, compiled, until

from containerkit.builder import FailedStep, prune, run
from containerkit.builder.caches import Caches
from containerkit.dockerfile.instructions import Cache
from containerkit.rootfs import rootfs

ACCOUNTS = {"passwd": "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n", "group": "root:x:0:\napp:x:1001:\nextra:x:7:app\n"}


BOTH = "FROM base\nCOPY --from=a /etc/passwd /1\nCOPY --from=b /etc/passwd /2\n"


@pytest.fixture
def yard() -> Iterator[Yard]:
    """A yard with busybox as the image base."""
    with yard_in_memory() as made:
        root = rootfs.busybox(dest=made.directory / "busybox")
        for name, lines in ACCOUNTS.items():
            (root / "etc" / name).write_text(lines)
        made.base(root, env=("PATH=/bin:/sbin:/usr/bin:/usr/sbin", "A=env"))
        yield made


def layers(yard: Yard, *lines: str, **options: object) -> list[dict[str, str]]:
    """Return the entries of the layers on top of the base: kinds by name."""
    image = yard.build("\n".join(["FROM base", *lines]), **options)  # type: ignore[arg-type]
    image.validate()
    return [{name: entry.kind for name, entry in entries(layer).items()} for layer in image.layers[1:]]


# What comes of it -------------------------------------------------------------------------------------------------


@pytest.mark.unprivileged
def test_a_layer_has_what_changed_and_nothing_else(yard: Yard) -> None:
    found = layers(yard, "RUN echo x > /made && mkdir -p /d/e && rm /bin/vi && ln -s made /link && touch -d 2001-01-01 /made")
    assert found == [
        {"bin": "directory", "bin/.wh.vi": "file", "d": "directory", "d/e": "directory", "link": "symlink", "made": "file"}
    ]  # fmt: skip
    assert yard.store.fsck() == ()


def test_a_run_without_changes_makes_no_layer(yard: Yard) -> None:
    image = yard.build("FROM base\nRUN true\nRUN touch /tmp/x && rm /tmp/x && echo x > /dev/null\nRUN ls -la / /etc > /dev/shm/x\n")
    assert [entry.empty_layer for entry in image.history[1:]] == [True, False, True]
    assert set(entries(image.layers[1])) == {"tmp"}, "its time changed"


@pytest.mark.unprivileged
def test_mounts_leave_no_trace_in_the_layer(yard: Yard) -> None:
    """Also for mount targets that the image does not have."""
    bare = yard.build("FROM base\nRUN rm -rf /proc /sys /dev /etc/hosts /etc/hostname /etc/resolv.conf || true\n")
    image = yard.build("FROM bare\nRUN test -e /dev/null && test -s /etc/hosts && test -e /proc/self\n", contexts={"bare": bare})
    assert len(image.layers) == len(bare.layers)
    found = layers(yard, "RUN --mount=type=tmpfs,target=/a/b/c --mount=type=tmpfs,target=/tmp/x touch /a/b/c/x /tmp/x/y /a/kept")
    assert found == [{"a": "directory", "a/kept": "file"}]


@pytest.mark.unprivileged
def test_a_directory_with_a_mount_in_it_may_be_changed(yard: Yard) -> None:
    """The build restores a directory only if the image lacks the mount target; a change of its attributes then stays."""
    there = {"hosts": "", "hostname": "", "resolv.conf": ""}
    assert layers(yard, "COPY . /etc/", "RUN touch -d 2001-01-01 /etc", files=there)[1:] == [{"etc": "directory"}]
    assert layers(yard, "RUN --mount=type=tmpfs,target=/home/x/y true") == []
    assert layers(yard, "RUN --mount=type=tmpfs,target=/home/x chmod 700 /home") == [{"home": "directory"}]


@pytest.mark.unprivileged
def test_a_removed_directory_that_is_made_again(yard: Yard) -> None:
    image = yard.build("FROM base\nRUN mkdir /d && touch /d/a /d/b\nRUN rm -r /d && mkdir /d && touch /d/c\n")
    assert set(entries(image.layers[2])) == {"d", "d/.wh..wh..opq", "d/c"}
    assert {name for name in tree(image, yard.directory / "out") if name.startswith("d/")} == {"d/c"}


@pytest.mark.root
def test_owners_setuid_capabilities_devices_and_hard_links(yard: Yard) -> None:
    capable = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    script = (
        "touch a b && chown 65535:65535 a && chown 1000:1001 b && chmod 6755 b && ln b c && mknod n c 1 3 && mkfifo p && chmod 1770 /srv"
    )
    image = yard.build(f"FROM base\nWORKDIR /srv\nRUN {script}\n", userns="host")
    found = entries(image.layers[2])
    assert {name: (e.kind, oct(e.mode), e.uid, e.gid) for name, e in found.items()} == {
        "srv": ("directory", "0o1770", 0, 0), "srv/a": ("file", "0o644", 65535, 65535), "srv/b": ("file", "0o6755", 1000, 1001),
        "srv/c": ("hardlink", "0o6755", 1000, 1001), "srv/n": ("char", "0o644", 0, 0), "srv/p": ("fifo", "0o644", 0, 0),
    }  # fmt: skip
    own = yard.build(f"FROM base\nWORKDIR /srv\nRUN {script.replace('mknod n c 1 3', '! mknod n c 1 3')}\n")
    assert entries(own.layers[2]).keys() == found.keys() - {"srv/n"}
    same = ("kind", "mode", "uid", "gid", "linkname")
    for name, entry in entries(own.layers[2]).items():
        assert [getattr(entry, what) for what in same] == [getattr(found[name], what) for what in same], name
    context = yard.context({"c": ""})
    os.setxattr(context / "c", "security.capability", capable)
    image = yard.build("FROM base\nCOPY c /c\nRUN mv /c /d && cp /bin/busybox /s && chmod 4755 /s\nRUN true\n", context)
    assert entries(image.layers[2])["d"].xattrs == {b"security.capability": capable}
    assert yard.store.fsck() == ()


def test_a_script_of_its_own_and_the_exec_form(yard: Yard) -> None:
    yard.build(
        'FROM base\nRUN <<EOF\n#!/bin/cat\nas a file $A\nEOF\nRUN <<EOF\necho "one $A"\necho two\nEOF\nRUN ["echo", "$A", "three"]\n'
    )
    assert yard.output == "#!/bin/cat\nas a file $A\none env\ntwo\n$A three\n"
    assert layers(yard, "RUN <<EOF\n#!/bin/sh\ntrue\nEOF") == []


def test_a_run_on_scratch_finds_no_program(yard: Yard) -> None:
    with pytest.raises(FailedStep, match="could not be started"):
        yard.build("FROM scratch\nRUN true\n")
    busybox = next(path for path in (yard.directory / "busybox").rglob("busybox"))
    image = yard.build('FROM scratch\nCOPY busybox /\nRUN ["/busybox", "touch", "/made"]\n', busybox.parent)
    assert set(entries(image.layers[1])) == {"made"}


# What it sees -----------------------------------------------------------------------------------------------------


def test_environment_directory_and_user(yard: Yard) -> None:
    yard.build(
        "FROM base\nARG B=arg\nARG A=arg\nARG C\nENV D=$A$B\nWORKDIR /w\n"
        'RUN echo "$A $B ${C-unset} $D $PWD $HOME $(id -u) $PATH $(umask) $(hostname)"\nSHELL ["/bin/sh", "-ec"]\nRUN echo $0 $-\n'
    )
    assert yard.output.splitlines()[0] == "env arg unset envarg /w /root 0 /bin:/sbin:/usr/bin:/usr/sbin 0022 build"
    assert "e" in yard.output.splitlines()[1]


@pytest.mark.root
def test_users(yard: Yard) -> None:
    whoami = 'RUN echo "$(id -u):$(id -g) $(id -G) $HOME $(grep CapEff /proc/self/status | cut -f2)"'
    yard.build("\n".join(["FROM base", "USER app", whoami, "USER 1000", whoami, "USER 5", whoami, "USER app:root", whoami]))
    none = "0" * 16
    assert yard.output.splitlines() == [
        f"1000:1001 1001 7 /home/app {none}", f"1000:1001 1001 7 /home/app {none}", f"5:0 0 / {none}", f"1000:0 0 /home/app {none}",
    ]  # fmt: skip
    with pytest.raises(FailedStep, match="no user 'nobody'"):
        yard.build("FROM base\nUSER nobody\nRUN true\n")
    image = yard.build("FROM base\nUSER app\nWORKDIR /home/app\nRUN touch x\n")
    found = entries(image.layers[2])
    assert {name: (e.uid, e.gid) for name, e in found.items()} == {"home": (0, 0), "home/app": (1000, 1001), "home/app/x": (1000, 1001)}


@pytest.mark.root
def test_set_user_id_programs_work(yard: Yard) -> None:
    context = yard.context()
    compiled('#include <unistd.h>\n#include <stdio.h>\nint main(void) { return printf("%d\\n", geteuid()) < 0; }', context / "who")
    yard.build("FROM base\nCOPY --chmod=4755 who /\nUSER app\nRUN id -u; /who; grep NoNewPrivs /proc/self/status\n", context)
    assert yard.output.split() == ["1000", "0", "NoNewPrivs:", "0"]


@pytest.mark.unprivileged
def test_a_run_has_namespaces_of_its_own(yard: Yard) -> None:
    yard.build(
        "FROM base\nRUN echo $$; ls /proc | grep -c '^[0-9]'; grep -c . /proc/net/dev; cat /proc/sys/kernel/core_pattern > /dev/null\n"
    )
    assert yard.output.split()[0] == "1"
    yard.build("FROM base\nRUN --network=none ls /sys/class/net; cat /etc/resolv.conf; cat /etc/hosts\n")
    assert "lo\n127.0.0.1\tlocalhost\n" in yard.output
    yard.build("FROM base\nRUN ls /sys/class/net\n", network="none", cache=False)
    assert yard.output == "lo\n"
    for forbidden in (
        "mount -t tmpfs x /tmp",
        "echo x > /proc/sys/kernel/hostname",
        "dmesg",
        "echo 1 > /sys/x",
        "chroot / mount -t proc p /tmp",
    ):
        with pytest.raises(FailedStep):
            yard.build(f"FROM base\nRUN {forbidden}\n")


def test_no_process_survives_a_run(yard: Yard) -> None:
    began = time.monotonic()
    yard.build("FROM base\nRUN sh -c 'trap \"\" TERM HUP; sleep 600' & setsid sleep 601 & touch /done\n")
    assert time.monotonic() - began < 30
    assert not subprocess.run(["pgrep", "-f", "sleep 60[01]"], capture_output=True, check=False).stdout


# Mounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.unprivileged
def test_binds(yard: Yard) -> None:
    files = {"d/f": "context", "link": "-> ../../secret", ".dockerignore": "hidden", "hidden": ""}
    yard.build(
        "FROM base AS s\nRUN mkdir /s && echo stage > /s/f\nFROM base\n"
        "RUN --mount=type=bind,target=/c --mount=type=bind,from=s,source=s/f,target=/f cat /c/d/f /f; ls /c; touch /c/x || echo readonly\n"
        "RUN --mount=target=/c,source=d,rw echo changed > /c/f && cat /c/f\nRUN --mount=target=/c,source=d cat /c/f\n",
        files,
    )  # fmt: skip
    lines = [line for line in yard.output.splitlines() if "Read-only" not in line]
    assert lines == ["contextstage", "d", "link", "readonly", "changed", "context"]
    with pytest.raises(FailedStep, match="--mount: 'link' does not exist"):
        yard.build("FROM base\nRUN --mount=target=/c,source=link true\n", files)


@pytest.mark.root
@pytest.mark.parametrize("mount", ["bind,target=/m,rw", "cache,target=/m", "tmpfs,target=/m"])
def test_a_device_made_in_a_mount_cannot_be_opened(yard: Yard, mount: str) -> None:
    """The test uses the harmless zero device; a disk would be refused in the same way."""
    yard.build(f"FROM base\nRUN --mount=type={mount} mknod /m/z c 1 5 && ! head -c 1 /m/z && cat /proc/self/mounts\n", userns="host")
    table = [line.split() for line in yard.output.splitlines() if line.count(" ") == 5]
    allowed = ("/dev/", "/proc/")  # single devices, and what is masked with one of them
    assert [target for _, target, _, options, *_ in table if "nodev" not in options.split(",") and not target.startswith(allowed)] == []
    assert "/m" in [line[1] for line in table]


def test_a_bind_counts_by_content(yard: Yard) -> None:
    dockerfile = "FROM base\nRUN --mount=target=/c cat /c/f > /f\n"
    for content, made in (("1", 1), ("1", 0), ("2", 1)):
        yard.build(dockerfile, {"f": content})
        assert len(yard.made) == made


def test_caches_stay_and_are_in_no_layer(yard: Yard) -> None:
    one = "RUN --mount=type=cache,target=/cache,id=x{more} echo {n} >> /cache/log && cat /cache/log > /seen && cat /seen"
    for number, more in enumerate(("", ",sharing=locked", ",mode=0700"), 1):
        assert layers(yard, one.format(n=number, more=more)) == [{"seen": "file"}]
    assert yard.output == "1\n2\n3\n"
    layers(yard, one.format(n=4, more=",sharing=private"), one.format(n=5, more="").replace("id=x", "id=y"))
    assert yard.output == "4\n5\n"
    layers(yard, "RUN --mount=type=cache,target=/cache,id=x,ro touch /cache/x || cat /cache/log", "RUN test ! -e /cache")
    assert "1\n2\n3\n" in yard.output


def test_a_cache_is_pruned_unless_it_is_in_use(yard: Yard) -> None:
    one = "FROM base\nRUN --mount=type=cache,target=/c{} ls /c && touch /c/x\n"
    yard.build(one.format(",sharing=private"))
    caches = Caches(yard.store.directory)
    for sharing in ("shared", "locked", "private"):
        caches.take("/c", sharing, lambda place: None)
        assert prune(yard.store) == 1, f"the other of the two is in use: {sharing}"
        caches.close()
    assert prune(yard.store) == 2
    yard.build(one.format(""), cache=False)
    assert yard.output == ""


def test_a_cache_begins_with_the_files_of_its_source(yard: Yard) -> None:
    dockerfile = "FROM base AS s\nRUN mkdir /s && echo first > /s/f\nFROM base\nRUN --mount=type=cache,from=s,source=s,target=/c cat /c/f\n"
    yard.build(dockerfile)
    assert yard.output == "first\n"


def test_a_locked_cache_is_for_one_at_a_time(yard: Yard) -> None:
    """Two independent stages run at once; with the lock each finds that the other has removed its file."""
    line = "RUN --mount=type=cache,target=/c,sharing=locked mkdir /c/busy && sleep 0.2 && rmdir /c/busy && echo {n}"
    yard.build(f"FROM base AS a\n{line.format(n=1)}\nFROM base AS b\n{line.format(n=2)}\n{BOTH}")
    assert sorted(yard.output.split()) == ["1", "2"]


def test_a_build_that_failed_waits_for_no_cache(yard: Yard) -> None:
    caches = Caches(yard.store.directory)
    caches.take("/c", "locked", lambda place: None)
    try:
        with pytest.raises(FailedStep, match="exit code 3"):
            yard.build(f"FROM base AS a\nRUN --mount=type=cache,target=/c ls\nFROM base AS b\nRUN sleep 0.5; exit 3\n{BOTH}")
    finally:
        caches.close()


def test_a_cache_is_not_locked_while_a_stage_is_waited_for(yard: Yard) -> None:
    """With the lock held, each of the two stages would wait for the other."""
    mount = "RUN --mount=type=cache,target=/c,sharing=locked"
    yard.build(f"FROM base AS seed\n{mount} ls /c\nRUN echo x > /f\nFROM base\n{mount},from=seed,source=/ ls /c\n")
    assert yard.output == ""


@pytest.mark.unprivileged
def test_secrets_are_in_no_layer_no_key_and_no_history(yard: Yard) -> None:
    secret = "v3ry-s3cret"
    dockerfile = (
        "FROM base\nRUN --mount=type=secret,id=s --mount=type=secret,id=s,env=S --mount=type=secret,id=s,target=/there,mode=0444 "
        'test "$(cat /run/secrets/s)" = "$S" && stat -c "%a %n" /run/secrets/s /there && echo ran >> /ran\n'
    )
    image = yard.build(dockerfile, secrets={"s": secret.encode()})
    assert yard.output == "400 /run/secrets/s\n444 /there\n"
    assert set(entries(image.layers[1])) == {"ran"}
    yard.build(dockerfile, secrets={"s": b"another"})
    assert yard.made == [], "what a secret is does not count"
    for path in yard.store.directory.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    path = yard.directory / "secret"
    path.write_text(secret)
    yard.build("FROM base\nRUN --mount=type=secret,id=s cat /run/secrets/s\n", secrets={"s": path})
    assert yard.output == secret
    with pytest.raises(FailedStep, match="'s' is required"):
        yard.build("FROM base\nRUN --mount=type=secret,id=s,required true\n")
    yard.build("FROM base\nRUN --mount=type=secret,id=s test ! -e /run/secrets/s\n")
    for hidden in (b"hush\0hush", "hush\0hush"):
        with pytest.raises(FailedStep) as caught:
            yard.build("FROM base\nRUN --mount=type=secret,id=s,env=S true\n", secrets={"s": hidden})
        assert isinstance(hidden, str) or "hush" not in str(caught.value)


def test_unsupported_options_are_refused(yard: Yard) -> None:
    with pytest.raises(FailedStep, match="this build has no network"):
        yard.build("FROM base\nRUN --network=host true\n", network="none")
    with pytest.raises(FailedStep, match="ssh"):
        yard.build("FROM base\nRUN --mount=type=ssh true\n")
    with pytest.raises(FailedStep, match="insecure"):
        yard.build("FROM base\nRUN --security=insecure true\n")
    with pytest.raises(FailedStep, match="a network is one of"):
        run(yard.store.get("base"), ["true"], network="bridge", store=yard.store)


# Failing ----------------------------------------------------------------------------------------------------------


def test_a_program_that_fails(yard: Yard) -> None:
    with pytest.raises(FailedStep) as caught:
        yard.build("FROM base AS s\nENV a=b\nRUN for i in $(seq 30); do echo line $i; done; echo err >&2; exit 7\n", tags=["x"])
    error = caught.value
    assert (error.stage, error.step, error.total, error.line, error.exit_code) == ("s", 3, 3, 3, 7)
    assert error.output.splitlines()[-2:] == [b"line 30", b"err"]
    assert "exit code 7\n  | line" in str(error)
    assert [stored.names for stored in yard.store.images()] == [("docker.io/library/base:latest",)]
    assert os.listdir(yard.store.directory / "staging") == []


def test_a_program_that_is_killed_or_missing(yard: Yard) -> None:
    with pytest.raises(FailedStep) as caught:
        yard.build("FROM base\nRUN (sh -c 'kill -9 $$'); exit $?\n")
    assert caught.value.exit_code == 137
    with pytest.raises(FailedStep, match="'/no/such' could not be started"):
        yard.build('FROM base\nRUN ["/no/such"]\n')


def test_a_failure_stops_the_other_stages(yard: Yard) -> None:
    began = time.monotonic()
    with pytest.raises(FailedStep, match="exit code 3"):
        yard.build(
            "FROM base AS a\nRUN sleep 100\nFROM base AS b\nRUN sleep 0.2; exit 3\nFROM base\nCOPY --from=a x /\nCOPY --from=b x /\n"
        )
    assert time.monotonic() - began < 20


def test_stages_are_built_at_the_same_time(yard: Yard) -> None:
    """Each stage waits for the other through a shared cache."""
    line = "RUN --mount=type=cache,target=/c touch /c/{0} && for i in $(seq 200); do test -e /c/{1} && exit 0; sleep 0.05; done; exit 1"
    stages = f"FROM base AS a\n{line.format(1, 2)}\nFROM base AS b\n{line.format(2, 1)}\n"
    yard.build(stages + BOTH)


def test_stages_that_begin_alike_are_run_once(yard: Yard) -> None:
    line = "RUN --mount=type=cache,target=/c echo x >> /c/log && cat /c/log"
    yard.build(f"FROM base AS a\n{line}\nFROM base AS b\n{line}\n{BOTH}")
    assert yard.output == "x\n"


def test_output_arrives_while_it_is_written(yard: Yard) -> None:
    came: list[tuple[float, bytes]] = []

    def progress(event: object) -> None:
        came.append((time.monotonic(), getattr(event, "data", b"")))

    yard.build("FROM base\nRUN echo one; sleep 0.5; echo two; printf 'no end'\n", progress=progress)
    times = {data: when for when, data in came if data}
    assert times[b"two\n"] - times[b"one\n"] > 0.3
    assert b"no end" in times


def killed(yard: Yard, script: str) -> subprocess.Popen[bytes]:
    """Run a build in a process of its own, and kill it."""
    source = textwrap.dedent(f"""
        from containerkit.builder import build
        from containerkit.store.store import Store
        build({str(yard.context())!r}, dockerfile={script.encode()!r}, store=Store({str(yard.store.directory)!r}), tags=["killed"])
    """)
    return subprocess.Popen([sys.executable, "-c", source], env={**os.environ, "PYTHONPATH": str(REPO)}, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_leaves_no_result(yard: Yard, number: int) -> None:
    marker = "sleep 654.5"
    with killed(yard, f"FROM base\nRUN echo x > /x; {marker}\n") as process:
        assert until(lambda: subprocess.run(["pgrep", "-f", f"^{marker}"], capture_output=True, check=False).stdout, 20)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert until(lambda: not subprocess.run(["pgrep", "-f", f"^{marker}"], capture_output=True, check=False).stdout, 5) is not False
    assert yard.store.fsck() == ()
    yard.store.leases.sweep()
    assert os.listdir(yard.store.directory / "staging") == []
    assert [stored.names for stored in yard.store.images()] == [("docker.io/library/base:latest",)]


def test_two_builds_at_once_share_a_store(yard: Yard) -> None:
    context = yard.context({"f": "x" * 100_000})
    errors: list[BaseException] = []

    def one(number: int) -> None:
        try:
            yard_build(context, number)
        except BaseException as error:
            errors.append(error)

    def yard_build(context: Path, number: int) -> None:
        from containerkit.builder import build

        dockerfile = f"FROM base\nCOPY f /f\nRUN echo same > /s\nRUN echo {number} > /n\n".encode()
        assert text(build(context, dockerfile=dockerfile, store=yard.store).layers[-1], "n") == f"{number}\n"

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert yard.store.fsck() == ()


def test_bases_and_caches_come_from_a_registry(yard: Yard, tmp_path: Path) -> None:
    pytest.importorskip("urllib3", reason="needs urllib3: pip install containerkit[registry]")
    from containerkit.registry import push

    with serving(tmp_path / "registry") as server:
        push(yard.store.get("base"), f"{server.host}/base:1")
        dockerfile, cache = f"FROM {server.host}/base:1\nRUN echo x > /x\nCOPY a /\n", f"{server.host}/cache"
        first = yard.build(dockerfile, {"a": ""}, pull=True, cache_from=[cache], cache_to=cache)
        with yard_in_memory() as other:
            second = other.build(dockerfile, {"a": ""}, cache_from=[cache])
            assert (other.made, second.digest) == ([], first.digest)
            second.validate()
        push(yard.build("FROM scratch\nENV other=1\n"), f"{server.host}/base:1")
        assert "other" not in yard.build(dockerfile, {"a": ""}).config.environment, "the store's own is good enough"
        with pytest.raises(FailedStep, match="could not be started"):
            yard.build(dockerfile, {"a": ""}, pull=True)
        with pytest.raises(FailedStep, match="FROM"):
            yard.build(f"FROM {server.host}/no:1\n")


# From Python ------------------------------------------------------------------------------------------------------


@pytest.mark.unprivileged
def test_run(yard: Yard) -> None:
    image = yard.store.get("base")
    made = run(image, 'echo "$A $B $PWD" > /out', env={"B": "given"}, cwd="/new/place")
    assert text(made.layers[-1], "out") == "env given /new/place\n"
    assert (made.config.env, made.config.working_dir) == (image.config.env, "")
    again = run(made, ["sh", "-c", "cat /c/x; echo x > /c/x"], mounts=[Cache(target="/c")], progress=yard.events.append)
    assert len(again.layers) == len(made.layers)
    with pytest.raises(FailedStep, match="exit code 3"):
        run(image, "exit 3")


@pytest.mark.root
@pytest.mark.parametrize("network", ["none", "host"])
def test_another_user_opens_its_standard_streams(yard: Yard, network: str) -> None:
    """Servers that log to /dev/stdout open it again."""
    yard.build("FROM base\nUSER app\nRUN echo log > /dev/stdout; echo trouble > /dev/stderr; stat -L -c %u /dev/stdout\n", network=network)
    assert b"".join(event.data for event in yard.events if event.state == "output") == b"log\ntrouble\n1000\n"
