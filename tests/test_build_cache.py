"""The changes that change a cache key and those that do not, and the exchange of a cache between two stores."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builds import WRITTEN, Yard, entries, text, yard_in_memory
from sample_images import tar_of

from containerkit.builder import FailedStep, build
from containerkit.builder.cache import DIRECTORY, Cache, Record, key_of
from containerkit.builder.digests import Digests
from containerkit.builder.exchange import TYPE
from containerkit.builder.picking import pick
from containerkit.builder.tree import Tree
from containerkit.image.errors import ImageError
from containerkit.image.files.layout import Layout

COPIES = "FROM scratch\nCOPY a /a\nCOPY d /d\n"
FILES = {"a": "a", "d/x": "x", "d/l": "-> x"}


@pytest.fixture
def yard() -> Iterator[Yard]:
    with yard_in_memory() as made:
        yield made


# What counts ------------------------------------------------------------------------------------------------------


def test_equal_instructions_run_once(yard: Yard) -> None:
    first = yard.build(COPIES, FILES)
    assert yard.cached == []
    assert yard.build(COPIES, FILES).digest == first.digest
    assert (yard.cached, yard.made) == (["COPY a /a", "COPY d /d"], [])


def test_times_do_not_count(yard: Yard) -> None:
    context = yard.context(FILES)
    first = yard.build(COPIES, context)
    for path in (context / "a", context / "d", context / "d/x"):
        os.utime(path, (1, 1))
    assert yard.build(COPIES, context).digest == first.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda c: (c / "d/x").write_text("y"),
        lambda c: (c / "d/x").chmod(0o600),
        lambda c: (c / "d").chmod(0o700),
        lambda c: (c / "d/x").rename(c / "d/y"),
        lambda c: (c / "d/new").mkdir(),
        lambda c: ((c / "d/l").unlink(), (c / "d/l").symlink_to("y")),
        lambda c: os.setxattr(c / "d/x", "user.a", b"1"),
    ],
    ids=["bytes", "mode", "directory", "name", "new", "link", "attribute"],
)
def test_other_changes_of_a_file_change_the_key(yard: Yard, change: Any) -> None:
    context = yard.context(FILES)
    yard.build(COPIES, context)
    change(context)
    yard.build(COPIES, context)
    assert (yard.cached, yard.made) == (["COPY a /a"], ["COPY d /d"])


def test_changed_bytes_with_an_old_time_change_the_key(yard: Yard) -> None:
    """`touch -r` and unpacking programs set old times, but no program can set the change time."""
    context = yard.context(FILES)
    yard.build(COPIES, context)
    (context / "a").write_text("b")
    os.utime(context / "a", (WRITTEN, WRITTEN))
    image = yard.build(COPIES, context)
    assert text(image.layers[0], "a") == "b"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("COPY a /x", "COPY a /y"),
        ("COPY a /x", "COPY a /x/"),
        ("COPY a /x", "COPY --chown=1 a /x"),
        ("COPY a /x", "COPY --chmod=600 a /x"),
        ("COPY d /x", "COPY --exclude=l d /x"),
        ("COPY a /x", "ADD a /x"),
        ("WORKDIR /x", "WORKDIR /y"),
        ("ENV A=1\nCOPY a /$A", "ENV A=2\nCOPY a /$A"),
        ("COPY <<E /x\n1\nE", "COPY <<E /x\n2\nE"),
        ("COPY --parents d/x /x/", "COPY d/x /x/"),
    ],
)
def test_the_options_of_an_instruction_change_the_key(yard: Yard, one: str, other: str) -> None:
    yard.build(f"FROM scratch\n{one}\n", FILES)
    yard.build(f"FROM scratch\n{other}\n", FILES)
    assert yard.cached == []
    yard.build(f"FROM scratch\n{one}\n", FILES)
    assert len(yard.cached) == 1


def test_other_lines_of_the_dockerfile_do_not_change_the_key(yard: Yard) -> None:
    yard.build("FROM scratch AS one\nLABEL x=1\nCOPY a /a\n", FILES)
    yard.build('FROM scratch\n# a comment\nENV y=2\nCOPY ["a","/a"]\nCMD ["x"]\n', FILES)
    assert yard.cached == ["COPY a /a"]


def test_layers_below_change_the_key_unless_linked(yard: Yard) -> None:
    for below in ("1", "2"):
        yard.build(f"FROM scratch\nCOPY <<E /below\n{below}\nE\nCOPY a /a\nCOPY --link a /b\n", FILES)
    assert yard.cached == ["COPY --link a /b"]


def test_a_named_owner_of_a_linked_copy_depends_on_the_layers_below(yard: Yard) -> None:
    """A name means another user on another base.  A number does not."""
    found = []
    for uid in (1000, 2000):
        base = f"FROM scratch\nCOPY <<E /etc/passwd\napp:x:{uid}:{uid}::/:\nE\n"
        image = yard.build(f"{base}COPY --link --chown=app a /a\nCOPY --link --chown=7:8 a /b\n", FILES)
        found.append([(entry.uid, entry.gid) for layer in image.layers[1:] for entry in entries(layer).values()])
    assert found == [[(1000, 1000), (7, 8)], [(2000, 2000), (7, 8)]]
    assert yard.cached == ["COPY --chown=7:8 --link a /b"]


def test_directories_that_come_along_count(yard: Yard) -> None:
    context = yard.context({"p/q/f": "", "l": "-> p"})
    dockerfile = "FROM scratch\nCOPY --parents p/q/f l/q/f /a/\n"
    yard.build(dockerfile, context)
    (context / "p").chmod(0o700)
    found = entries(yard.build(dockerfile, context).layers[0])
    assert {name: f"{entry.mode:o}" for name, entry in found.items() if entry.kind == "directory"} == {
        "a": "755", "a/p": "700", "a/p/q": "755", "a/l": "700", "a/l/q": "755",
    }  # fmt: skip


def test_an_arg_counts_where_it_is_used(yard: Yard) -> None:
    dockerfile = "FROM scratch\nCOPY a /a\nARG V\nCOPY a /$V\n"
    yard.build(dockerfile, FILES, args={"V": "1"})
    yard.build(dockerfile, FILES, args={"V": "2"})
    assert yard.cached == ["COPY a /a"]


def test_without_the_cache_every_instruction_runs(yard: Yard) -> None:
    yard.build(COPIES, FILES)
    yard.build(COPIES, FILES, cache=False)
    assert yard.cached == []


def test_a_source_in_a_stage_counts_by_content(yard: Yard) -> None:
    """The stage is made anew with other times, and the copied files are the same."""
    dockerfile = "FROM scratch AS s\nCOPY a new /d/\nFROM scratch\nCOPY --from=s /d/a /a\n"
    yard.build(dockerfile, FILES | {"new": "1"})
    yard.build(dockerfile, FILES | {"new": "2"})
    assert yard.cached == ["COPY --from=s /d/a /a"]


# Records ----------------------------------------------------------------------------------------------------------


def test_gc_keeps_cached_layers_by_default(yard: Yard) -> None:
    yard.build("FROM scratch AS s\nCOPY a /a\nFROM scratch\nCOPY --from=s /a /b\n", FILES, tags=["x"])
    yard.store.remove("x")
    yard.store.gc(untagged=True)
    yard.build(COPIES, FILES)
    assert yard.cached == ["COPY a /a"]
    yard.store.gc(untagged=True, named=True, cache=True)
    assert list(yard.store.blobs) == []
    assert [path for path in (yard.store.directory / "build").rglob("*") if path.is_file()] == []
    yard.build(COPIES, FILES)
    assert yard.cached == []


def test_a_record_whose_layer_is_gone_is_a_miss(yard: Yard) -> None:
    image = yard.build(COPIES, FILES)
    os.unlink(yard.store.blobs.path(image.layers[0].digest))
    again = yard.build(COPIES, FILES)
    assert (yard.made, text(again.layers[0], "a")) == (["COPY a /a"], "a")


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"created": "junk"}', b'{"created": 5, "layer": {}}', b"\xff", b"[" * 200_000])
def test_a_record_that_cannot_be_read_is_a_miss(yard: Yard, junk: bytes) -> None:
    yard.build(COPIES, FILES)
    cache = Cache(yard.store.directory / DIRECTORY)
    for key in list(cache):
        (cache.directory / key[:2] / key).write_bytes(junk)
    yard.build(COPIES, FILES)
    assert yard.cached == []


def test_records(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    key = key_of(keyword="RUN", env={"b": 1, "a": 2})
    assert key == key_of(env={"a": 2, "b": 1}, keyword="RUN") != key_of(env={"a": 2}, keyword="RUN")
    assert cache.get(key) is None
    cache.put(key, Record(created="2026-11-23T00:00:00Z"))
    assert (cache.get(key), list(cache)) == (Record(created="2026-11-23T00:00:00Z"), [key])


def test_digests_are_remembered_and_checked(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    context = yard.context({"f": "1"})
    memory = yard.directory / "digests" / "c.json"
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3 * 10**9)  # the file is settled
    with Tree(context, overlay=False) as tree:
        first = Digests(memory)
        found = first.of(pick(tree, "f"))
        first.save()
        opened: list[str] = []
        monkeypatch.setattr(Tree, "open", lambda self, node: opened.append(node.path) or 1 / 0)
        assert Digests(memory).of(pick(tree, "f")) == found, "read again, though nothing changed"
        with pytest.raises(ZeroDivisionError):
            Digests().of(pick(tree, "f"))
    for junk in ("{broken", "[" * 200_000, "[]", "5", '{"1:2": 5}', '{"1:2": [1]}'):
        memory.write_text(junk)
        assert Digests(memory)._known == {}


def test_digests_of_a_tar_context_are_not_kept(yard: Yard) -> None:
    """The context's files end with the build."""
    build(tar_of({"Dockerfile": b"FROM scratch\nCOPY a /\n", "a": b""}), store=yard.store)
    assert not (yard.store.directory / "build" / "digests").exists()


# Reproducible -----------------------------------------------------------------------------------------------------


def test_the_same_digest_twice(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    dockerfile = "FROM scratch\nWORKDIR /w\nCOPY . .\nCOPY <<E /e\ntext\nE\nENV a=b\n"
    first = yard.build(dockerfile, FILES, cache=False)
    time.sleep(1.1)
    second = yard.build(dockerfile, FILES, cache=False)
    assert (first.digest, first.config.created) == (second.digest, "2001-09-09T01:46:40Z")
    assert {entry.mtime for layer in first.layers for entry in entries(layer).values()} == {1000000000 * 10**9}


def test_the_time_may_be_an_argument(yard: Yard) -> None:
    images = [yard.build("FROM scratch\nWORKDIR /w\n", args={"SOURCE_DATE_EPOCH": "5"}, cache=False) for _ in range(2)]
    assert (images[0].digest, images[0].config.created) == (images[1].digest, "1970-01-01T00:00:05Z")
    with pytest.raises(Exception, match="SOURCE_DATE_EPOCH"):
        yard.build("FROM scratch\n", args={"SOURCE_DATE_EPOCH": "today"})


def test_a_file_that_changes_during_the_copy_is_an_error(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    context, real = yard.context({"a": "1"}), Digests.of

    def slow(self: Digests, *args: Any) -> str:
        found = real(self, *args)
        (context / "a").write_text("2")
        return found

    monkeypatch.setattr(Digests, "of", slow)
    with pytest.raises(FailedStep, match="changed while it was copied"):
        yard.build("FROM scratch\nCOPY a /\n", context)


# Elsewhere --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cache", "cache.tar"])
def test_a_cache_is_exported_and_imported(yard: Yard, name: str) -> None:
    there = yard.directory / name
    with yard_in_memory() as other:
        first = other.build(COPIES, FILES, cache_to=there)
        other.build(COPIES, FILES, cache_to=there)
    image = yard.build(COPIES, FILES, cache_from=[yard.directory / "nowhere", there])
    assert (yard.made, image.digest) == ([], first.digest)
    image.validate()


def test_a_cache_is_an_artifact(yard: Yard) -> None:
    yard.build(COPIES, FILES, cache_to=yard.directory / "cache")
    layout = Layout.open(yard.directory / "cache")
    assert [entry.artifact_type for entry in layout.entries] == [TYPE]


def test_an_artifact_of_another_type_is_refused(yard: Yard) -> None:
    yard.build(COPIES, FILES).save(yard.directory / "image", "build-cache")
    with pytest.raises(ImageError, match="expected an artifact of type"):
        yard.build(COPIES, FILES, cache_from=[yard.directory / "image"])
