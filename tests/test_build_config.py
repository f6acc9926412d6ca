"""The effect of instructions on a config, the stages that are built, and the events.  No program is run."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builds import Yard, text, tree, yard_in_memory

from containerkit.builder import Event, FailedStep, add, build
from containerkit.builder.settings import configured
from containerkit.core.standard_steps import DEFAULT_PATH
from containerkit.errors import BuildError, DockerfileError
from containerkit.image.config import ImageConfig
from containerkit.image.errors import InvalidReference
from containerkit.image.image import Image
from containerkit.image.platform import Platform

PATH = f"PATH={DEFAULT_PATH}"


@pytest.fixture
def yard() -> Iterator[Yard]:
    with yard_in_memory() as made:
        yield made


def config(yard: Yard, dockerfile: str, **options: object) -> ImageConfig:
    return yard.build(f"FROM scratch\n{dockerfile}\n", {"a": ""}, **options).config


# Configs ----------------------------------------------------------------------------------------------------------


def test_every_setting(yard: Yard) -> None:
    found = config(
        yard,
        'ENV A=1 B="two words"\nLABEL x=y "a b"="c d"\nWORKDIR /srv\nUSER app:web\nVOLUME /data /more\nEXPOSE 80 53/udp\n'
        'SHELL ["/bin/bash","-c"]\nSTOPSIGNAL SIGUSR1\nMAINTAINER me\nONBUILD COPY a /b\n'
        'HEALTHCHECK --interval=5s --retries=3 CMD true\nENTRYPOINT ["e"]\nCMD line of shell',
    )
    assert found.env == (PATH, "A=1", "B=two words")
    assert dict(found.labels) == {"x": "y", "a b": "c d"}
    assert (found.user, found.working_dir, found.volumes, found.exposed_ports) == (
        "app:web",
        "/srv",
        ("/data", "/more"),
        ("80/tcp", "53/udp"),
    )
    assert (found.shell, found.stop_signal, found.author, found.on_build) == (("/bin/bash", "-c"), "SIGUSR1", "me", ("COPY a /b",))
    assert found.healthcheck == {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 3}
    assert (found.entrypoint, found.cmd) == (("e",), ("/bin/bash", "-c", "line of shell"))


def test_an_entrypoint_drops_the_command_of_the_base(yard: Yard) -> None:
    start = 'FROM scratch AS base\nCMD ["c"]\nFROM base\n'
    assert yard.build(start + 'ENTRYPOINT ["e"]').config.cmd is None
    assert yard.build(start + 'ENTRYPOINT ["e"]\nCMD ["d"]').config.cmd == ("d",)
    assert yard.build(start + 'CMD ["d"]\nENTRYPOINT ["e"]').config.cmd == ("d",)
    assert yard.build(start + "ENV x=y").config.cmd == ("c",)


def test_env_is_replaced_in_its_place(yard: Yard) -> None:
    assert config(yard, "ENV A=1 B=2\nENV A=3 C=$B\nENV D=${A:+x} E=$D").env == (PATH, "A=3", "B=2", "C=2", "D=x", "E=")


def test_workdir_is_made_and_relative_to_the_one_before(yard: Yard) -> None:
    image = yard.build("FROM scratch\nWORKDIR a\nWORKDIR b\nWORKDIR ../c/\nCOPY f .\nWORKDIR /a\n", {"f": ""})
    assert image.config.working_dir == "/a"
    assert tree(image, yard.directory / "out") == {"a/c/f": ""}
    assert [entry.empty_layer for entry in image.history] == [False, False, False, False, True], "/a was there already"


def test_history_is_like_dockers(yard: Yard) -> None:
    image = yard.build('FROM scratch\nARG V=1\nENV A=$V\nCOPY --chown=1:2 f /g\nCMD ["x"]\n', {"f": ""})
    assert [(entry.created_by, entry.empty_layer) for entry in image.history] == [
        ("ARG V=1", True), ("ENV A=1", True), ("COPY --chown=1:2 f /g # containerkit", False), ('CMD ["x"]', True),
    ]  # fmt: skip
    image.validate()


def test_args(yard: Yard) -> None:
    def env(dockerfile: str, **args: str) -> str:
        return yard.build(dockerfile, args=args).config.environment["X"]

    assert env("FROM scratch\nARG A=d\nENV X=$A") == "d"
    assert env("FROM scratch\nARG A=d\nENV X=$A", A="given") == "given"
    assert env("FROM scratch\nENV X=$A", A="not declared") == ""
    assert env("FROM scratch\nENV X=$A\nARG A=late") == ""
    assert env("ARG A=outer\nFROM scratch\nENV X=$A") == "", "what stands above the first FROM is of no stage"
    assert env("ARG A=outer\nFROM scratch\nARG A\nENV X=$A") == "outer"
    assert env("ARG A=outer\nFROM scratch\nARG A=inner\nENV X=$A") == "inner"
    assert env("ARG A=outer\nFROM scratch\nARG A=inner\nENV X=$A", A="given") == "given"
    assert env("FROM scratch\nENV A=env\nARG A=arg\nENV X=$A", A="given") == "env", "ENV counts before ARG"
    assert env("FROM scratch AS a\nARG A=1\nFROM a\nENV X=$A") == "", "an ARG is of its stage"
    assert env("ARG V=scr\nFROM ${V}atch\nENV X=1") == "1"
    assert env("FROM scratch\nARG TARGETARCH\nENV X=$TARGETARCH") == Platform.here().architecture


def test_labels_platform_and_scratch(yard: Yard) -> None:
    image = yard.build("FROM scratch\nLABEL a=1 b=2\n", labels={"b": "3"}, platform="linux/arm64")
    assert (dict(image.config.labels), str(image.platform), image.layers) == ({"a": "1", "b": "3"}, "linux/arm64", ())


def test_triggers_run_in_the_next_build_and_once(yard: Yard) -> None:
    base = yard.build('FROM scratch\nONBUILD COPY f /from-trigger\nONBUILD ENV T=1\nONBUILD CMD ["t"]\n', {"f": "x"}, tags=["base"])
    assert base.layers == ()
    image = yard.build("FROM base\n", {"f": "y"})
    assert (text(image.layers[0], "from-trigger"), image.config.environment["T"], image.config.on_build) == ("y", "1", ())


def test_configured_changes_a_config_alone() -> None:
    config = configured(configured(ImageConfig(working_dir="/a"), 'CMD ["$x"]'), "WORKDIR b")
    assert (config.cmd, config.working_dir, config.history) == (("$x",), "/a/b", ())
    with pytest.raises(BuildError, match="RUN changes files"):
        configured(config, "RUN true")


def test_a_change_may_be_a_trigger_and_its_errors_name_the_option() -> None:
    config = configured(ImageConfig(), "ONBUILD RUN true", "MAINTAINER me")
    assert (config.on_build, config.author) == (("RUN true",), "me")
    with pytest.raises(BuildError, match="FROM changes files"):
        configured(config, "FROM x")
    with pytest.raises(DockerfileError, match=r"^--change:1:4: ENV ends here"):
        configured(config, "ENV")


# Stages -----------------------------------------------------------------------------------------------------------


def test_only_what_the_target_needs_is_built(yard: Yard) -> None:
    dockerfile = (
        "FROM scratch AS one\nCOPY a /\nFROM scratch AS broken\nCOPY nowhere /\nFROM scratch AS two\nCOPY --from=one a /b\nFROM broken\n"
    )
    for target in ("two", "TWO", "2"):
        assert tree(yard.build(dockerfile, {"a": ""}, target=target), yard.directory / "out") == {"b": ""}
    assert {event.stage for event in yard.events} == {"one", "two"}
    with pytest.raises(FailedStep):
        yard.build(dockerfile, {"a": ""})
    with pytest.raises(BuildError, match="there is no stage 'three'; the stages are one, broken, two, 3"):
        yard.build(dockerfile, target="three")


def test_a_failing_stage_reports_its_own_error(yard: Yard) -> None:
    others = "".join(f"FROM scratch AS s{n}\nCOPY a /{n}\n" for n in range(5))
    copies = "".join(f"COPY --from=s{n} /{n} /\n" for n in range(5))
    with pytest.raises(FailedStep) as caught:
        yard.build(
            f"{others}FROM scratch AS bad\nENV a=b\nCOPY nowhere /\nFROM scratch\n{copies}COPY --from=bad x /\n", {"a": ""}, tags=["t"]
        )
    error = caught.value
    assert (error.stage, error.step, error.total, error.line, error.command) == ("bad", 3, 3, 13, "COPY nowhere /")
    assert "Dockerfile:13: [bad 3/3] COPY nowhere /" in str(error)
    assert yard.store.images() == (), "nothing is named"


def test_a_missing_base_fails_the_build(yard: Yard) -> None:
    asked: list[tuple[str, object]] = []

    def resolve(reference: str, platform: object) -> Image:
        asked.append((reference, platform))
        raise BuildError("not here")

    with pytest.raises(FailedStep, match=r"Dockerfile:1: \[0 1/1\] FROM some/where:1\n  not here"):
        yard.build("FROM --platform=linux/arm64 some/where:1", resolve=resolve)
    assert asked == [("some/where:1", Platform.parse("linux/arm64"))]


def test_a_base_may_be_an_image_a_stage_or_a_context(yard: Yard, tmp_path: Path) -> None:
    """The base comes with its layers, wherever it is kept."""
    other = Yard(tmp_path).build("FROM scratch\nCOPY f /\nENV A=1\n", {"f": "x"})
    image = yard.build("FROM far\nCOPY g /\n", {"g": "y"}, resolve=lambda reference, platform: other)
    image.validate()
    assert tree(image, yard.directory / "out") == {"f": "x", "g": "y"}
    assert image.config.environment["A"] == "1"


# Ways in ----------------------------------------------------------------------------------------------------------


def test_the_dockerfile_is_found(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    context = yard.context(
        {"Dockerfile": "FROM scratch\nENV X=1", "sub/other": "FROM scratch\nENV X=2", "Containerfile": "FROM scratch\nENV X=4"}
    )
    outside = yard.context({"f": "FROM scratch\nENV X=3"})

    def found(dockerfile: str | Path | None) -> str:
        return build(context, dockerfile=dockerfile, store=yard.store).config.environment["X"]

    assert [found(None), found("sub/other"), found(outside / "f")] == ["1", "2", "3"]
    monkeypatch.chdir(outside)
    assert found("f") == "3"
    assert found(context / ".." / outside.name / "f") == "3"
    (context.parent / "Dockerfile").write_text("FROM scratch\nENV X=5")
    assert found(context / ".." / "Dockerfile") == "5", "and not the one of the context"
    monkeypatch.chdir(yard.context({"sub/x": ""}) / "sub")
    with pytest.raises(BuildError, match=r"has no \.\./Dockerfile"):
        found("../Dockerfile")
    os.unlink(context / "Dockerfile")
    assert found(None) == "4"
    with pytest.raises(BuildError, match="has no nowhere"):
        found("nowhere")


def test_a_dockerfile_that_cannot_be_read_builds_nothing(yard: Yard) -> None:
    with pytest.raises(DockerfileError, match="Dockerfile:2:1"):
        yard.build("FROM scratch\nCOPPY a /\n", tags=["x"])
    assert (yard.events, yard.store.images()) == ([], ())


def test_tags(yard: Yard) -> None:
    image = yard.build("FROM scratch\nENV a=b\n", tags=["one", "two:2"])
    assert yard.store.get("one").digest == yard.store.get("two:2").digest == image.digest


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tags": ["x", "No Name"]}, InvalidReference),
        ({"compression": "lzma"}, BuildError),
        ({"network": "bridge"}, BuildError),
        ({"args": {"SOURCE_DATE_EPOCH": "9" * 20}}, BuildError),
        ({"args": {"SOURCE_DATE_EPOCH": "9" * 5000}}, BuildError),
    ],
)
def test_bad_options_are_refused_before_the_build(yard: Yard, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        yard.build("FROM scratch\nCOPY a /\n", {"a": ""}, **options)
    assert (yard.events, yard.store.images()) == ([], ())


@pytest.mark.parametrize(
    "line", ["ADD http://[::1/x /", "COPY --chown=" + "1" * 5000 + " Dockerfile /", "USER " + "1" * 5000 + "\nWORKDIR /x"]
)
def test_malformed_ports_are_refused(yard: Yard, line: str) -> None:
    with pytest.raises(FailedStep):
        yard.build(f"FROM scratch\n{line}\n", {"Dockerfile": ""})


def test_events(yard: Yard) -> None:
    yard.build("FROM scratch AS s\nCOPY a /\nENV A=1\n", {"a": ""})
    assert [(event.stage, event.step, event.total, event.state) for event in yard.events] == [
        ("s", 1, 3, "done"), ("s", 2, 3, "started"), ("s", 2, 3, "done"), ("s", 3, 3, "done"),
    ]  # fmt: skip
    assert str(Event("s", 2, 3, "RUN x", "output", b"a\nb\n")) == "[s 2/3] a\n[s 2/3] b"


def test_warnings(yard: Yard) -> None:
    yard.build("FROM scratch\nARG A\n", args={"A": "1", "B": "2", "HTTP_PROXY": "x"})
    assert [str(event) for event in yard.events if event.state == "warning"] == [
        "[build] build argument: B is not declared by an ARG in any stage that was built"
    ]


def test_a_dockerfile_that_leads_out_of_its_context_is_not_read(yard: Yard) -> None:
    (yard.directory / "secret").write_text("FROM secret\n")
    for name in ("Dockerfile", "other"):
        context = yard.context(
            {name: "-> ../secret", f"{name}.dockerignore": "-> ../secret", ".dockerignore": f"-> {yard.directory}/secret"}
        )
        with pytest.raises(BuildError, match=f"has no {name}"):
            build(context, dockerfile=None if name == "Dockerfile" else name, store=yard.store)


def test_nothing_is_left_in_the_store(yard: Yard) -> None:
    yard.build("FROM scratch\nCOPY a /\n", {"a": ""})
    with pytest.raises(FailedStep):
        yard.build("FROM scratch\nCOPY a /\nCOPY b /\n", {"a": ""})
    assert os.listdir(yard.store.directory / "staging") == []
    assert yard.store.fsck() == ()


# From Python ------------------------------------------------------------------------------------------------------


def test_add(yard: Yard) -> None:
    context = yard.context({"d/f": "f", "[odd]*": "odd", "$HOME": "home"})
    image = add(Image.scratch(), context / "d", "/d", chown="1:2", store=yard.store)
    image = add(image, b"bytes\0", "/etc/b", chmod=0o600)
    image = add(image, [context / "[odd]*", context / "$HOME"], "/list")
    image = add(image, ["d/f"], "/again", origin=image)
    assert tree(image, yard.directory / "out") == {
        "d/f": "f", "etc/b": "bytes\0", "list/[odd]*": "odd", "list/$HOME": "home", "again": "f",
    }  # fmt: skip
    assert image.history[0].created_by == "COPY --chown=1:2 . /d # containerkit"
    image.validate()


def test_images_made_from_python_are_not_listed(yard: Yard) -> None:
    """The image is held while a value refers to it, also through an image made from it, and can be named, pushed and run until then."""
    store = yard.store
    first = add(Image.scratch(), b"1", "/1", store=store)
    second = add(first, b"2", "/2")
    third = add(second.with_config(cmd=["x"]), b"3", "/3")
    assert store.images() == ()
    store.gc(untagged=True, cache=True)
    for image in (first, second, third):
        image.validate()
    del first, second
    gc.collect()
    store.gc(untagged=True, cache=True)
    third.validate()
    changed = third.with_config(cmd=["y"])
    del third, image
    gc.collect()
    store.gc(untagged=True, cache=True)
    changed.validate()
    assert store.tag(changed, "app:1").digest == changed.digest
    del changed
    gc.collect()
    store.gc(untagged=True, cache=True)
    store.get("app:1").validate()
    assert [each.names for each in store.images()] == [("docker.io/library/app:1",)]
    store.remove("app:1")
    store.gc(cache=True)
    assert list(store.blobs) == []
    assert os.listdir(store.directory / "staging") == []


def test_a_forked_child_does_not_release_its_parents_images(yard: Yard) -> None:
    image = add(Image.scratch(), b"1", "/1", store=yard.store)
    if (child := os.fork()) == 0:
        try:
            del image
            gc.collect()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    yard.store.gc(untagged=True, cache=True)
    image.validate()


def test_add_keeps_the_config(yard: Yard) -> None:
    before = Image.of(ImageConfig(env=("A=1",), cmd=("x",), working_dir="/w", user="u"))
    after = add(before, b"", "f", store=yard.store)
    assert (after.config.env, after.config.cmd, after.config.user) == (("A=1",), ("x",), "u")
    assert set(tree(after, yard.directory / "out")) == {"w/f"}
    assert before.layers == ()


def test_add_of_nothing(yard: Yard) -> None:
    with pytest.raises(BuildError, match="the source nowhere does not exist"):
        add(Image.scratch(), "nowhere", "/", store=yard.store)
