"""The corpus of Dockerfiles, built by buildah: the same trees and configs, but for what docker publishes otherwise."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfiles import BASE, PARENT, Built, Case, base_image, cases, differences
from peertools import Containers

pytestmark = [pytest.mark.peer, pytest.mark.root]

CASES = cases()
SHARED = "/dev/shm"
# Format docker: an OCI config has no HEALTHCHECK, ONBUILD and SHELL for buildah.  The capabilities are docker's.
BUD = ["bud", "--isolation=chroot", "--format=docker", "--identity-label=false", "--pull=never", "--cap-add=MKNOD,NET_RAW,AUDIT_WRITE"]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Memory where there is some: thousands of small files are made here."""
    directory = tempfile.mkdtemp(prefix="ck-corpus-", dir=SHARED if os.path.isdir(SHARED) else None)
    yield Path(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def buildah(place: Path) -> Containers:
    """No daemon: a directory with the base in it."""
    pytest.importorskip("elftools", reason="needs pyelftools: pip install containerkit[rootfs]")
    containers = Containers.at(place / "buildah")
    base_image(place / "base").save(place / "oci", "base")
    containers.skopeo("copy", "-q", f"oci:{place}/oci:base", f"containers-storage:{BASE}:latest")
    return containers


def theirs(case: Case, buildah: Containers, context: Path) -> Built:
    """
    :raises AssertionError: buildah does not build it
    """
    name, began = f"localhost/{case.name}:latest", time.time()
    if case.has_parent:
        buildah.buildah(*BUD, "-q", "-f", context / "Dockerfile.parent", "-t", PARENT, context)
    options = [f"--build-arg={key}={value}" for key, value in case.args.items()]
    options += [f"--secret=id={key},src={path}" for key, path in case.write_secrets(context.with_suffix(".secrets")).items()]
    options += [f"--target={case.target}"] if case.target else []
    buildah.buildah(*BUD, *options, "-f", context / "Dockerfile", "-t", name, context)
    return Built.of(buildah.root_of(name), buildah.config_of(name), began)


@pytest.mark.parametrize("case", [each for each in CASES if not each.buildah], ids=lambda case: case.name)
def test_buildah_builds_it_as_published(case: Case, buildah: Containers, tmp_path: Path) -> None:
    context = case.prepare(tmp_path / "context")
    if case.fails:
        with pytest.raises(AssertionError, match="exit code"):
            theirs(case, buildah, context)
        return
    wrong = differences(case.expected, theirs(case, buildah, context))
    assert [each for each in wrong if not each.removeprefix("/").startswith(tuple(f"{name}:" for name in case.differs))] == []


def test_the_corpus_says_what_it_expects() -> None:
    """Where buildah is no judge something else must be."""
    assert len(CASES) >= 60
    for case in CASES:
        expected = {*case.expected.get("tree", {}), *case.expected.get("config", {})}
        assert expected or case.fails or not case.buildah, case.name
        assert {*case.differs} <= expected, case.name
