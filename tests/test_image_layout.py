"""OCI layouts: directories and tars, read and written byte for byte."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest
from sample_images import (
    INDEX,
    REF_NAME,
    Sample,
    base,
    descriptor,
    dumps,
    index_of,
    layout_files,
    named,
    sha256,
    tar_of,
    write_directory,
    write_tar,
)

from containerkit.image.blobs import read
from containerkit.image.descriptor import Descriptor, Platform
from containerkit.image.errors import ImageError, InvalidDocument, InvalidLayer, LimitExceeded, Mismatch, Missing, Unsupported
from containerkit.image.files import layout
from containerkit.image.files.layout import Layout
from containerkit.image.files.named_images import named as with_name

ONE, TWO = Sample(base(), tar_of({"one": b"1"}), Cmd=["sh"]), Sample(base(), tar_of({"two": b"2"}))


def files_of(*entries: dict[str, object], samples: tuple[Sample, ...] = (ONE, TWO)) -> dict[str, bytes]:
    return layout_files(index_of(*entries), [blob for sample in samples for blob in sample.blobs])


TAGGED = files_of(named(ONE.descriptor, "docker.io/library/one:latest"), named(TWO.descriptor, "two"))


def contents(path: Path) -> dict[str, bytes]:
    """Return every file of a layout, a directory or a tar of one."""
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def as_directory(path: Path, files: dict[str, bytes]) -> Path:
    return write_directory(path / "made", files)


def as_tar(path: Path, files: dict[str, bytes]) -> Path:
    return write_tar(path / "made.tar", files)


def as_dotted_tar(path: Path, files: dict[str, bytes]) -> Path:
    """Return a tar with names as `tar -C directory -c .` writes them."""
    return write_tar(path / "dotted.tar", {f"./{name}": data for name, data in files.items()})


def as_gzip(path: Path, files: dict[str, bytes]) -> Path:
    (path / "made.tar.gz").write_bytes(gzip.compress(tar_of(files)))
    return path / "made.tar.gz"


FORMS = pytest.mark.parametrize("form", [as_directory, as_tar, as_dotted_tar, as_gzip])


# Reading --------------------------------------------------------------------------------------------------------


@FORMS
def test_names_manifests_and_layers_are_found(tmp_path: Path, form: object) -> None:
    with Layout.open(form(tmp_path, TAGGED)) as found:  # type: ignore[operator]
        assert found.names == ("docker.io/library/one:latest", "two")
        assert found.index == TAGGED["index.json"]
        assert read(found.blobs, found.find("two")) == TWO.manifest
        assert found.find("two").digest == found.find(TWO.digest).digest == TWO.digest
        with found.blobs.open(Descriptor.from_json(json.loads(ONE.manifest)["layers"][1])) as stream:
            assert stream.read() == ONE.layers[1]


@pytest.mark.parametrize("name", ["docker.io/library/one:latest", "one", "one:latest", "docker.io/library/one", "library/one:latest"])
def test_one_name_can_be_written_in_many_ways(tmp_path: Path, name: str) -> None:
    assert Layout.open(as_directory(tmp_path, TAGGED)).find(name).digest == ONE.digest


def test_a_name_is_needed_where_there_are_many_and_errors_say_which(tmp_path: Path) -> None:
    found = Layout.open(as_directory(tmp_path, TAGGED))
    with pytest.raises(Missing, match=r"which image\? .*one:latest, two"):
        found.find()
    with pytest.raises(Missing, match=r"'three'.*one:latest, two"):
        found.find("three")


def test_the_only_image_needs_no_name_even_with_two_of_them(tmp_path: Path) -> None:
    files = files_of(named(ONE.descriptor, "a"), named(ONE.descriptor, "b"))
    found = Layout.open(as_directory(tmp_path, files))
    assert found.find().digest == ONE.digest
    assert found.names == ("a", "b")


def many_platforms(*, without: str = "") -> dict[str, bytes]:
    """Return an index in an index: three platforms, and an attestation; one platform's blobs may be left out."""
    samples = {arch: Sample(base(arch), arch=arch) for arch in ("amd64", "arm64", "s390x")}
    entries = [s.descriptor | {"platform": {"os": "linux", "architecture": arch}} for arch, s in samples.items()]
    entries.append(ONE.descriptor | {"platform": {"os": "unknown", "architecture": "unknown"}})
    inner = index_of(*entries)
    outer = index_of(descriptor(INDEX, inner))
    blobs = [inner, outer, *ONE.blobs, *(b for arch, s in samples.items() if arch != without for b in s.blobs)]
    return layout_files(index_of(named(descriptor(INDEX, outer), "many")), blobs)


@FORMS
def test_a_platform_is_found_in_nested_indexes(tmp_path: Path, form: object) -> None:
    with Layout.open(form(tmp_path, many_platforms())) as found:  # type: ignore[operator]
        for arch in ("amd64", "arm64", "s390x"):
            assert found.manifest("many", Platform("linux", arch)).digest == Sample(base(arch), arch=arch).digest
        assert found.manifest().digest == Sample(base(Platform.here().architecture), arch=Platform.here().architecture).digest
        with pytest.raises(Missing, match=r"linux/riscv64.*linux/amd64, linux/arm64, linux/s390x"):
            found.manifest("many", Platform("linux", "riscv64"))


def test_absent_platforms_are_missing_and_the_others_are_copied(tmp_path: Path) -> None:
    found = Layout.open(as_directory(tmp_path, many_platforms(without="arm64")))
    with pytest.raises(Missing):
        found.manifest("many", Platform("linux", "arm64", "v8"))
    found.save(tmp_path / "copy.oci")
    assert contents(tmp_path / "copy.oci") == many_platforms(without="arm64")


def test_an_image_without_a_platform_in_the_index_says_its_own(tmp_path: Path) -> None:
    arm = Sample(base("x"), arch="arm64")
    found = Layout.open(as_directory(tmp_path, files_of(arm.descriptor, samples=(arm,))))
    assert found.manifest(platform=Platform("linux", "arm64")).digest == arm.digest
    with pytest.raises(Missing, match="it is for linux/arm64"):
        found.manifest(platform=Platform("linux", "s390x"))


# Writing --------------------------------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize("tar", [False, True])
def test_reading_and_writing_keeps_the_bytes(tmp_path: Path, form: object, tar: bool) -> None:
    for number, files in enumerate((TAGGED, many_platforms())):
        with Layout.open(form(tmp_path, files)) as found:  # type: ignore[operator]
            found.save(tmp_path / f"copy{number}", tar=tar)
        assert contents(tmp_path / f"copy{number}") == files
        for path in tmp_path.glob("made*"):
            os.rename(path, tmp_path / f"old{number}")


def test_unnamed_blobs_are_left_behind(tmp_path: Path) -> None:
    files = files_of(ONE.descriptor)
    found = Layout.open(as_directory(tmp_path, files))
    layout.write(tmp_path / "copy", [(found.find(), found.blobs)])
    assert set(contents(tmp_path / "copy")) == {"oci-layout", "index.json", *(f"blobs/sha256/{sha256(b)[7:]}" for b in ONE.blobs)}


def test_the_same_images_give_the_same_tar(tmp_path: Path) -> None:
    found = Layout.open(as_directory(tmp_path, TAGGED))
    items = [(entry, found.blobs) for entry in found.entries]
    layout.write(tmp_path / "a.tar", items)
    layout.write(tmp_path / "b.tar", items)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        names = tar.getnames()
        assert names == sorted(names)
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}


def test_a_directory_takes_more_images_and_keeps_what_it_has(tmp_path: Path) -> None:
    index = dumps({"schemaVersion": 2, "x-mine": {"a": 1}, "manifests": [named(ONE.descriptor, "one"), named(ONE.descriptor, "uno")]})
    target = write_directory(tmp_path / "target", layout_files(index, ONE.blobs))
    source = Layout.open(as_directory(tmp_path, TAGGED))
    layout.write(target, [(with_name(source.find("two"), "one"), source.blobs)])
    found = Layout.open(target)
    assert {name: found.find(name).digest for name in found.names} == {"uno": ONE.digest, "one": TWO.digest}
    assert json.loads(found.index)["x-mine"] == {"a": 1}


def test_writing_an_image_twice_changes_nothing(tmp_path: Path) -> None:
    target = as_directory(tmp_path, TAGGED)
    found = Layout.open(target)
    layout.write(target, [(entry, found.blobs) for entry in found.entries])
    assert contents(target) == TAGGED


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    source = Layout.open(as_directory(tmp_path, TAGGED))
    entry = source.find("two")

    def add(number: int) -> None:
        layout.write(tmp_path / "shared", [(with_name(entry, f"name{number}"), source.blobs)])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Layout.open(tmp_path / "shared").names) == {f"name{number}" for number in range(12)}


def test_a_short_blob_of_an_old_copy_is_written_again(tmp_path: Path) -> None:
    target = as_directory(tmp_path, TAGGED)
    source = Layout.open(as_tar(tmp_path, TAGGED))
    (target / f"blobs/sha256/{sha256(ONE.config)[7:]}").write_bytes(b"{")
    layout.write(target, [(entry, source.blobs) for entry in source.entries])
    assert contents(target) == TAGGED


# What is wrong --------------------------------------------------------------------------------------------------


def broken(files: dict[str, bytes], blob: bytes, data: bytes | None) -> dict[str, bytes]:
    """Return the layout with other bytes under a blob's name, or without the blob."""
    path = f"blobs/sha256/{sha256(blob)[7:]}"
    rest = {name: content for name, content in files.items() if name != path}
    return rest | ({} if data is None else {path: data})


@FORMS
@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
@pytest.mark.parametrize("how", ["changed", "short", "long", "missing"])
def test_a_bad_blob_is_not_copied_and_the_old_file_stays(tmp_path: Path, form: object, which: str, how: str) -> None:
    blob = {"manifest": ONE.manifest, "config": ONE.config, "layer": ONE.layers[1]}[which]
    data = {"changed": blob[:-1] + bytes([blob[-1] ^ 1]), "short": blob[:-1], "long": blob + b" ", "missing": None}[how]
    (tmp_path / "copy.tar").write_bytes(b"old")
    with pytest.raises(Missing if how == "missing" else Mismatch):
        Layout.open(form(tmp_path, broken(TAGGED, blob, data))).save(tmp_path / "copy.tar")  # type: ignore[operator]
    assert (tmp_path / "copy.tar").read_bytes() == b"old"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@FORMS
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"oci-layout": None}, Missing),
        ({"index.json": None}, Missing),
        ({"oci-layout": b'{"imageLayoutVersion": "2.0.0"}'}, Unsupported),
        ({"oci-layout": b"{}"}, InvalidDocument),
        ({"index.json": b"[]"}, InvalidDocument),
        ({"index.json": b'{"schemaVersion": 2, "manifests": [{"mediaType": "a/b"}]}'}, InvalidDocument),
        ({"index.json": b'{"schemaVersion": 2, "manifests": [], "manifests": []}'}, InvalidDocument),
        ({"index.json": b'{"schemaVersion": 2, "manifests": [], "layers": []}'}, InvalidDocument),
        ({"index.json": b" " * (4 << 20) + b"{}"}, LimitExceeded),
    ],
)
def test_a_layout_that_cannot_be_read(tmp_path: Path, form: object, changes: dict[str, bytes | None], error: type[ImageError]) -> None:
    files = {name: data for name, data in (TAGGED | changes).items() if data is not None}
    with pytest.raises(error):
        Layout.open(form(tmp_path, files))  # type: ignore[operator]


def test_a_tar_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in [*TAGGED.items(), ("./index.json", index_of(TWO.descriptor))]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tmp_path / "twice.tar").write_bytes(out.getvalue())
    with pytest.raises(InvalidLayer, match="twice"):
        Layout.open(tmp_path / "twice.tar")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "blobs/../../index.json", "index.json", "nowhere", "blobs"])
def test_an_index_that_is_a_link_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(ImageError):
        Layout.open(write_tar(tmp_path / "link.tar", {"oci-layout": TAGGED["oci-layout"], "blobs": None, "index.json": target}))
    directory = as_directory(tmp_path, TAGGED)
    os.rename(directory / "index.json", directory / "real.json")
    os.symlink("real.json", directory / "index.json")
    with pytest.raises(Missing):
        Layout.open(directory)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    directory = as_directory(tmp_path, TAGGED)
    os.unlink(directory / "index.json")
    os.mkfifo(directory / "index.json")
    with pytest.raises(ImageError):
        Layout.open(directory)


@pytest.mark.parametrize("cut", [100, 512, 1000, 5000])
def test_a_tar_that_is_cut_short(tmp_path: Path, cut: int) -> None:
    path = as_tar(tmp_path, TAGGED)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises((InvalidLayer, Missing)):
        Layout.open(path).save(tmp_path / "copy")


def test_indexes_in_indexes_without_end(tmp_path: Path) -> None:
    blobs = [index_of(ONE.descriptor)]
    for _ in range(20):
        blobs.append(index_of(descriptor(INDEX, blobs[-1])))
    files = layout_files(blobs[-1], [*blobs, *ONE.blobs])
    found = Layout.open(as_directory(tmp_path, files))
    with pytest.raises(LimitExceeded):
        found.save(tmp_path / "copy")


def test_a_blob_named_as_a_layer_and_as_a_manifest_is_both(tmp_path: Path) -> None:
    """A copy that looks at only the first of the two names would omit the manifest's own blobs."""
    outer = Sample(base())
    manifest = json.loads(outer.manifest)
    manifest["layers"] = [ONE.descriptor | {"mediaType": "application/octet-stream"}]
    outer.manifest = dumps(manifest)
    files = layout_files(index_of(outer.descriptor, ONE.descriptor), [outer.manifest, outer.config, *ONE.blobs])
    Layout.open(as_directory(tmp_path, files)).save(tmp_path / "copy")
    assert contents(tmp_path / "copy") == files


def test_schema_1_is_refused_by_name(tmp_path: Path) -> None:
    old = dumps({"schemaVersion": 1, "fsLayers": []})
    entry = descriptor("application/vnd.docker.distribution.manifest.v1+prettyjws", old)
    with pytest.raises(Unsupported, match="schema 1"):
        Layout.open(as_directory(tmp_path, layout_files(index_of(entry), [old]))).save(tmp_path / "copy")


def test_a_directory_is_not_written_over(tmp_path: Path) -> None:
    target = as_directory(tmp_path, TAGGED)
    with pytest.raises(FileExistsError):
        Layout.open(target).save(target)


def test_annotations_of_an_entry_stay(tmp_path: Path) -> None:
    entry = Descriptor.from_json(named(ONE.descriptor | {"annotations": {"a": "b"}}, "old"))
    assert dict(with_name(entry, "new").annotations) == {"a": "b", REF_NAME: "new"}
    assert dict(with_name(entry, "").annotations) == {"a": "b"}
