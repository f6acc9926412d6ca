"""Pull, push, login and logout, against a real registry."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registries import PASSWORD, USER, Server, serving
from sample_images import Sample, base, image_of, tar_of

from containerkit.cli import main
from containerkit.cli.progress import Lines
from containerkit.image.descriptor import Descriptor
from containerkit.image.index import Index
from containerkit.image.platform import Platform
from containerkit.registry import Progress
from containerkit.store.store import Store

BASE = base()
HERE = Platform.here().architecture
ONE = Sample(BASE, tar_of({"one": b"1"}), arch=HERE, Cmd=["one"])
TWO = Sample(BASE, tar_of({"two": b"2"}), arch="s390x" if HERE != "s390x" else "amd64", Cmd=["two"])
Type = Callable[..., int]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Use an empty default store, and a home without passwords."""
    monkeypatch.setenv("CONTAINERKIT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    return Store(tmp_path / "store")


def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


def test_push_and_pull(server: Server, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{server.host}/team/app:1"
    image = store.put(image_of(ONE), "app:1", name)
    assert main(["push", name]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"The push refers to repository [{server.host}/team/app]"
    assert said[-1] == f"1: digest: {image.digest} size: {len(image.data)}"
    assert f"{image.layers[0].digest.short}: Pushed" in said
    assert main(["push", "app:1", f"{server.host}/team/app:2"]) == 0
    assert f"{image.layers[0].digest.short}: Layer already exists" in capsys.readouterr().out.splitlines()

    away = ["--store", str(tmp_path / "other")]
    assert main([*away, "pull", name]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1: Pulling from team/app"
    assert said[-3:] == [f"Digest: {image.digest}", f"Status: Downloaded newer image for {name}", name]
    assert f"{image.layers[1].digest.short}: Pull complete" in said
    assert other(tmp_path).get(name).data == image.data
    assert main([*away, "image", "pull", name]) == 0
    assert f"Status: Image is up to date for {name}" in capsys.readouterr().out
    assert main([*away, "pull", "-q", name]) == 0
    assert capsys.readouterr().out == f"{name}\n"


def test_layers_of_another_repository_are_mounted(server: Server, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    image = store.put(image_of(ONE), f"{server.host}/first:1", f"{server.host}/second:1")
    assert main(["push", "-q", f"{server.host}/first:1"]) == 0
    capsys.readouterr()
    assert main(["push", f"{server.host}/second:1"]) == 0
    assert f"{image.layers[0].digest.short}: Mounted" in capsys.readouterr().out.splitlines()


def test_all_tags(server: Server, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{server.host}/app:{tag}" for tag in ("1", "2")]
    store.put(image_of(ONE), names[0])
    store.put(image_of(TWO), names[1])
    assert main(["push", "-a", f"{server.host}/app"]) == 0
    assert main(["--store", str(tmp_path / "other"), "pull", "-aq", "--platform", f"linux/{TWO.arch}", f"{server.host}/app"]) == 1, (
        "one is not"
    )
    assert main(["--store", str(tmp_path / "other"), "pull", "--all-tags", f"{server.host}/app"]) == 0
    assert sorted(name for each in other(tmp_path).images() for name in each.names) == names
    assert main(["pull", "-a", f"{server.host}/app:1"]) == 1
    assert "--all-tags" in capsys.readouterr().err
    assert main(["push", "-a", f"{server.host}/nothing"]) == 1


def test_several_platforms(server: Server, store: Store, tmp_path: Path) -> None:
    name = f"{server.host}/multi:1"
    index = store.put(Index.of([image_of(ONE), image_of(TWO)]), name)
    assert main(["push", name]) == 0
    away = other(tmp_path)
    assert main(["--store", str(away.directory), "pull", name]) == 0
    assert away.get(name) == image_of(ONE)
    assert not away.blobs.has(image_of(TWO).id)
    assert main(["pull", "--store", str(away.directory), "--all-platforms", "--unpack", name]) == 0
    assert away.index(name).digest == index.digest
    assert away.get(name, f"linux/{TWO.arch}") == image_of(TWO)
    assert len(list(away.trees)) == 3
    assert main(["push", "--platform", f"linux/{TWO.arch}", name, f"{server.host}/multi:other"]) == 0
    assert main(["--store", str(tmp_path / "third"), "pull", "--platform", f"linux/{TWO.arch}", f"{server.host}/multi:other"]) == 0
    assert Store(tmp_path / "third").get(f"{server.host}/multi:other").data == TWO.manifest


def test_by_digest(server: Server, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = store.put(image_of(ONE), f"{server.host}/app:1")
    assert main(["push", "-q", f"{server.host}/app:1"]) == 0
    assert capsys.readouterr().out == f"{server.host}/app:1\n"
    exact = f"{server.host}/app@{image.digest}"
    assert main(["--store", str(tmp_path / "other"), "pull", exact]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == exact
    assert other(tmp_path).get(image.digest) == image


@pytest.mark.parametrize("line", ["pull {host}/nothing", "push nothing", "pull Wrong"])
def test_registry_errors_are_one_line_and_exit_with_1(server: Server, store: Store, capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert main(line.format(host=server.host).split()) == 1
    err = capsys.readouterr().err
    assert err.startswith("containerkit: ")
    assert err.count("\n") == 1


def test_tls_is_verified_by_default(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path / "registry", tls=True) as server:
        name = f"{server.host}/app:1"
        store.put(image_of(ONE), name)
        assert main(["push", name]) == 1
        assert "certificate" in capsys.readouterr().err.lower()
        assert main(["push", "--tls-verify=false", name]) == 0
        assert main(["--store", str(tmp_path / "other"), "pull", "--tls-verify=false", name]) == 0


def test_login_and_logout(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.json"
    with serving(tmp_path / "registry", auth="basic") as server:
        name = f"{server.host}/app:1"
        store.put(image_of(ONE), name)
        assert main(["push", name]) == 1
        assert main(["login", "-u", USER, "-p", "wrong", server.host]) == 1
        assert not file.exists() or server.host not in file.read_text()
        out = capsys.readouterr()
        assert "WARNING" in out.err
        assert "Login Succeeded" not in out.out
        _stdin(monkeypatch, PASSWORD + "\n")
        assert main(["login", "--username", USER, "--password-stdin", server.host]) == 0
        assert capsys.readouterr().out == "Login Succeeded\n"
        assert server.host in json.loads(file.read_text())["auths"]
        assert file.stat().st_mode & 0o777 == 0o600
        assert main(["push", name]) == 0
        capsys.readouterr()
        assert main(["logout", server.host]) == 0
        assert main(["logout", server.host]) == 0
        assert capsys.readouterr().out == f"Removing login credentials for {server.host}\nNot logged in to {server.host}\n"
        assert main(["push", name]) == 1


def _stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


WORDS = ["login h.example", "login -u me h.example", "login --password-stdin h.example", "login -p x --password-stdin -u me"]


@pytest.mark.parametrize("line", WORDS)
def test_login_without_a_terminal_needs_options(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    _stdin(monkeypatch, "")
    assert main(line.split()) == 1
    assert "--password" in capsys.readouterr().err


# On a terminal --------------------------------------------------------------------------------------------------


def typed(argv: list[str], answers: dict[bytes, bytes], environment: dict[str, str]) -> tuple[int, bytes]:
    """Run the command on a terminal of its own, and answer its prompts."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "containerkit", *argv], environment)
    said, left = b"", dict(answers)
    try:
        while select.select([terminal], [], [], 30)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            said += data
            for question in [q for q in left if q in said]:
                os.write(terminal, left.pop(question) + b"\n")
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "TERM": "xterm", "COLUMNS": "120", **more}


def test_a_password_is_prompted_for_and_not_echoed(tmp_path: Path, store: Store) -> None:
    with serving(tmp_path / "registry", auth="basic") as server:
        answers = {b"Username: ": USER.encode(), b"Password: ": PASSWORD.encode()}
        code, said = typed(["login", server.host], answers, environment())
    assert code == 0, said
    assert b"Login Succeeded" in said
    assert PASSWORD.encode() not in said
    assert server.host in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_bars_on_a_terminal(server: Server, store: Store, tmp_path: Path, term: str) -> None:
    pytest.importorskip("rich", reason="needs rich: pip install containerkit[top]")
    image = store.put(image_of(ONE), f"{server.host}/app:1")
    assert typed(["push", f"{server.host}/app:1"], {}, environment(TERM=term))[0] == 0
    code, said = typed(["--store", str(tmp_path / "other"), "pull", f"{server.host}/app:1"], {}, environment(TERM=term))
    assert code == 0, said
    assert (b"\x1b[" in said) == (term == "xterm"), "a terminal that cannot move its cursor gets lines"
    assert f"{image.layers[0].digest.short}: Pull complete".encode() in said
    assert f"Digest: {image.digest}".encode() in said


def test_each_state_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    blob, lines = Descriptor.of(b"x", "application/octet-stream"), Lines("pull", sys.stdout)
    for state, done in (("waiting", 0), ("downloading", 0), ("downloading", 1), ("done", 1), ("done", 1)):
        lines(Progress(blob, done, 1, state))  # type: ignore[arg-type]
    lines(Progress("app:1", 0, 0, "done"))
    short = blob.digest.short
    assert capsys.readouterr().out == f"{short}: Downloading\n{short}: Pull complete\n"
