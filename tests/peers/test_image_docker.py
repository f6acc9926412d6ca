"""Interchange with docker: what its daemon loads of ours, and what it saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from peertools import dockerd
from rich_images import rich, shown
from trees import look

from containerkit.image.files.archive import Archive
from containerkit.image.image import Image

pytestmark = [pytest.mark.peer, pytest.mark.root]


def test_docker_loads_ours_and_we_what_it_saves(tmp_path: Path) -> None:
    """One daemon for all of it: starting it is what takes time."""
    image = rich(tmp_path / "trees")
    other = image.with_config(cmd=["other"], labels={"x": "y"})
    image.save(tmp_path / "one.tar", "app:1", docker=True)
    other.save(tmp_path / "two.tar", "app:2", docker=True)
    with dockerd(tmp_path / "docker") as docker:
        for file in ("one.tar", "two.tar"):
            docker("load", "-q", "-i", tmp_path / file)
        for each, name in ((image, "app:1"), (other, "app:2")):
            (said,) = json.loads(docker("image", "inspect", name))
            assert (said["Id"], said["RootFS"]["Layers"]) == (each.id, list(each.config.diff_ids))
        docker("save", "-o", tmp_path / "saved.tar", "app:1", "app:2")
        unpacked = tmp_path / "docker/data/vfs/dir"
        expected = without_top(shown(tmp_path / "trees"))
        # its vfs, which has a copy of all that is below for each layer, copies no attributes of users
        plain = {name: without_notes(one) for name, one in expected.items()}
        assert plain in [{name: without_notes(one) for name, one in without_top(path).items()} for path in unpacked.iterdir()]
    with Archive.open(tmp_path / "saved.tar") as found:
        assert set(found.names) == {"docker.io/library/app:1", "docker.io/library/app:2"}
        for each, name in ((image, "app:1"), (other, "app:2")):
            again = Image.load(found.blobs, found.manifest(name))
            again.validate()
            assert (again.id, again.config.diff_ids) == (each.id, each.config.diff_ids)
            again.extract(tmp_path / name)
            assert without_top(tmp_path / name) == expected


def without_top(directory: Path) -> dict[str, tuple[Any, ...]]:
    """The directory itself is of whoever made it."""
    return {name: one for name, one in look(directory).items() if name != "."}


def without_notes(one: tuple[Any, ...]) -> tuple[Any, ...]:
    *before, attributes, links, first = one
    return *before, [pair for pair in attributes if not pair[0].startswith("user.")], links, first
