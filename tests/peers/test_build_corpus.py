"""The corpus of Dockerfiles, built by buildah: the same trees and configs, but for what docker publishes otherwise."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfiles import BASE, PARENT, Built, Case, base_image, cases, compare, differences
from peertools import Containers, at_a_time, in_memory, same_tree

import containerkit as ck
from containerkit.builder import build
from containerkit.errors import ContainerKitError
from containerkit.image.image import Image
from containerkit.store.store import Store

pytestmark = [pytest.mark.peer, pytest.mark.root, pytest.mark.timeout(600)]

CASES = cases()
BEGAN = time.time()  # a build may be cached, from a case before: what is younger than this was made by a build
# Format docker: an OCI config has no HEALTHCHECK, ONBUILD and SHELL for buildah.  The capabilities are docker's.
BUD = ["bud", "--isolation=chroot", "--format=docker", "--identity-label=false", "--pull=never", "--cap-add=MKNOD,NET_RAW,AUDIT_WRITE"]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with in_memory("corpus") as directory:
        yield directory


@pytest.fixture(scope="module")
def base(place: Path) -> Image:
    return base_image(place / "base")


@pytest.fixture(scope="module")
def store(place: Path, base: Image) -> Store:
    store = Store(place / "store")
    store.put(base, BASE)
    return store


@pytest.fixture(scope="module")
def built(place: Path, base: Image, request: pytest.FixtureRequest) -> dict[str, Built | AssertionError]:
    """What buildah makes of each case that is asked for."""

    def one(buildah: Containers, case: Case) -> Built | AssertionError:
        try:
            return theirs(case, buildah, case.prepare(place / f"{case.name}.theirs"))
        except AssertionError as error:
            return error

    items = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    asked = [case for item in items if not (case := item.callspec.params["case"]).buildah]
    return dict(zip((case.name for case in asked), at_a_time(4, place, base, f"{BASE}:latest", one, asked), strict=True))


def theirs(case: Case, buildah: Containers, context: Path) -> Built:
    """
    :raises AssertionError: buildah does not build it
    """
    name = f"localhost/{case.name}:latest"
    if case.has_parent:
        buildah.buildah(*BUD, "-q", "-f", context / "Dockerfile.parent", "-t", PARENT, context)
    options = [f"--build-arg={key}={value}" for key, value in case.args.items()]
    options += [f"--secret=id={key},src={path}" for key, path in case.write_secrets(context.with_suffix(".secrets")).items()]
    options += [f"--target={case.target}"] if case.target else []
    buildah.buildah(*BUD, *options, "-f", context / "Dockerfile", "-t", name, context)
    return Built.of(buildah.root_of(name), buildah.config_of(name), BEGAN)


def ours(case: Case, store: Store, context: Path) -> Built:
    """
    :raises ContainerKitError: it cannot be built
    """
    if case.has_parent:
        build(context, dockerfile=context / "Dockerfile.parent", tags=[PARENT], store=store)
    secrets = {name: text.encode() for name, text in case.secrets.items()}
    more = {"userns": "host"} if case.name == "run-devices" else {}  # whose root may make devices, as buildah's
    image = build(context, target=case.target, args=case.args, secrets=secrets, store=store, **more)
    image.validate()
    with tempfile.TemporaryDirectory(dir=context.parent) as path:
        image.extract(path)
        with ck.LayerFS(image, readonly=True) as root, root.mounted() as mounted:
            # an overlay counts the links of the layer that a file is in, also those that a layer above has replaced
            same_tree(mounted, Path(path), links=False)
        found = Built.of(Path(path), json.loads(image.config_data), BEGAN)
    assert build(context, target=case.target, args=case.args, secrets=secrets, store=store, **more) == image
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_built_as_published_and_as_buildah_does(case: Case, store: Store, built: dict[str, Built | AssertionError], place: Path) -> None:
    context, there = case.prepare(place / case.name), built.get(case.name)
    if case.fails:
        assert isinstance(there, AssertionError) or case.buildah
        with pytest.raises(ContainerKitError):
            ours(case, store, context)
        return
    here = ours(case, store, context)
    assert differences(case.expected, here) == []
    if not case.buildah:
        assert isinstance(there, Built), there
        assert compare(here, there, case.differs) == []
        known = tuple(f"{name}:" for name in case.differs)
        assert [each for each in differences(case.expected, there) if not each.removeprefix("/").startswith(known)] == []


def test_the_corpus_says_what_it_expects() -> None:
    """Where buildah is no judge something else must be."""
    assert len(CASES) >= 60
    for case in CASES:
        expected = {*case.expected.get("tree", {}), *case.expected.get("config", {})}
        assert expected or case.fails or not case.buildah, case.name
        assert {*case.differs} <= expected, case.name
