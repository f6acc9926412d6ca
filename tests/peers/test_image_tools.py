"""Images changed here are read by other tools, and theirs are read here."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from peertools import skopeo, umoci
from sample_images import base, tar_of

from containerkit.image.blobs import MemoryBlobs
from containerkit.image.config import ImageConfig
from containerkit.image.descriptor import Descriptor, Platform
from containerkit.image.digest import Digest
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.media import DOCKER_MANIFEST

pytestmark = pytest.mark.peer


@pytest.fixture
def image() -> Image:
    layers = [base(), tar_of({"etc/.wh.link": b"", "app.js": b"1"}), tar_of({"etc": None, "etc/name": b"new"})]
    made = Image.of(ImageConfig(platform=Platform.here(), cmd=("sh",), labels={"a": "b"}))
    for number, tar in enumerate(layers):
        made = made.append(Layer.from_tar(io.BytesIO(tar)), history=f"layer {number}")
    return made.with_annotations({"x": "y"})


def tree(directory: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(directory)): os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


@pytest.mark.parametrize("change", ["appended", "squashed", "flattened"])
def test_skopeo_reads_it(tmp_path: Path, image: Image, change: str) -> None:
    changed = {"appended": image, "squashed": image.squash(1), "flattened": image.flatten()}[change]
    changed.save(tmp_path / "ours", "app")
    assert skopeo("inspect", "--raw", f"oci:{tmp_path}/ours:app").encode() == changed.data
    said = json.loads(skopeo("inspect", f"oci:{tmp_path}/ours:app"))
    assert (said["Digest"], said["Layers"], said["Labels"]) == (
        changed.digest,
        [each.digest for each in changed.manifest.layers],
        {"a": "b"},
    )


@pytest.mark.parametrize("form", ["oci", "dir", "docker-archive"])
def test_what_skopeo_copies_is_the_same_image(tmp_path: Path, image: Image, form: str) -> None:
    image.save(tmp_path / "ours", "app")
    theirs = f"{form}:{tmp_path}/theirs" + ("" if form == "dir" else ":app:latest")
    skopeo("copy", "-q", f"oci:{tmp_path}/ours:app", theirs)
    if form == "dir":
        assert (tmp_path / "theirs" / "manifest.json").read_bytes() == image.data
        return
    again = Image.open(tmp_path / "theirs")
    again.validate()
    assert (again.config_data, again.config.diff_ids) == (image.config_data, image.config.diff_ids)
    assert form == "docker-archive" or again == image


def test_a_docker_manifest_of_skopeo_can_be_changed(tmp_path: Path, image: Image) -> None:
    image.save(tmp_path / "ours", "app")
    skopeo("copy", "-q", "--format", "v2s2", f"oci:{tmp_path}/ours:app", f"dir:{tmp_path}/d")
    manifest = (tmp_path / "d" / "manifest.json").read_bytes()
    assert b"vnd.docker.distribution.manifest.v2" in manifest
    blobs = {Digest.of(path.read_bytes()): path.read_bytes() for path in (tmp_path / "d").iterdir()}
    docker = Image.load(MemoryBlobs(blobs), Descriptor.of(manifest, DOCKER_MANIFEST))
    changed = docker.append(Layer.from_tar(io.BytesIO(tar_of({"more": b"1"})))).squash(2)
    changed.validate()
    changed.save(tmp_path / "changed.tar", "app:1", docker=True)
    said = json.loads(skopeo("inspect", "--config", f"docker-archive:{tmp_path}/changed.tar"))
    assert said["rootfs"]["diff_ids"] == list(changed.config.diff_ids)


@pytest.mark.root
def test_umoci_unpacks_the_same_tree(tmp_path: Path, image: Image) -> None:
    for name, changed in (("app", image), ("squashed", image.squash(1)), ("flat", image.flatten())):
        changed.save(tmp_path / "ours", name)
        changed.extract(tmp_path / f"{name}-ours")
        umoci("unpack", "--image", f"{tmp_path}/ours:{name}", tmp_path / name)
        assert tree(tmp_path / name / "rootfs") == tree(tmp_path / f"{name}-ours") == tree(tmp_path / "app-ours")
