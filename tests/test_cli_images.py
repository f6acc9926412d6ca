"""The verbs about images, as a user of docker types them."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_images import INDEX, MANIFEST, Sample, base, descriptor, image_of, index_of, layout_files, named, tar_of, write_directory

from containerkit.builder import caches
from containerkit.cli import human, main, table
from containerkit.cli.parser import Parser
from containerkit.cli.progress import fancy
from containerkit.cli.template import BadTemplate, Template
from containerkit.image.files.layout import Layout
from containerkit.image.image import Image
from containerkit.image.platform import Platform
from containerkit.state import journal
from containerkit.store.store import Store

BASE = base()
ONE = Sample(BASE, tar_of({"one": b"1", "etc": None, "etc/.wh.name": b""}), Cmd=["one"], Env=["A=b"], Labels={"kind": "first"})
TWO = Sample(BASE, tar_of({"two": b"2"}), Cmd=["two"])
Said = Callable[..., SimpleNamespace]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def ck(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Run a command line and return its exit code and output."""
    monkeypatch.setenv("CONTAINERKIT_STORE", str(store.directory))
    monkeypatch.setenv("CONTAINERKIT_ROOTFS", str(store.directory.parent / "roots"))

    def said(line: str) -> SimpleNamespace:
        capsys.readouterr()
        code = main(shlex.split(line))
        out = capsys.readouterr()
        return SimpleNamespace(code=code, out=out.out, err=out.err, lines=out.out.splitlines())

    return said


@pytest.fixture
def both(store: Store, ck: Said) -> Said:
    """Two images that share a layer, the first with two names."""
    store.put(image_of(ONE), "app:1", "example.com/team/app:old")
    store.put(image_of(TWO), "app:2")
    return ck


def unpacked(image: Image, layers: int | None = None) -> int:
    """Return the bytes of the files in an image's first layers."""
    return sum(entry.size for layer in image.layers[:layers] for entry in layer.entries())


# Tables, sizes, times, templates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0B"), (999, "999B"), (999.6, "1kB"), (1000, "1kB"), (4_264_000, "4.26MB"), (72_800_000, "72.8MB"), (187e6, "187MB"),
     (999_900, "1MB"), (1.09e9, "1.09GB"), (5e15, "5000TB")],
)  # fmt: skip
def test_sizes_are_dockers(number: float, said: str) -> None:
    assert human.size(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (130, "2 minutes"), (3600, "About an hour"),
     (47 * 3600, "47 hours"), (3 * 86400, "3 days"), (15 * 86400, "2 weeks"), (70 * 86400, "2 months"), (800 * 86400, "2 years")],
)  # fmt: skip
def test_times_are_dockers(seconds: float, said: str) -> None:
    assert human.ago("2026-11-23T10:00:00.123456789Z", human.moment("2026-11-23T10:00:00.123456Z") + seconds) == f"{said} ago"  # type: ignore[operator]


@pytest.mark.parametrize("text", ["", "0001-01-01T00:00:00Z", "yesterday"])
def test_a_missing_time_is_none(text: str) -> None:
    assert human.ago(text) == human.local(text) == "N/A"


def test_columns_are_as_wide_as_dockers() -> None:
    assert table.table([["REPOSITORY", "TAG", "SIZE"], ["nginx", "latest", "187MB"]]) == (
        "REPOSITORY   TAG       SIZE\nnginx        latest    187MB"
    )


ROW = {"ID": "12", "Tags": ["a", "b"], "Config": {"Env": ["A=b"], "User": ""}, "Ok": True, "None": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{.ID}}", "12"),
        ("{{ .ID }}\\t{{.Ok}}\\n", "12\ttrue\n"),
        ("{{.Config.Env}} {{.None}}", "[A=b] <nil>"),
        ("{{json .Tags}}", '["a","b"]'),
        ("{{json .Config}}", '{"Env":["A=b"],"User":""}'),
        ("{{index .Tags 1}}{{index .Config \"User\"}}", "b"),
        ("{{.Config}}", "map[Env:[A=b] User:]"),
        ("no field", "no field"),
    ],
)  # fmt: skip
def test_templates(text: str, said: str) -> None:
    assert Template(text).fill(ROW) == said


@pytest.mark.parametrize("text", ["{{range .Tags}}x{{end}}", "{{.ID", "}}", "{{if .Ok}}", "{{printf .ID}}", "{{}}", "{{ID}}"])
def test_a_template_outside_of_the_subset_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        Template(text)


@pytest.mark.parametrize("text", ["{{.Nope}}", "{{.ID.More}}", "{{index .Tags 2}}", '{{index .Config "no"}}', "{{json .Nope}}"])
def test_the_error_for_an_unknown_field_lists_the_fields(text: str) -> None:
    with pytest.raises(BadTemplate, match="the fields are: "):
        Template(text).fill(ROW)


# images ---------------------------------------------------------------------------------------------------------


def test_images_are_listed_as_docker_lists_them(both: Said) -> None:
    one, two = image_of(ONE).id.short, image_of(TWO).id.short
    size = [human.size(unpacked(image_of(sample))) for sample in (ONE, TWO)]
    assert both("images").lines == [
        "REPOSITORY             TAG       IMAGE ID       CREATED   SIZE",
        f"app                    1         {one}   N/A       {size[0]}",
        f"example.com/team/app   old       {one}   N/A       {size[0]}",
        f"app                    2         {two}   N/A       {size[1]}",
    ]
    assert both("image ls").out == both("image list").out == both("images").out


def test_an_empty_store_has_a_heading(ck: Said) -> None:
    assert ck("images").lines == ["REPOSITORY   TAG       IMAGE ID   CREATED   SIZE"]
    assert ck("images -q").out == ""


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("app", ["app:1", "app:2"]),
        ("app:2", ["app:2"]),
        ("'a*'", ["app:1", "app:2"]),
        ("'*'", ["app:1", "app:2"]),
        ("'example.com/*/app'", ["example.com/team/app:old"]),
        ("'example.com/*'", []),
        ("docker.io/library/app", ["app:1", "app:2"]),
        ("nothing", []),
        ("-f reference=app:1", ["app:1"]),
        ("-f 'reference=*:old'", []),
        ("-f label=kind", ["app:1", "example.com/team/app:old"]),
        ("--filter label=kind=first app", ["app:1"]),
        ("-f label=kind=second", []),
        ("-f dangling=true", []),
        ("-f dangling=false", ["app:1", "example.com/team/app:old", "app:2"]),
    ],
)
def test_filters(both: Said, words: str, names: list[str]) -> None:
    assert both(f"images {words} --format '{{{{.Repository}}}}:{{{{.Tag}}}}'").lines == names


@pytest.mark.parametrize("words", ["-f colour=red", "-f dangling=perhaps", "-f before=nothing"])
def test_an_unknown_filter_is_refused(both: Said, words: str) -> None:
    assert both(f"images {words}").code == 1


def test_before_and_since(ck: Said, store: Store) -> None:
    for name, year in (("old", 2024), ("middle", 2025), ("new", 2026)):
        image = Image.scratch().with_config(created=f"{year}-01-01T00:00:00Z")
        store.put(image, name)
    shown = "--format '{{.Repository}}'"
    assert ck(f"images {shown}").lines == ["new", "middle", "old"]
    assert ck(f"images -f before=middle {shown}").lines == ["old"]
    assert ck(f"images -f since=middle {shown}").lines == ["new"]


def test_ids(both: Said) -> None:
    ids = [image_of(ONE).id, image_of(ONE).id, image_of(TWO).id]
    assert both("images -q").lines == [id.short for id in ids]
    assert both("images -q --no-trunc").lines == both("images --quiet=true --no-trunc").lines == list(map(str, ids))
    assert both("images --quiet=false").lines[0].startswith("REPOSITORY")


def test_digests(both: Said) -> None:
    heading, first, *_ = both("images --digests app").lines
    assert heading.split() == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert ONE.digest in first


def test_images_as_json_and_templates(both: Said) -> None:
    rows = [json.loads(line) for line in both("images --format json").lines]
    assert [row["Repository"] for row in rows] == ["app", "example.com/team/app", "app"]
    assert rows[0]["ID"] == image_of(ONE).id.short
    assert (rows[0]["Bytes"], rows[0]["CompressedBytes"]) == (unpacked(image_of(ONE)), image_of(ONE).size)
    assert both(r"images --format 'table {{.Repository}}\t{{.Tag}}\t{{.ID}}' app:2").lines == [
        "REPOSITORY   TAG       IMAGE ID",
        f"app          2         {image_of(TWO).id.short}",
    ]


def test_sizes_are_of_unpacked_layers_and_others_on_request(both: Said, store: Store) -> None:
    image = store.put(image_of(Sample(tar_of({"zeros": bytes(5_000_000)}))), "zeros:1")
    store.layers("zeros:1")
    heading, line = both("images -s zeros").lines
    assert re.split(r" {2,}", heading)[-3:] == ["SIZE", "COMPRESSED", "ON DISK"]
    small = human.size(image.size)
    assert re.split(r" {2,}", line)[-3:-1] == ["5MB", small]
    assert both("images --format '{{.Size}} {{.CompressedSize}}' zeros").lines == [f"5MB {small}"]
    assert 5_000_000 <= int(both("images --format {{.DiskBytes}} zeros").lines[0]) < 5_100_000
    assert (store.directory / "sizes/sha256" / image.layers[0].digest.hex).read_text() == "5000000"
    store.remove("zeros:1")
    store.gc()
    assert not (store.directory / "sizes/sha256" / image.layers[0].digest.hex).exists()


def test_an_image_without_a_name(both: Said, store: Store) -> None:
    store.put(image_of(ONE), "app:2")
    assert both("images -f dangling=true --format '{{.Repository}} {{.Tag}} {{.ID}}'").lines == [f"<none> <none> {image_of(TWO).id.short}"]


def test_a_damaged_image_does_not_hide_the_others(both: Said, store: Store) -> None:
    Path(store.blobs.path(image_of(TWO).id)).unlink()
    done = both("images --format '{{.Repository}}:{{.Tag}}'")
    assert done.lines == ["app:1", "example.com/team/app:old"]
    assert "app:2" in done.err


def several(store: Store, *architectures: str) -> dict[str, Sample]:
    """Put an index into the store under the name `multi`, without the images that are no sample."""
    samples = {arch: Sample(tar_of({"arch": arch.encode()}), arch=arch) for arch in architectures}
    entries = [descriptor(MANIFEST, s.manifest, platform={"os": "linux", "architecture": a}) for a, s in samples.items()]
    data = index_of(*entries)
    root = named(descriptor(INDEX, data), "multi:1")
    files = layout_files(index_of(root), [data, *(blob for s in samples.values() for blob in s.blobs)])
    layout = Layout.open(write_directory(store.directory.parent / "multi", files))
    store.add(layout.entries[0], layout.blobs, "multi:1")
    return samples


def test_a_name_for_several_machines(ck: Said, store: Store) -> None:
    here = Platform.here().architecture
    samples = several(store, here, "s390x")
    assert ck("images -q").lines == [image_of(samples[here]).id.short]
    shown = ck("images -a --format '{{.Platform}} {{.ID}}'").lines
    assert sorted(shown) == sorted(f"linux/{arch} {image_of(s).id.short}" for arch, s in samples.items())
    assert "PLATFORM" in ck("images -a").lines[0]


def test_a_name_for_other_machines_only(ck: Said, store: Store) -> None:
    several(store, "s390x", "ppc64le")
    assert ck("images --format '{{.Repository}} {{.CreatedSince}}'").lines == ["multi N/A"]
    assert ck("inspect multi:1").code == 1
    assert ck("inspect --platform s390x -f '{{.Architecture}}' multi:1").lines == ["s390x"]


# history and inspect --------------------------------------------------------------------------------------------


@pytest.fixture
def told(ck: Said, store: Store) -> Said:
    """Put an image with a history into the store."""
    image = Image.scratch().append(*image_of(ONE).layers[:1], history="ADD file:0123456789 in / # and a long, long comment that goes on")
    history = [*image.history, *Image.scratch().append(history=()).history]
    store.put(image.with_config(history=history, cmd=["sh"], created="2026-11-20T00:00:00Z"), "told")
    return ck


def test_history(told: Said, store: Store) -> None:
    heading, line = told("history told").lines
    assert heading.split("  ")[0] == "IMAGE"
    assert re.split(r" {2,}", heading) == ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
    assert line.startswith(store.get("told").id.short)
    assert "…" in line
    assert "goes on" in told("history --no-trunc told").lines[1]
    assert told("history -q told").lines == [store.get("told").id.short]
    assert told("image history -q --no-trunc told").lines == [store.get("told").id]
    row = json.loads(told("history --format json told").out)
    assert row["Size"] == human.size(unpacked(image_of(ONE), 1))
    assert json.loads(told("history --human=false --format json told").out)["Size"] == str(unpacked(image_of(ONE), 1))


def test_history_cannot_drive_the_terminal(ck: Said, store: Store) -> None:
    layers = image_of(ONE).layers[:1]
    store.put(Image.scratch().append(*layers, history="RUN \x1b[2J\x07 evil"), "evil")
    for line in ("history evil", "history --format '{{.CreatedBy}}' evil", "history --format json evil"):
        assert "\x1b" not in ck(line).out


def test_inspect(both: Said) -> None:
    (found,) = json.loads(both("inspect app:1").out)
    image = image_of(ONE)
    assert found["Id"] == image.id
    assert found["RepoTags"] == ["app:1", "example.com/team/app:old"]
    assert found["RepoDigests"] == [f"app@{ONE.digest}", f"example.com/team/app@{ONE.digest}"]
    assert (found["Config"]["Cmd"], found["Config"]["Env"], found["Config"]["User"]) == (["one"], ["A=b"], "")
    assert found["RootFS"] == {"Type": "layers", "Layers": ONE.diff_ids}
    assert [layer["ChainID"] for layer in found["Layers"]] == list(image.chain_ids)
    assert (found["Size"], found["CompressedSize"]) == (unpacked(image), image.size)


def test_inspect_in_short(both: Said) -> None:
    assert both("inspect -f '{{.Id}} {{json .Config.Cmd}}' app:1 app:2").lines == [
        f'{image_of(ONE).id} ["one"]',
        f'{image_of(TWO).id} ["two"]',
    ]
    assert len(json.loads(both("image inspect --format json app:1 app:2").out)) == 2


def test_inspect_shows_the_images_that_it_finds(both: Said) -> None:
    done = both("inspect nothing app:1")
    assert done.code == 1
    assert "nothing" in done.err
    assert [each["Id"] for each in json.loads(done.out)] == [image_of(ONE).id]


@pytest.mark.parametrize("how", [str, lambda image: image.id.hex[:6], lambda image: image.digest, lambda image: image.digest.hex[:12]])
def test_ids_and_digests_stand_for_images(both: Said, how: Callable[[Image], str]) -> None:
    image = image_of(ONE)
    word = how(image) if how is not str else "app:1"
    assert json.loads(both(f"inspect {word}").out)[0]["Id"] == image.id


def test_the_manifest_byte_for_byte(both: Said) -> None:
    done = subprocess.run([sys.executable, "-m", "containerkit", "inspect", "--raw", "app:1"], capture_output=True, check=True)
    assert done.stdout == ONE.manifest


# tag, rmi, prune, gc --------------------------------------------------------------------------------------------


def test_tag(both: Said, store: Store) -> None:
    assert both(f"tag {image_of(TWO).id.short} 127.0.0.1:5000/new").code == 0
    assert store.get("127.0.0.1:5000/new:latest") == image_of(TWO)
    assert both("tag app:2 Wrong").code == 1
    assert both("image tag nothing new").code == 1


def test_removing_the_last_name_removes_the_image(both: Said, store: Store) -> None:
    assert both("rmi app:1").lines == ["Untagged: app:1"]
    assert store.get("example.com/team/app:old") == image_of(ONE)
    assert both("image rm example.com/team/app:old").lines == [
        "Untagged: example.com/team/app:old",
        f"Deleted: {image_of(ONE).id}",
    ]
    assert not store.blobs.has(image_of(ONE).id)
    assert store.blobs.has(image_of(TWO).layers[0].digest), "what another image shares stays"


def test_an_image_with_names_is_removed_by_force(both: Said, store: Store) -> None:
    id = image_of(ONE).id
    done = both(f"rmi {id.short}")
    assert done.code == 1
    assert "must be forced" in done.err
    assert both(f"rmi -f {id.short}").lines == ["Untagged: app:1", "Untagged: example.com/team/app:old", f"Deleted: {id}"]


def test_a_missing_image_does_not_stop_the_others(both: Said, store: Store) -> None:
    done = both("rmi nothing app:2")
    assert done.code == 1
    assert done.lines[-1] == f"Deleted: {image_of(TWO).id}"
    assert both("rmi --force nothing").code == 0
    assert both("rmi app:1 -f example.com/team/app:old").code == 0
    assert store.images() == ()


def test_no_prune_leaves_the_layers(both: Said, store: Store) -> None:
    assert both("rmi --no-prune app:2").code == 0
    assert store.blobs.has(image_of(TWO).layers[1].digest)
    assert json.loads(both("gc --format json").out)["Bytes"] > 0
    assert not store.blobs.has(image_of(TWO).layers[1].digest)


def test_prune_asks(both: Said, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(image_of(ONE), "app:2")
    for answer in ("n\n", "", "\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        done = both("image prune")
        assert "without a name" in done.out
        assert len(store.images()) == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert f"deleted: {TWO.digest}" in both("image prune").lines
    assert len(store.images()) == 1


def test_prune_all_leaves_images_of_running_containers(both: Said, store: Store) -> None:
    with store.hold("app:2"):
        done = both("system prune -a --force")
        assert "untagged: app:1" in done.lines
        assert [each.familiar for each in store.images()] == [("app:2",)]
    assert re.search(r"Total reclaimed space: [1-9]", done.out)


def test_gc_prints_the_number_of_removed_objects(both: Said, store: Store) -> None:
    assert both("gc").out == "removed: 0 images, 0 blobs, 0 unpacked layers; 0B of blobs\n"
    store.put(image_of(ONE), "app:2")
    assert both("gc --untagged").out.startswith("removed: 1 images, 3 blobs, 0 unpacked layers; ")
    assert both("gc --all --dry-run").out.startswith("would remove: 1 images, 4 blobs, ")
    assert len(store.images()) == 1
    assert both("gc --all").out.startswith("removed: 1 images, 4 blobs, ")


def test_the_build_cache_is_removed_on_request(both: Said, store: Store, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM app:1\nCOPY Dockerfile /\n")

    def cached() -> bool:
        return " CACHED" in both(f"build {tmp_path}").err

    assert not cached()
    assert cached()
    assert both("image prune -f").code == 0
    assert cached()
    for line in ("builder prune -f", "system prune -af", "gc --cache"):
        kept = store.directory / caches.DIRECTORY / "somebody's"
        (kept / caches.FILES).mkdir(parents=True)
        (kept / caches.MAKING).touch()
        assert both(line).code == 0
        assert not (kept / caches.FILES).exists(), line
        store.put(image_of(ONE), "app:1")
        assert not cached(), line
        assert cached()


# save, load, import, export, diff -------------------------------------------------------------------------------


def test_save_and_load(both: Said, tmp_path: Path) -> None:
    assert both(f"save app:1 -o {tmp_path}/both.tar app:2").code == 0
    other = f"--store {tmp_path}/other"
    assert both(f"{other} load -i {tmp_path}/both.tar").lines == ["Loaded image: app:1", "Loaded image: app:2"]
    assert both(f"load {other} -q -i {tmp_path}/both.tar").lines == ["Loaded image: app:1", "Loaded image: app:2"]
    for name, sample in (("app:1", ONE), ("app:2", TWO)):
        assert Store(tmp_path / "other").get(name).data == sample.manifest


@pytest.mark.parametrize(("form", "name"), [("docker-archive", "x.tar"), ("oci-archive", "x.tar"), ("oci-dir", "x")])
def test_formats(both: Said, tmp_path: Path, form: str, name: str) -> None:
    assert both(f"save --format {form} -o {tmp_path}/{name} app:1").code == 0
    assert (tmp_path / name).is_dir() == (form == "oci-dir")
    assert Image.open(tmp_path / name, "app:1") == image_of(ONE)
    if form != "oci-dir":
        with tarfile.open(tmp_path / name) as tar:
            assert ("manifest.json" in tar.getnames()) == (form == "docker-archive")


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_plain_layers(both: Said, tmp_path: Path, form: str) -> None:
    assert both(f"save --uncompressed --format {form} -o {tmp_path}/x.tar app:1").code == 0
    image = Image.open(tmp_path / "x.tar", "app:1")
    assert image.id == image_of(ONE).id
    assert [str(layer.digest) for layer in image.layers] == ONE.diff_ids
    image.validate()


def test_an_id_has_no_name_in_a_file(both: Said, tmp_path: Path) -> None:
    id = image_of(ONE).id
    assert both(f"save {id.short} -o {tmp_path}/x.tar").code == 0
    assert both(f"--store {tmp_path}/other load -i {tmp_path}/x.tar").lines == [f"Loaded image ID: {id}"]


def test_an_index_is_saved_whole_or_for_one_machine(ck: Said, store: Store, tmp_path: Path) -> None:
    here = Platform.here().architecture
    samples = several(store, here, "s390x")
    assert ck(f"save --format oci-archive -o {tmp_path}/all.tar multi:1").code == 0
    assert ck(f"save -o {tmp_path}/here.tar multi:1").code == 0
    assert ck(f"save --platform linux/s390x -o {tmp_path}/other.tar multi:1").code == 0
    assert Image.open(tmp_path / "all.tar", platform="s390x") == image_of(samples["s390x"])
    assert Image.open(tmp_path / "here.tar") == image_of(samples[here])
    assert Image.open(tmp_path / "other.tar") == image_of(samples["s390x"])
    assert ck(f"--store {tmp_path}/o load --platform s390x -i {tmp_path}/all.tar").code == 0
    assert ck(f"--store {tmp_path}/o images -aq").lines == [image_of(samples["s390x"]).id.short]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_through_pipes(both: Said, store: Store, tmp_path: Path, form: str) -> None:
    ck = f"{sys.executable} -m containerkit"
    line = f"{ck} save --format {form} app:1 | {ck} --store {tmp_path}/other load"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("Loaded image: app:1\n", "")
    assert Store(tmp_path / "other").get("app:1") == image_of(ONE)


def test_import_and_export(ck: Said, store: Store, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(BASE)
    done = ck(f"import -m 'by hand' {tmp_path}/root.tar made:1")
    image = store.get("made:1")
    assert done.lines == [image.id]
    assert [str(layer.diff_id) for layer in image.layers] == ONE.diff_ids[:1]
    assert image.history[0].comment == "by hand"
    assert ck(f"import --platform linux/s390x {tmp_path}/root.tar").code == 0
    assert ck("images -f dangling=true --format '{{.Platform}}'").lines == ["linux/s390x"]
    assert ck(f"export made:1 -o {tmp_path}/out.tar").code == 0
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.extractfile("etc/name").read() == b"base"  # type: ignore[union-attr]


def test_import_with_changes(ck: Said, store: Store, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(BASE)
    changes = """-c 'CMD ["sh", "-l"]' --change 'ENV A=1 B="2 3"' -c 'USER nobody' -c 'EXPOSE 80' -c 'LABEL a=b'"""
    done = ck(f"import {changes} {tmp_path}/root.tar made")
    config = store.get("made").config
    assert (done.code, done.err) == (0, "")
    assert (config.cmd, config.env, config.user) == (("sh", "-l"), ("A=1", "B=2 3"), "nobody")
    assert (config.exposed_ports, dict(config.labels)) == (("80/tcp",), {"a": "b"})
    assert len(config.history) == 1
    for wrong in ("RUN true", "CMDD x"):
        assert ck(f"import -c '{wrong}' {tmp_path}/root.tar other").code == 1
    assert "other" not in ck("images").out


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_changes_of_import_are_instructions_of_one_stage(order: tuple[int, int], ck: Said, store: Store, tmp_path: Path) -> None:
    """ENTRYPOINT removes the CMD of the base, not a CMD of the same command."""
    (tmp_path / "root.tar").write_bytes(BASE)
    changes = ["""-c 'CMD ["a"]'""", """-c 'ENTRYPOINT ["b"]'"""]
    assert ck(f"import {changes[order[0]]} {changes[order[1]]} {tmp_path}/root.tar made").code == 0
    assert (store.get("made").config.entrypoint, store.get("made").config.cmd) == (("b",), ("a",))


def test_export_writes_the_merged_layers(both: Said, tmp_path: Path) -> None:
    assert both(f"export app:1 -o {tmp_path}/out.tar").code == 0
    with tarfile.open(tmp_path / "out.tar") as tar:
        names = {name.removeprefix("./") for name in tar.getnames()}
    assert {"one", "big", "etc/link"} <= names
    assert "etc/name" not in names
    assert not any(".wh." in name for name in names)


def test_diff_of_one_image_shows_its_last_layer(both: Said) -> None:
    assert both("diff app:1").lines == ["D /etc/name", "A /one"]
    assert both("diff app:2").lines == ["A /two"]
    assert [json.loads(line) for line in both("diff --format json app:2").lines] == [{"Kind": "A", "Path": "/two"}]


def test_diff_of_two_images(both: Said) -> None:
    assert both("diff app:1 app:2").lines == ["A /etc/name", "D /one", "A /two"]
    assert both("image diff app:2 app:1").lines == ["D /etc/name", "A /one", "D /two"]
    assert both("diff app:1 app:1").out == ""
    assert both("diff app:1 nothing").code == 1
    row = json.loads(both("diff --format json app:1 app:2").lines[0])
    assert row == {"Kind": "A", "Path": "/etc/name"}


# ls-layers, df, fsck --------------------------------------------------------------------------------------------


def test_layers_and_the_images_that_share_them(both: Said, store: Store) -> None:
    one, two = image_of(ONE), image_of(TWO)
    lines = both("image ls-layers").lines
    assert re.split(r" {2,}", lines[0]) == ["LAYER", "DIFF ID", "CHAIN ID", "SIZE", "UNPACKED", "IMAGES"]
    assert len(lines) == 4
    shared = next(line for line in lines if line.startswith(one.layers[0].digest.short))
    assert shared.endswith("no         app:1, example.com/team/app:old, app:2")
    store.layers("app:2")
    rows = [json.loads(line) for line in both("image ls-layers app:2 --no-trunc --format json").lines]
    assert [row["ChainID"] for row in rows] == list(two.chain_ids)
    assert [row["Unpacked"] for row in rows] == [True, True]
    assert rows[0]["Images"] == ["app:1", "example.com/team/app:old", "app:2"]
    assert both("image ls-layers -q --no-trunc app:1").lines == ONE.diff_ids


def kinds(told: Said) -> dict[str, dict[str, Any]]:
    return {row["Type"]: row for row in map(json.loads, told("system df --format json").lines)}


def test_df_shows_the_use_of_the_disk(both: Said, store: Store) -> None:
    heading, images, layers, *others = both("system df").lines
    assert re.split(r" {2,}", heading) == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert re.split(r" {2,}", images)[:3] == ["Images", "2", "0"]
    assert re.split(r" {2,}", layers)[:2] == ["Unpacked layers", "0"]
    assert [re.split(r" {2,}", each)[0] for each in others] == ["Build Cache", "Rootfs Cache", "Scratch"]
    with store.hold("app:1"):
        images, layers = list(kinds(both).values())[:2]
    assert [(row["TotalCount"], row["Active"]) for row in (images, layers)] == [(2, 1), (2, 2)]
    assert layers["Reclaimable"] == "0B (0%)"
    store.remove("app:1")
    images, layers = list(kinds(both).values())[:2]
    assert [row["Reclaimable"][0] != "0" for row in (images, layers)] == [True, True], "what gc would remove"


def test_df_shows_the_build_cache_and_prune_removes_it(both: Said, store: Store, tmp_path: Path) -> None:
    """The cache's records, the layers that only they lead to, and cache mounts, except for one in use."""
    assert kinds(both)["Build Cache"]["Bytes"] == 0
    (tmp_path / "Dockerfile").write_text("FROM app:1\nCOPY Dockerfile /\n")
    both(f"build -t built {tmp_path}")
    store.remove("built")
    store.gc()
    for name in ("used", "left"):
        (store.directory / caches.DIRECTORY / name / caches.FILES).mkdir(parents=True)
        (store.directory / caches.DIRECTORY / name / caches.FILES / "x").write_bytes(b"x" * 10_000)
    fd = os.open(store.directory / caches.DIRECTORY / "used", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        names = both("system df -v").out
        assert "Build Cache space usage:" in names
        assert [name in names for name in ("sha256:", "cache/", "mounts/used", "mounts/left")] == [True] * 4
        row = kinds(both)["Build Cache"]
        assert (row["Active"], row["TotalCount"] >= 4) == (1, True)
        done = both("builder prune -f")
        assert re.fullmatch(r"Total reclaimed space: [1-9].*", done.lines[-1])
        assert [json.loads(line)["Name"] for line in both("system df -v --format json").lines if "Build" in line] == ["mounts/used"]
    finally:
        os.close(fd)
    both("builder prune -f")
    assert kinds(both)["Build Cache"]["Bytes"] == 0


def test_df_shows_cached_roots_and_prune_removes_unused_ones(both: Said, store: Store) -> None:
    script = "import sys; from containerkit.rootfs.rootfs import from_programs; print(from_programs(['cat']), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        root = Path(other.stdout.readline().rstrip())
        row = kinds(both)["Rootfs Cache"]
        assert (row["TotalCount"], row["Active"], row["Bytes"] > 0, row["Reclaimable"]) == (1, 1, True, "0B (0%)")
        both("system prune -f")
        assert (root / "usr").is_dir()
        other.kill()
    assert kinds(both)["Rootfs Cache"]["Active"] == 0
    both("image prune -f")
    assert root.is_dir()
    both("system prune -f")
    assert kinds(both)["Rootfs Cache"]["TotalCount"] == 0
    assert not root.exists()
    assert [path.name for path in root.parent.iterdir()] == [".lock"]


def test_df_tells_scratch_of_living_processes_from_abandoned_ones(both: Said, store: Store) -> None:
    """A program's lease, and its scratch directory, before and after it is killed."""
    script = """
import sys
from containerkit.store.store import Store
from containerkit.state.scratch import Scratch
lease, scratch = Store(sys.argv[1]).leases.take(), Scratch("test", sys.argv[2])
for path in (lease.place(), scratch.path / "x"):
    path.write_bytes(b"x" * 10_000)
print(lease.path, scratch.path, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", script, str(store.directory), tempfile.gettempdir()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        lease, scratch = other.stdout.readline().split()
        rows = {row["Name"]: row for row in map(json.loads, both("system df -v --format json").lines)}
        assert [(rows[path]["Active"], rows[path]["Bytes"] >= 10_000, rows[path]["Reclaimable"]) for path in (lease, scratch)] == [
            ("yes", True, "0B")
        ] * 2
        other.kill()
    journal.sweep_once.cache_clear()  # this process has started things before; the command begins as a new one
    rows = {row["Name"]: row for row in map(json.loads, both("system df -v --format json").lines)}
    assert not {lease, scratch} & rows.keys(), "the next start of anything sweeps"


def test_df_shows_damaged_blobs_and_prune_removes_them(both: Said, store: Store) -> None:
    Path(store.blobs.path(image_of(ONE).layers[0].digest)).write_bytes(b"damaged")
    both("fsck --repair")
    (aside,) = (store.directory / "damaged").iterdir()
    assert aside.name in both("system df -v").out
    store.put(image_of(ONE), "app:1")
    both("image prune -f")
    assert aside.exists()
    both("system prune -f")
    assert not aside.exists()


def test_fsck(both: Said, store: Store) -> None:
    assert both("fsck").out == "no problems found\n"
    blob = Path(store.blobs.path(image_of(TWO).layers[1].digest))
    blob.chmod(0o644)
    blob.write_bytes(b"\0" * blob.stat().st_size)
    done = both("fsck --layers=false")
    assert done.code == 1
    assert blob.name in done.out
    row = json.loads(both("fsck --format json").lines[0])
    assert (row["What"], row["Repaired"]) == ("blob", "")
    assert both("fsck --repair").code == 1, "the image lacks its layer then"
    assert not blob.exists()


# Spelling, errors, exit codes -----------------------------------------------------------------------------------

SPELLED = """
build -t --tag -f --file --target --build-arg --no-cache --label --secret --network --platform --cache-from --cache-to --build-context
build -q --quiet --progress -o --output --pull --rm --force-rm --iidfile --load
image build -t -f -q
images -a --all -q --quiet --digests --no-trunc -f --filter --format
image ls -a -q --digests --no-trunc -f --format
image list -q
history -H --human -q --quiet --no-trunc --format --platform
image history --no-trunc -q
inspect -f --format -s --size --type --platform
image inspect -f --format --platform
tag
image tag
rmi -f --force --no-prune
image rm -f --force --no-prune
image remove -f
image prune -a --all -f --force
save -o --output --platform
image save -o --output
load -i --input -q --quiet --platform
image load -i -q
import -c --change -m --message --platform
image import -c -m
export -o --output
diff
pull -a --all-tags -q --quiet --platform
image pull -a -q --platform
push -a --all-tags -q --quiet --platform
image push -a -q
login -u --username -p --password --password-stdin
logout
system df --format
system prune -a --all -f --force
builder prune -a --all -f --force
builder build -t
run --entrypoint -u --user -e --env -w --workdir -v --volume -h --hostname -i --interactive -t --tty --rm --pull --platform --read-only
run --init --privileged --tmpfs --network --net --stop-signal --stop-timeout --security-opt
"""


@pytest.mark.parametrize("line", SPELLED.strip().splitlines(), ids=lambda line: line.partition(" -")[0])
def test_options_are_spelled_as_dockers(ck: Said, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split()
    verb = [word for word in words if not word.startswith("-")]
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    assert ended.value.code == 0
    said = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", capsys.readouterr().out))
    assert {word for word in words if word.startswith("-")} <= said


@pytest.mark.parametrize(
    "line",
    ["images --nope", "images --quie", "inspect", "tag one", "rmi", "save", "image", "image fly", "fly", "images a b"],
)
def test_bad_usage_exits_with_2(ck: Said, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert "usage: containerkit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("history nothing", "there is no 'nothing' in the store"),
        ("diff nothing", "there is no 'nothing' in the store"),
        ("export nothing -o /dev/null", "there is no 'nothing' in the store"),
        ("save nothing -o /dev/null", "there is no 'nothing' in the store"),
        ("load -i /nowhere", "/nowhere"),
        ("load -i /etc/passwd", "tar header"),
        ("import /nowhere", "/nowhere: No such file or directory"),
        ("images --format '{{range .}}'", "is not understood"),
        ("save --format oci-dir app", "there is no 'app' in the store"),
        ("--store /dev/null/store images", "/dev/null/store"),
    ],
)
def test_an_error_is_one_line_and_exits_with_1(ck: Said, line: str, said: str) -> None:
    done = ck(line)
    assert done.code == 1
    assert said in done.err
    assert done.err.startswith("containerkit: ")
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_errors_cannot_drive_the_terminal(ck: Said) -> None:
    for line in ("history '\x1b[2Jevil'", "inspect '\x1b[2Jevil'", "load -i '/nowhere/\x1b[2Jevil'", "import '/nowhere/\x1b[2Jevil'"):
        done = ck(line)
        assert done.code == 1
        assert "evil" in done.err
        assert "\x1b" not in done.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"containerkit \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_help_of_a_verb_begins_with_its_line_in_the_list(ck: Said, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["rmi", "--help"])
    assert "remove images" in capsys.readouterr().out
    assert "remove images" in listed
    for verb in ("images", "pull", "run", "doctor", "top"):
        assert re.search(rf"^    {verb} +[a-z]", listed, re.MULTILINE)


def test_help_is_quick_and_loads_no_verb() -> None:
    source = "import sys, time\nfrom containerkit.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    source += "print(sorted(n for n in sys.modules if n.startswith(('containerkit.image', 'containerkit.registry', 'rich', 'urllib3'))))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("", (False, True)),
        ("-q", (True, True)),
        ("--quiet=true --verify=false", (True, False)),
        ("-q --quiet=0 --verify=1", (False, True)),
        ("-q=t", (True, True)),
        ("-v=f -q", (True, False)),
        ("-qv", (True, True)),
    ],
)
def test_flags_take_a_value_as_dockers_do(line: str, values: tuple[bool, bool]) -> None:
    parser = Parser()
    parser.flag("-q", "--quiet")
    parser.flag("-v", "--verify", default=True)
    found = parser.parse_args(line.split())
    assert (found.quiet, found.verify) == values


def test_without_rich_progress_is_printed_as_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert not fancy(stream)


def test_the_store_may_be_given_before_or_after_the_verb(ck: Said, tmp_path: Path) -> None:
    Store(tmp_path / "second").put(image_of(ONE), "second")
    for line in (f"--store {tmp_path}/second images", f"images --store {tmp_path}/second", f"--store={tmp_path}/second image ls"):
        assert "second" in ck(line).out
    assert "second" not in ck("images").out
