"""docker-archives of every age: reading and writing."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sample_images import INDEX, Sample, base, descriptor, dumps, index_of, layout_files, named, sha256, tar_of, write_tar

from containerkit.image.blobs import read
from containerkit.image.config import ImageConfig
from containerkit.image.descriptor import Descriptor
from containerkit.image.errors import Escape, ImageError, InvalidDocument, InvalidImage, Mismatch, Missing, Unsupported
from containerkit.image.files import archive
from containerkit.image.files.archive import Archive
from containerkit.image.files.layout import Layout
from containerkit.image.files.named_images import named as with_name
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.manifest import Manifest

PLAIN = Sample(base(), tar_of({"one": b"1"}), compress=False, Cmd=["sh"])
PACKED = Sample(base(), tar_of({"one": b"1"}), Cmd=["sh"])
OTHER = Sample(base(), tar_of({"two": b"2"}), compress=False)


def item(sample: Sample, config: str, layers: list[str], *tags: str) -> dict[str, Any]:
    return {"Config": config, "RepoTags": list(tags) or None, "Layers": layers}


def old_docker(sample: Sample, *tags: str) -> dict[str, bytes | str | None]:
    """Return an archive as docker before 25 saved it: a directory for each layer."""
    config = f"{sha256(sample.config)[7:]}.json"
    ids = [f"{number:064x}" for number in range(len(sample.layers))]
    files: dict[str, bytes | str | None] = {config: sample.config}
    for name, blob in zip(ids, sample.layers, strict=True):
        files |= {name: None, f"{name}/VERSION": b"1.0", f"{name}/json": b"{}", f"{name}/layer.tar": blob}
    files["manifest.json"] = dumps([item(sample, config, [f"{name}/layer.tar" for name in ids], *tags)])
    return files | {"repositories": dumps({"app": {"1": ids[-1]}})}


def podman(sample: Sample, *tags: str) -> dict[str, bytes | str | None]:
    """Return an archive as podman and skopeo save it: layers at the top, links in place of docker's directories."""
    layers = [f"{sha256(tar)[7:]}.tar" for tar in sample.tars]
    config = f"{sha256(sample.config)[7:]}.json"
    files: dict[str, bytes | str | None] = dict(zip(layers, sample.layers, strict=True))
    files |= {f"{number:064x}/layer.tar": f"../{layer}" for number, layer in enumerate(layers)}
    return files | {config: sample.config, "manifest.json": dumps([item(sample, config, layers, *tags)])}


def blob_path(data: bytes) -> str:
    return f"blobs/sha256/{sha256(data)[7:]}"


def new_docker(sample: Sample, *tags: str, index: bytes | None = None) -> dict[str, bytes | str | None]:
    """Return an archive as docker from 25 on saves it: an OCI layout with a manifest.json."""
    entries = [named(sample.descriptor, tag.partition(":")[2]) for tag in tags] or [sample.descriptor]
    files = layout_files(index or index_of(*entries), sample.blobs)
    images = [item(sample, blob_path(sample.config), [blob_path(b) for b in sample.layers], *tags)]
    return {**files, "manifest.json": dumps(images)}


def opened(path: Path, files: Mapping[str, bytes | str | None]) -> Archive:
    return Archive.open(write_tar(path / "image.tar", files))


def layers_of(found: Archive, name: str = "") -> list[bytes]:
    entry = found.manifest(name)
    manifest = Manifest.parse(read(found.blobs, entry), entry.media_type)
    return [read(found.blobs, layer) for layer in manifest.layers]


# Reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [old_docker, podman, new_docker])
@pytest.mark.parametrize("sample", [PLAIN, PACKED])
def test_names_config_and_layers_are_found(tmp_path: Path, form: Any, sample: Sample) -> None:
    found = opened(tmp_path, form(sample, "app:1", "127.0.0.1:5000/app:latest"))
    assert found.names == ("docker.io/library/app:1", "127.0.0.1:5000/app:latest")
    entry = found.manifest("app:1")
    manifest = Manifest.parse(read(found.blobs, entry), entry.media_type)
    assert read(found.blobs, manifest.config) == sample.config
    assert layers_of(found, "127.0.0.1:5000/app") == sample.layers


@pytest.mark.parametrize("form", [old_docker, podman, new_docker])
def test_an_image_without_a_name(tmp_path: Path, form: Any) -> None:
    found = opened(tmp_path, form(PLAIN))
    assert (found.names, layers_of(found)) == ((), PLAIN.layers)


def test_the_archives_own_manifest_is_kept_byte_for_byte(tmp_path: Path) -> None:
    found = opened(tmp_path, new_docker(PACKED, "app:1"))
    assert read(found.blobs, found.find()) == PACKED.manifest


def test_a_manifest_deep_in_an_index_is_found(tmp_path: Path) -> None:
    """containerd's store saves an index of all platforms with the blobs of one."""
    elsewhere = Sample(base("arm"), arch="arm64")
    inner = index_of(elsewhere.descriptor, PACKED.descriptor)
    files = new_docker(PACKED, "app:1", index=index_of(named(descriptor(INDEX, inner), "1")))
    found = opened(tmp_path, files | {blob_path(inner): inner})
    assert read(found.blobs, found.find()) == PACKED.manifest


def test_docker_25_0_left_the_layers_out_of_its_manifest(tmp_path: Path) -> None:
    """:see: https://github.com/moby/moby/issues/47065"""
    manifest = json.loads(PLAIN.manifest) | {"layers": []}
    empty = dumps(manifest)
    files = new_docker(PLAIN, "app:1", index=index_of(named(PLAIN.descriptor | {"digest": sha256(empty), "size": len(empty)}, "1")))
    found = opened(tmp_path, files | {blob_path(empty): empty})
    assert layers_of(found) == PLAIN.layers


def test_a_made_manifest_is_always_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second = opened(tmp_path, old_docker(PLAIN, "app:1")), opened(tmp_path / "a", podman(PLAIN, "other:2"))
    assert read(first.blobs, first.find()) == read(second.blobs, second.find())


@pytest.mark.parametrize("link", ["../{}/layer.tar", "./../{0}/../{0}/layer.tar"])
def test_a_layer_that_is_a_link_to_another(tmp_path: Path, link: str) -> None:
    twice = Sample(base(), base(), compress=False)
    files = old_docker(twice, "app:1")
    second = f"{1:064x}/layer.tar"
    found = opened(tmp_path, {**files, second: link.format(f"{0:064x}")})
    assert layers_of(found) == twice.layers


def test_a_layer_that_is_a_hard_link(tmp_path: Path) -> None:
    twice = Sample(base(), base(), compress=False)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in old_docker(twice, "app:1").items():
            info = tarfile.TarInfo(name)
            if name == f"{1:064x}/layer.tar":
                info.type, info.linkname = tarfile.LNKTYPE, f"{0:064x}/layer.tar"
            elif isinstance(data, bytes):
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data if isinstance(data, bytes) and not info.linkname else b""))
    (tmp_path / "hard.tar").write_bytes(out.getvalue())
    assert layers_of(Archive.open(tmp_path / "hard.tar")) == twice.layers


def test_several_images_share_layers(tmp_path: Path) -> None:
    one, two = podman(PLAIN, "one:1"), podman(OTHER, "two:1")
    images = json.loads(one["manifest.json"] or "") + json.loads(two["manifest.json"] or "")  # type: ignore[arg-type]
    found = opened(tmp_path, {**one, **two, "manifest.json": dumps(images)})
    assert layers_of(found, "one:1") == PLAIN.layers
    assert layers_of(found, "two:1") == OTHER.layers


def test_a_compressed_archive(tmp_path: Path) -> None:
    (tmp_path / "image.tar.gz").write_bytes(gzip.compress(tar_of(old_docker(PLAIN, "app:1"))))
    with Archive.open(tmp_path / "image.tar.gz") as found:
        assert layers_of(found) == PLAIN.layers


# Writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [old_docker, podman, new_docker])
@pytest.mark.parametrize("sample", [PLAIN, PACKED])
def test_reading_and_writing_keeps_the_bytes(tmp_path: Path, form: Any, sample: Sample) -> None:
    source = opened(tmp_path, form(sample, "app:1", "app:2"))
    archive.write(tmp_path / "copy.tar", [(entry, source.blobs) for entry in source.entries])
    with Archive.open(tmp_path / "copy.tar") as copy:
        assert read(copy.blobs, copy.find("app:2")) == read(source.blobs, source.find("app:1"))
        assert copy.names == source.names
        assert layers_of(copy, "app:1") == sample.layers
    with Layout.open(tmp_path / "copy.tar") as same:
        assert same.find("docker.io/library/app:1").digest == source.find("app:1").digest


def test_the_files_that_docker_reads(tmp_path: Path) -> None:
    source = opened(tmp_path, new_docker(PACKED, "app:1", "127.0.0.1:5000/app:2"))
    archive.write(tmp_path / "copy.tar", [(entry, source.blobs) for entry in source.entries])
    with tarfile.open(tmp_path / "copy.tar") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    layers = [blob_path(blob) for blob in PACKED.layers]
    expected = {"Config": blob_path(PACKED.config), "RepoTags": ["docker.io/library/app:1", "127.0.0.1:5000/app:2"], "Layers": layers}
    assert json.loads(files["manifest.json"]) == [expected]
    top = sha256(PACKED.layers[-1])[7:]
    assert json.loads(files["repositories"]) == {"docker.io/library/app": {"1": top}, "127.0.0.1:5000/app": {"2": top}}
    names = [entry["annotations"]["io.containerd.image.name"] for entry in json.loads(files["index.json"])["manifests"]]
    assert names == ["docker.io/library/app:1", "127.0.0.1:5000/app:2"]


def test_writing_to_a_pipe_gives_the_same_bytes(tmp_path: Path) -> None:
    source = opened(tmp_path, new_docker(PACKED, "app:1"))
    items = [(entry, source.blobs) for entry in source.entries]
    archive.write(tmp_path / "copy.tar", items)
    out = io.BytesIO()
    archive.write(out, items)
    assert out.getvalue() == (tmp_path / "copy.tar").read_bytes()


def test_an_index_is_not_written(tmp_path: Path) -> None:
    inner = index_of(PACKED.descriptor)
    source = Layout.open(write_tar(tmp_path / "l.tar", layout_files(index_of(descriptor(INDEX, inner)), [inner, *PACKED.blobs])))  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="choose one"):
        archive.write(tmp_path / "copy.tar", [(source.find(), source.blobs)])
    archive.write(tmp_path / "copy.tar", [(with_name(source.manifest(), "app:1"), source.blobs)])
    assert layers_of(Archive.open(tmp_path / "copy.tar")) == PACKED.layers


def test_an_artifact_is_not_written(tmp_path: Path) -> None:
    blob = b"model"
    manifest = dumps(
        {"schemaVersion": 2, "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": [descriptor("a/b", blob)]}
    )
    entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    files = layout_files(index_of(entry), [b"{}", blob, manifest])
    source = Layout.open(write_tar(tmp_path / "l.tar", files))  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="images to run"):
        archive.write(tmp_path / "copy.tar", [(source.find(), source.blobs)])
    assert not (tmp_path / "copy.tar").exists()


# What is wrong --------------------------------------------------------------------------------------------------


def test_an_archive_of_docker_before_1_10_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"before 1\.10"):
        opened(tmp_path, {"repositories": b"{}", "x/layer.tar": base(), "x/json": b"{}"})


@pytest.mark.parametrize("form", [old_docker, podman, new_docker])
def test_a_changed_layer_is_found_when_it_is_read(tmp_path: Path, form: Any) -> None:
    files = form(PLAIN, "app:1")
    wrong = {name: data.replace(b"base", b"evil") if data == PLAIN.layers[0] else data for name, data in files.items()}
    found = opened(tmp_path, wrong)
    with pytest.raises(Mismatch):
        layers_of(found)


def images(*values: Any) -> dict[str, Any]:
    return {"manifest.json": dumps(list(values))}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"manifest.json": b"{}"}, InvalidDocument),
        ({"manifest.json": b"null"}, InvalidDocument),
        ({"manifest.json": b'[], "more": 1'}, InvalidDocument),
        ({"manifest.json": b'[], "images": []'}, InvalidDocument),
        ({"manifest.json": b"[" * 100_000}, ImageError),
        (images({"Config": "c", "Layers": ["l", "l"]}), Missing),
        (images({"Config": "config.json", "Layers": []}), InvalidImage),
        (images({"Config": "config.json", "Layers": ["../layer.tar", "layer.tar"]}), Escape),
        (images({"Config": "config.json", "Layers": ["/etc/passwd", "layer.tar"]}), Escape),
        (images({"Config": "config.json", "Layers": ["out", "layer.tar"]}), Escape),
        (images({"Config": "config.json", "Layers": ["round", "layer.tar"]}), Missing),
        (images({"Config": "config.json", "Layers": ["directory", "layer.tar"]}), Missing),
        (images({"Config": "config.json", "Layers": ["packed", "layer.tar"]}), Unsupported),
        (images({"Config": "round", "Layers": ["layer.tar", "layer.tar"]}), Missing),
        (images({"Config": "config.json", "Layers": ["layer.tar", "layer.tar"], "RepoTags": ["UPPER"]}), ImageError),
        (images({"Config": "config.json", "Layers": ["layer.tar", "layer.tar"], "RepoTags": "a"}), InvalidDocument),
    ],
)
def test_an_archive_that_cannot_be_read(tmp_path: Path, changes: dict[str, Any], error: type[ImageError]) -> None:
    files: dict[str, bytes | str | None] = {"config.json": PLAIN.config, "layer.tar": PLAIN.layers[0], "directory": None}
    files |= {"out": "../../../etc/passwd", "round": "round", "packed": b"\xfd7zXZ\0 and so on"}
    with pytest.raises(error):
        opened(tmp_path, files | changes)


def test_a_sparse_layer_is_no_layer(tmp_path: Path) -> None:
    info = tarfile.TarInfo("manifest.json")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "1000000",
        "GNU.sparse.name": "manifest.json",
    }
    body = b"1\n0\n2\n".ljust(512, b"\0") + b"[]"
    info.size = len(body)
    with tarfile.open(tmp_path / "sparse.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(body))
    with pytest.raises(ImageError, match="sparse"):
        Archive.open(tmp_path / "sparse.tar")


def test_a_manifest_of_another_config_is_not_taken(tmp_path: Path) -> None:
    """An added index.json must not decide which image has a name of manifest.json."""
    evil = Sample(base("evil"), tar_of({"one": b"evil"}), compress=False)
    files = new_docker(PLAIN, "app:1", index=index_of(named(evil.descriptor, "1")))
    found = opened(tmp_path, files | {blob_path(blob): blob for blob in evil.blobs})
    assert layers_of(found, "app:1") == PLAIN.layers
    entry = found.find("app:1")
    assert Manifest.parse(read(found.blobs, entry), entry.media_type).config == Descriptor.of(
        PLAIN.config, "application/vnd.docker.container.image.v1+json"
    )


@pytest.mark.parametrize("lacking", ["config.json", "layer.tar"])
def test_a_file_that_an_archive_lacks_is_named(lacking: str, tmp_path: Path) -> None:
    """The file is a docker-archive, so the error names only the missing file."""
    layer = Layer.from_tar(io.BytesIO(tar_of({"a": b"1"})), compression="none")
    with layer.uncompressed() as tar:
        parts = {"layer.tar": tar.read(), "config.json": Image.of(ImageConfig(), [layer]).config_data}
    parts["manifest.json"] = b'[{"Config":"config.json","RepoTags":["app:1"],"Layers":["layer.tar"]}]'
    (tmp_path / "app.tar").write_bytes(tar_of({name: data for name, data in parts.items() if name != lacking}))
    with pytest.raises(Missing, match=f"there is no {lacking} in .*app.tar"):
        Image.open(tmp_path / "app.tar")


@pytest.mark.parametrize("compress", [lzma.compress, bz2.compress, gzip.compress])
def test_an_archive_may_be_compressed(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    image = Image.of(ImageConfig(), [Layer.from_tar(io.BytesIO(tar_of({"a": b"1"})))])
    image.save(tmp_path / "app.tar", "app:1", docker=True)
    (tmp_path / "packed").write_bytes(compress((tmp_path / "app.tar").read_bytes()))
    assert Image.open(tmp_path / "packed").digest == image.digest
