"""The verb build: its options, and its report of steps.  tests/kernel has the builds themselves."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_images import Sample, base, image_of

from containerkit.builder import Event
from containerkit.cli import build, main, steps
from containerkit.errors import BuildError
from containerkit.store.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("CONTAINERKIT_STORE", str(tmp_path / "store"))
    found = Store(tmp_path / "store")
    found.put(image_of(Sample(base(), Cmd=["sh"])), "box")
    return found


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text("FROM box AS first\nLABEL a=b\nFROM first\nCOPY app.js /\nCMD node app.js\n")
    (tmp_path / "context" / "app.js").write_text("1")
    return tmp_path / "context"


# Words ----------------------------------------------------------------------------------------------------------


def test_arguments_without_a_value_come_from_the_environment() -> None:
    assert build._pairs(["A=1", "B", "C", "D="], {"B": "2"}) == {"A": "1", "B": "2", "D": ""}
    assert build._pairs(["a=b=c", "d"]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id=a,src=/f", ("a", "/f")),
        ("id=a,source=/f", ("a", "/f")),
        ("type=file,id=a,src=/f", ("a", "/f")),
        ("id=/f", ("/f", "/f")),
        ("id=a,env=TOKEN", ("a", b"secret")),
        ("id=TOKEN,type=env", ("TOKEN", b"secret")),
        ("id=TOKEN", ("TOKEN", b"secret")),
    ],
)
def test_secrets(monkeypatch: pytest.MonkeyPatch, text: str, found: tuple[str, str | bytes]) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    assert build._secret(text) == found


@pytest.mark.parametrize("text", ["a", "src=/f", "id=a,sauce=/f", "id=a,src=/f,env=B", "id=a,env=NOT_THERE", "id=a,type=ssh"])
def test_malformed_secrets_are_refused(text: str) -> None:
    with pytest.raises(BuildError):
        build._secret(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [("there", "there"), ("type=local,src=there", "there"), ("type=local,dest=there", "there"), ("type=registry,ref=h/a:1", "h/a:1")],
)
def test_caches(text: str, found: str) -> None:
    assert build._address(text) == found


@pytest.mark.parametrize("text", ["type=gha", "type=local", "type=registry,src=a", "src=a,b"])
def test_malformed_caches_are_refused(text: str) -> None:
    with pytest.raises(BuildError):
        build._address(text)


@pytest.mark.parametrize("text", ["type=zip,dest=x", "type=local", "dest=x", "type=tar,x"])
def test_malformed_outputs_are_refused_before_anything_is_built(store: Store, context: Path, text: str) -> None:
    assert main(["build", "-t", "app", "-o", text, str(context)]) == 1
    assert len(store.images()) == 1


# Building -------------------------------------------------------------------------------------------------------


def test_names_labels_target_and_id(store: Store, context: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-t", "app:1", "--tag", "app:2", "--label", "who=me", "--iidfile", str(tmp_path / "id"), "--no-cache", "--rm"]
    assert main(["image", "build", *words, str(context)]) == 0
    image = store.get("app:1")
    assert store.get("app:2") == image
    assert dict(image.config.labels) == {"a": "b", "who": "me"}
    assert (tmp_path / "id").read_text() == image.id
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-3:] == [f"image {image.id}", "named docker.io/library/app:1", "named docker.io/library/app:2"]
    assert main(["build", "-q", "--target", "first", str(context)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert store.get(out.strip()).config.cmd == ("sh",)


def test_another_dockerfile(store: Store, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Other").write_text("FROM box\nLABEL name=other\n")
    assert main(["build", "-q", "-f", str(context / "Other"), str(context)]) == 0
    assert store.get(capsys.readouterr().out.strip()).config.labels["name"] == "other"
    _typed(monkeypatch, b"FROM box\nCOPY app.js /typed\n")
    assert main(["build", "-q", "-f", "-", str(context)]) == 0
    assert [entry.name for entry in store.get(capsys.readouterr().out.strip()).layers[-1].entries()][-1] == b"typed"
    assert main(["build", "-f", "-", "-"]) == 1


def test_standard_input_is_a_dockerfile_or_a_tar(
    store: Store, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tarfile

    _typed(monkeypatch, b"FROM box\nLABEL from=stdin\n")
    assert main(["build", "-q", "-"]) == 0
    assert store.get(capsys.readouterr().out.strip()).config.labels["from"] == "stdin"
    for mode in ("w", "w:gz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as tar:
            tar.add(context, ".")
        _typed(monkeypatch, packed.getvalue())
        assert main(["build", "-q", "-"]) == 0
        assert store.get(capsys.readouterr().out.strip()).config.labels["a"] == "b"


def _typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))


def test_outputs(store: Store, context: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tarfile

    from containerkit.image.image import Image

    places = {kind: tmp_path / f"out.{kind}" for kind in ("tar", "oci", "docker")}
    words = [word for kind, place in places.items() for word in ("-o", f"type={kind},dest={place}")]
    assert main(["build", "-t", "app", *words, "-o", str(tmp_path / "tree"), "-o", "type=image", str(context)]) == 0
    assert (tmp_path / "tree" / "app.js").read_text() == "1"
    assert (tmp_path / "tree" / "etc" / "name").read_text() == "base"
    with tarfile.open(places["tar"]) as tar:
        assert {"app.js", "etc/name"} <= {name.removeprefix("./") for name in tar.getnames()}
    for kind in ("oci", "docker"):
        assert Image.open(places[kind], "app").id == store.get("app").id


def test_a_cache_of_another_build_is_used(store: Store, context: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = ["--store", str(tmp_path / "away")]
    Store(tmp_path / "away").put(store.get("box"), "box")
    assert main(["build", "--cache-to", f"type=local,dest={tmp_path}/cache", str(context)]) == 0
    assert " CACHED" not in capsys.readouterr().err
    assert main([*away, "build", "--cache-from", f"type=local,src={tmp_path}/cache", str(context)]) == 0
    assert " CACHED" in capsys.readouterr().err


def test_a_context_by_name(store: Store, context: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_text("more")
    (context / "Dockerfile").write_text("FROM base\nCOPY --from=more file /\n")
    words = ["--build-context", f"more={tmp_path}/more", "--build-context", "base=docker-image://box"]
    assert main(["build", "-q", *words, str(context)]) == 0
    assert [entry.name for entry in store.get(capsys.readouterr().out.strip()).layers[-1].entries()][-1] == b"file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM box\nCOPI a b\n", "Dockerfile:2:1"),
        ("FROM box\nCOPY nothing /\n", "nothing"),
        ("FROM 127.0.0.1:1/here\n", "127.0.0.1:1"),  # a port where nothing listens
    ],
)
def test_a_failed_build_exits_with_1_and_names_no_image(
    store: Store, context: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (context / "Dockerfile").write_text(text)
    if "127.0.0.1" in text:
        pytest.importorskip("urllib3", reason="needs urllib3: pip install containerkit[registry]")
    assert main(["build", "-t", "app", str(context)]) == 1
    err = capsys.readouterr().err
    assert "containerkit: " in err
    assert said in err
    assert "Traceback" not in err
    assert [each.familiar for each in store.images()] == [("box:latest",)]


# How it tells ---------------------------------------------------------------------------------------------------


def events() -> Iterator[Event]:
    yield Event("base", 1, 2, "FROM box", "started")
    yield Event("base", 1, 2, "FROM box", "cached")
    yield Event("base", 2, 2, "RUN make \\\n  all", "started")
    yield Event("1", 1, 1, "FROM base", "started")
    yield Event("base", 2, 2, "RUN make \\\n  all", "output", data=b"one\ntwo\n", seconds=0.25)
    yield Event("base", 2, 2, "RUN make \\\n  all", "warning", text="old")
    yield Event("base", 2, 2, "RUN make \\\n  all", "failed", text="exit code 2", seconds=1.04)
    yield Event("1", 1, 1, "FROM base", "done", seconds=1.04)


def test_numbered_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with steps.steps("plain") as progress:
        assert progress
        for event in events():
            progress(event)
    assert capsys.readouterr().err.splitlines() == [
        "#1 [base 1/2] FROM box", "#1 CACHED", "#2 [base 2/2] RUN make \\ all", "#3 [1 1/1] FROM base", "#2 0.250 one", "#2 0.250 two",
        "#2 WARNING: old", "#2 ERROR: exit code 2", "#3 DONE 1.0s",
    ]  # fmt: skip


def test_on_a_terminal() -> None:
    console = pytest.importorskip("rich.console", reason="needs rich: pip install containerkit[top]")
    file = io.StringIO()
    with steps.Terminal(console.Console(file=file, force_terminal=True, width=60, highlight=False, markup=False)) as terminal:
        for event in events():
            terminal(event)
            if event.state == "output":
                terminal(Event("base", 2, 2, "RUN make \\\n  all", "output", data=b"\x1b]0;evil\x07[bold]x\n"))
                shown = console.Console(file=io.StringIO(), width=60)
                shown.print(terminal._picture())
                assert " => => two" in shown.file.getvalue()
                assert "[bold]x" in shown.file.getvalue()
                assert "evil\x07" not in shown.file.getvalue()
    said = file.getvalue()
    for words in ("CACHED [base 1/2] FROM box", "ERROR [base 2/2] RUN make", "[1 1/1] FROM base  1.0s", " ! old"):
        assert words in said


def test_progress_tty_without_a_terminal_is_refused(store: Store, context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--progress", "tty", str(context)]) == 1
    assert "rich" in capsys.readouterr().err
