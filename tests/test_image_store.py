"""The store: names, sharing, garbage collection, and faults that fsck finds."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from sample_images import INDEX, Sample, base, descriptor, image_of, index_of, tar_of

from containerkit.image.blobs import MemoryBlobs
from containerkit.image.descriptor import Descriptor
from containerkit.image.digest import Digest
from containerkit.image.errors import ImageError, InvalidDocument, InvalidReference, Mismatch, Missing, Unsupported
from containerkit.image.files import layout
from containerkit.image.files.layout import Layout
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.index import Index
from containerkit.image.layer import Layer
from containerkit.image.tar_from_tree import TarOptions
from containerkit.store.store import Store, default_directory

BASE = base()
ONE = Sample(BASE, tar_of({"one": b"1", "etc/.wh.name": b""}), Cmd=["one"])
TWO = Sample(BASE, tar_of({"two": b"2"}), Cmd=["two"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def blobs_in(store: Store) -> set[Digest]:
    return set(store.blobs)


def digests(*samples: Sample) -> set[Digest]:
    return {Digest.of(blob) for sample in samples for blob in sample.blobs}


# Putting and getting --------------------------------------------------------------------------------------------


def test_an_image_comes_back_byte_for_byte(store: Store) -> None:
    put = store.put(image_of(ONE), "app:1")
    for found in (put, store.get("app:1"), Store(store.directory).get("docker.io/library/app:1")):
        assert (found.data, found.config_data) == (ONE.manifest, ONE.config)
        for layer, blob in zip(found.layers, ONE.layers, strict=True):
            with layer.compressed() as stream:
                assert stream.read() == blob


def test_other_programs_can_read_the_store_as_a_layout(store: Store, tmp_path: Path) -> None:
    store.put(image_of(ONE), "app:1")
    assert Layout.open(store.directory).find("app:1").digest == ONE.digest
    Layout.open(store.directory).save(tmp_path / "copy.tar")
    assert Image.open(tmp_path / "copy.tar") == image_of(ONE)


@pytest.mark.parametrize(
    "how", ["app", "app:latest", "docker.io/library/app", "digest", "repository and digest", "id", "short", "short id"]
)
def test_an_image_is_found_by_name_digest_and_id(store: Store, how: str) -> None:
    store.put(image_of(ONE), "app")
    store.put(image_of(TWO), "other")
    config = Digest.of(ONE.config)
    short = {"short": Digest(ONE.digest).short, "short id": config.short, "digest": ONE.digest, "id": config}
    name = (short | {"repository and digest": f"app@{ONE.digest}"}).get(how, how)
    assert store.get(name).digest == ONE.digest


@pytest.mark.parametrize(
    "name", ["three", "app:2", "abc", "ffffffffffff", f"app@sha256:{'0' * 64}", f"sha256:{'0' * 64}", "NOT a name", ""]
)
def test_missing_images_are_missing(store: Store, name: str) -> None:
    store.put(image_of(ONE), "app")
    store.put(image_of(TWO), "other")
    with pytest.raises(Missing):
        store.get(name)


def test_blobs_and_layers_are_kept_once(store: Store) -> None:
    store.put(image_of(ONE), "one")
    store.put(image_of(TWO), "two", "deux")
    assert blobs_in(store) == digests(ONE, TWO)
    one, two = store.layers("one"), store.layers("two")
    assert one[0] == two[0]
    assert one[1] != two[1]
    assert len(list(store.trees)) == 3
    before = os.stat(one[0] / "big")
    assert store.layers(image_of(TWO)) == two
    assert os.stat(one[0] / "big") == before


def test_layers_are_unpacked_in_overlay_form(store: Store) -> None:
    lower, upper = store.layers(image_of(ONE))
    assert (lower / "etc/name").read_bytes() == b"base"
    assert os.readlink(lower / "etc/link") == "name"
    whiteout = os.lstat(upper / "etc/name")
    assert (stat.S_ISCHR(whiteout.st_mode), whiteout.st_rdev) == (True, 0)
    assert stat.S_IMODE(os.stat(lower).st_mode) == 0o755


def test_the_same_layer_compressed_in_another_way_is_unpacked_once(store: Store) -> None:
    plain = Sample(*ONE.tars, compress=False)
    assert store.layers(image_of(ONE)) == store.layers(image_of(plain))


def test_an_index_is_kept_with_all_its_images(store: Store) -> None:
    arm = Sample(base("arm"), arch="arm64")
    inner = index_of(*(s.descriptor | {"platform": {"os": "linux", "architecture": s.arch}} for s in (ONE, arm)))
    blobs = MemoryBlobs({Digest.of(blob): blob for blob in [inner, *ONE.blobs, *arm.blobs]})
    index = store.put(Index.load(blobs, Descriptor.from_json(descriptor(INDEX, inner))), "many")
    assert index.data == store.index("many").data == inner
    assert store.get("many", "linux/arm64").digest == arm.digest
    assert store.get("many", "linux/amd64").digest == ONE.digest
    store.gc()
    assert blobs_in(store) == digests(ONE, arm) | {Digest.of(inner)}
    assert store.get(Digest.of(arm.config).short, "linux/arm64").digest == arm.digest


def test_a_layout_is_taken_in(store: Store, tmp_path: Path) -> None:
    layout.write(tmp_path / "one.tar", [(image_of(ONE).descriptor, image_of(ONE).blobs)])
    with Layout.open(tmp_path / "one.tar") as found:
        store.add(found.find(), found.blobs, "app")
    assert store.get("app").digest == ONE.digest


# Names ----------------------------------------------------------------------------------------------------------


def test_a_name_that_moves_leaves_an_image_without_one(store: Store) -> None:
    store.put(image_of(ONE), "app")
    store.put(image_of(TWO), "app")
    assert {(stored.digest, stored.familiar) for stored in store.images()} == {(ONE.digest, ()), (TWO.digest, ("app:latest",))}
    store.tag(ONE.digest, "old")
    assert {(stored.digest, stored.familiar) for stored in store.images()} == {(ONE.digest, ("old:latest",)), (TWO.digest, ("app:latest",))}


def test_an_unnamed_image_stays_until_gc_untagged(store: Store) -> None:
    store.put(image_of(ONE))
    store.put(image_of(ONE))
    assert [stored.names for stored in store.images()] == [()]
    assert store.gc().blobs == ()
    assert store.get(ONE.digest).data == ONE.manifest
    gone = store.gc(untagged=True)
    assert gone.images == (ONE.digest,)
    assert set(gone.blobs) == digests(ONE)
    assert (store.images(), blobs_in(store)) == ((), set())


def test_tag_and_untag(store: Store) -> None:
    store.put(image_of(ONE), "a")
    store.tag("a", "b", "127.0.0.1:5000/c:1")
    assert store.names == ("docker.io/library/a:latest", "docker.io/library/b:latest", "127.0.0.1:5000/c:1")
    store.tag("a", "a")
    store.untag("a")
    store.untag("127.0.0.1:5000/c:1")
    assert store.names == ("docker.io/library/b:latest",)
    store.untag("b")
    assert store.images() == ()
    with pytest.raises(Missing):
        store.untag("b")


def test_remove_takes_all_names(store: Store) -> None:
    store.put(image_of(ONE), "a", "b")
    store.put(image_of(TWO), "c")
    assert store.remove(Digest(ONE.digest).short) == ("docker.io/library/a:latest", "docker.io/library/b:latest")
    assert [stored.digest for stored in store.images()] == [TWO.digest]


@pytest.mark.parametrize("name", ["UPPER", "a:b:c", f"a@{ONE.digest}", "a b", ""])
def test_a_malformed_name_changes_nothing(store: Store, name: str) -> None:
    store.put(image_of(ONE), "a")
    for change in (lambda: store.tag("a", "good", name), lambda: store.put(image_of(TWO), "good", name)):
        with pytest.raises(InvalidReference):
            change()
    assert store.names == ("docker.io/library/a:latest",)


def test_unknown_fields_of_the_index_stay(store: Store) -> None:
    path = store.directory / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"x-other": [1]}))
    store.put(image_of(ONE), "a")
    assert json.loads(path.read_text())["x-other"] == [1]


def test_concurrent_tags_lose_no_name(store: Store) -> None:
    store.put(image_of(ONE), "app")
    failures = []

    def work(number: int) -> None:
        try:
            own = Store(store.directory)
            for turn in range(5):
                own.put(image_of(TWO if turn % 2 else ONE), f"n{number}:{turn}")
                own.gc()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.names) == 31
    assert store.fsck() == ()


# Collecting -----------------------------------------------------------------------------------------------------


def test_gc_removes_only_what_no_name_leads_to(store: Store) -> None:
    store.put(image_of(ONE), "one")
    store.put(image_of(TWO), "two")
    store.layers("one"), store.layers("two")
    store.untag("one")
    gone = store.gc()
    assert set(gone.blobs) == digests(ONE) - digests(TWO)
    assert gone.layers == (image_of(ONE).chain_ids[1],)
    assert gone.bytes == sum(len(blob) for blob in ONE.blobs if blob not in TWO.blobs)
    assert blobs_in(store) == digests(TWO)
    assert set(store.trees) == set(image_of(TWO).chain_ids)
    assert list((store.directory / "staging").iterdir()) == []
    assert store.gc() == type(gone)((), (), (), 0)


def test_held_layers_are_not_collected(store: Store) -> None:
    store.put(image_of(ONE), "one")
    with store.hold("one") as layers:
        store.remove("one")
        assert store.gc(untagged=True).blobs == ()
        assert all(layer.is_dir() for layer in layers)
        assert Store(store.directory).gc().layers == ()
    assert set(store.gc().blobs) == digests(ONE)
    assert not any(layer.exists() for layer in layers)


def test_unfinished_additions_are_not_collected(store: Store) -> None:
    blob = ONE.layers[0]
    image = image_of(ONE)
    with store.session() as session:
        layer = image.manifest.layers[0]
        assert not session.has(layer)
        with image.layers[0].compressed() as stream:
            session.add(layer, stream)
        store.gc()
        assert session.has(layer)
    assert blobs_in(store) == {Digest.of(blob)}
    store.gc()
    assert blobs_in(store) == set()


def test_gc_removes_nothing_when_it_cannot_know(store: Store) -> None:
    store.put(image_of(ONE), "one")
    store.put(image_of(TWO), "two")
    store.untag("two")
    os.unlink(store.blobs.path(Digest(ONE.digest)))
    before = blobs_in(store)
    with pytest.raises(ImageError, match="one:latest"):
        store.gc()
    assert blobs_in(store) == before
    store.untag("one")
    store.gc()
    assert blobs_in(store) == set()


def test_usage_counts_shared_blobs_once(store: Store) -> None:
    store.put(image_of(ONE), "one")
    first = store.usage()
    assert (first.blobs, first.layers, first.reclaimable) == (4, 0, 0)
    store.put(image_of(TWO), "two")
    store.layers("one"), store.layers("two")
    second = store.usage()
    assert (second.blobs, second.layers) == (7, 3)
    assert second.layer_bytes >= 120_000
    store.untag("two")
    third = store.usage()
    assert third.reclaimable == store.usage().blob_bytes - first.blob_bytes > 0


# What goes wrong ------------------------------------------------------------------------------------------------


def evil(which: str) -> Image:
    """Return an image whose blobs do not match their digests."""
    blobs = {Digest.of(blob): blob for blob in ONE.blobs}
    victim = Digest.of({"layer": ONE.layers[1], "config": ONE.config}[which])
    image = image_of(ONE)
    blobs[victim] = blobs[victim][:-1] + b"X"
    return Image(image.manifest, image.config_data, MemoryBlobs(blobs))


def test_a_wrong_layer_leaves_the_store_unchanged(store: Store) -> None:
    store.put(image_of(TWO), "app")
    before = (store.directory / "index.json").read_bytes()
    with pytest.raises(Mismatch):
        store.put(evil("layer"), "app")
    with pytest.raises(Mismatch):
        store.layers(evil("layer"))
    assert (store.directory / "index.json").read_bytes() == before
    store.gc()
    assert blobs_in(store) == digests(TWO)
    assert image_of(ONE).chain_ids[1] not in set(store.trees)
    assert store.fsck() == ()


def test_a_layer_with_a_wrong_diff_id_is_not_unpacked(store: Store) -> None:
    liar = Sample(BASE)
    liar.config = liar.config.replace(liar.diff_ids[0].encode(), f"sha256:{'1' * 64}".encode())
    manifest = json.loads(liar.manifest)
    manifest["config"] = descriptor(manifest["config"]["mediaType"], liar.config)
    liar.manifest = json.dumps(manifest).encode()
    with pytest.raises(Mismatch):
        store.layers(image_of(liar))
    assert set(store.trees) == set()
    assert list((store.directory / "staging").iterdir()) == []


def test_fsck_finds_and_repairs_a_changed_blob(store: Store) -> None:
    store.put(image_of(ONE), "app")
    path = Path(store.blobs.path(Digest.of(ONE.layers[0])))
    path.write_bytes(ONE.layers[0][:-1] + b"X")
    (found,) = store.fsck()
    assert (found.what, found.name, found.repaired) == ("blob", Digest.of(ONE.layers[0]), "")
    first, second = store.fsck(repair=True)
    assert first.repaired
    assert (second.what, second.name) == ("image", "docker.io/library/app:latest")
    assert "missing" in second.detail
    assert [p.read_bytes()[-1:] for p in (store.directory / "damaged").iterdir()] == [b"X"]
    store.put(image_of(ONE))
    assert store.fsck() == ()


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("how", ["changed", "missing", "more", "mode", "label", "stranger"])
def test_fsck_finds_and_repairs_a_changed_layer(store: Store, how: str, held: bool) -> None:
    store.put(image_of(ONE), "app")
    lower, _ = layers = store.layers("app")
    if how == "changed":
        status = os.stat(lower / "big")
        (lower / "big").write_bytes(b"BASE" * 30_000)
        os.utime(lower / "big", ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "missing":
        (lower / "etc/link").unlink()
    elif how == "more":
        (lower / "etc/more").touch()
    elif how == "mode":
        (lower / "big").chmod(0o4755)
    elif how == "label":
        (lower.parent / "layer.json").write_text("{}")
    else:
        (store.directory / "layers/sha256/stranger").mkdir()
    (found,) = store.fsck()
    assert (found.what, found.repaired) == ("layer", "")
    if held and how != "stranger":
        with store.hold("app"):
            (again,) = store.fsck(repair=True)
        assert again == found
        return
    (again,) = store.fsck(repair=True)
    assert again.repaired
    assert store.fsck() == ()
    assert store.layers("app") == layers
    assert (lower / "big").read_bytes() == b"base" * 30_000
    assert store.fsck() == ()


def test_fsck_finds_a_missing_blob_an_unknown_layer_and_a_bad_index(store: Store) -> None:
    store.put(image_of(ONE), "app")
    os.unlink(store.blobs.path(Digest.of(ONE.config)))
    (store.directory / "blobs/sha256/stranger").write_bytes(b"")
    assert [(p.what, bool(p.repaired)) for p in store.fsck(repair=True)] == [("blob", True), ("image", False)]
    (store.directory / "index.json").write_bytes(b"[]")
    assert [p.what for p in store.fsck(repair=True)] == ["index"]


def test_a_short_blob_is_written_again(store: Store) -> None:
    store.put(image_of(ONE), "app")
    Path(store.blobs.path(Digest.of(ONE.layers[0]))).write_bytes(b"")
    store.put(image_of(ONE), "app")
    assert store.fsck() == ()


def test_a_store_of_another_form_is_refused(store: Store) -> None:
    with pytest.raises(Unsupported, match="attributes"):
        Store(store.directory, xattrs="trusted" if store.trees.xattrs == "user" else "user")
    (store.directory / "store.json").write_text('{"form": 1, "xattrs": "user"}')
    with pytest.raises(Unsupported, match="form 1"):
        Store(store.directory)


def test_the_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CONTAINERKIT_STORE", raising=False)
    expected = tmp_path if os.geteuid() else Path("/var/lib")
    assert default_directory() == expected / "containerkit/store"
    monkeypatch.setenv("CONTAINERKIT_STORE", str(tmp_path / "mine"))
    assert default_directory() == tmp_path / "mine"


def test_the_owners_of_files_are_recorded(store: Store) -> None:
    about = store.directory / "store.json"
    said = json.loads(about.read_bytes())
    assert said["owners"]["chown"] == (os.geteuid() == 0)
    other = Ids.shifted(100000)
    with pytest.raises(Unsupported, match="have the ids"):
        Store(store.directory, ids=other)
    assert Store(store.directory.parent / "other", ids=other).trees.ids == other
    assert Store(store.directory.parent / "other").trees.ids == other, "as it was made"
    inside = {"uids": [[0, 1000, 1], [1, 100000, 65536]], "gids": [[0, 1000, 1], [1, 100000, 65536]]}
    about.write_text(json.dumps(said | {"owners": said["owners"] | {"namespace": inside}}))
    with pytest.raises(Unsupported, match="inside `containerkit unshare`"):
        Store(store.directory)
    for damaged in ({"uids": []}, {"gids": [[0, 0, -1]]}, {"uids": [[0, 0]]}, {"chown": None}, {"namespace": None}):
        about.write_text(json.dumps(said | {"owners": said["owners"] | damaged}))
        with pytest.raises(InvalidDocument):
            Store(store.directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_cannot_use_an_ordinary_users_store(tmp_path: Path) -> None:
    Store(tmp_path / "store", ids=Ids.mine())
    os.chown(tmp_path / "store", 1000, 1000)
    with pytest.raises(Unsupported, match="belong to the user 1000"):
        Store(tmp_path / "store")


def test_other_users_cannot_read_the_store(store: Store) -> None:
    assert stat.S_IMODE(os.stat(store.directory).st_mode) == 0o700


def test_concurrent_holders_unpack_a_layer_once(store: Store) -> None:
    image, start, found = image_of(Sample(tar_of({f"f{n}": b"x" * n for n in range(500)}))), threading.Barrier(4), []

    def work() -> None:
        start.wait()
        found.append((store.layers(image), os.stat(store.layers(image)[0]).st_ino))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


# What builds remember -------------------------------------------------------------------------------------------


def remember(store: Store, layer: Layer) -> Path:
    """Write a record into the build cache, as a build does."""
    path = store.directory / "build" / "cache" / "ab" / "abcd"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"created": "", "layer": layer.descriptor.to_json(), "diff_id": layer.diff_id}))
    return path


def test_the_build_cache_stays_until_gc_cache(store: Store) -> None:
    layer = Layer.from_tar(io.BytesIO(BASE), store.blobs)
    path = remember(store, layer)
    (path.parent / "damaged").write_text("{")
    assert store.gc(dry_run=True, cache=True).blobs == (layer.digest,)
    assert store.gc().blobs == ()
    assert store.usage().reclaimable == 0
    assert store.gc(cache=True).blobs == (layer.digest,)
    assert (blobs_in(store), path.exists()) == (set(), False)


def test_a_record_that_was_never_finished_is_swept(store: Store) -> None:
    path = remember(store, Layer.from_tar(io.BytesIO(BASE), store.blobs))
    left, begun = path.with_name(".new-left"), path.with_name(".new-begun")
    left.touch()
    begun.touch()
    os.utime(left, (0, 0))
    store.gc()
    assert sorted(os.listdir(path.parent)) == [".new-begun", "abcd"]


def test_a_dry_run_of_gc_removes_nothing(store: Store) -> None:
    store.put(image_of(ONE))
    told = store.gc(untagged=True, dry_run=True)
    assert (set(told.blobs), told.images) == (digests(ONE), (ONE.digest,))
    assert blobs_in(store) == digests(ONE)
    assert store.gc(untagged=True) == told


def test_gc_of_named_images_leaves_what_is_held(store: Store) -> None:
    store.put(image_of(ONE), "one")
    store.put(image_of(TWO), "two")
    with store.hold("one"):
        assert store.gc(named=True).images == (TWO.digest,)
    assert store.names == ("docker.io/library/one:latest",)
    store.gc(named=True)
    assert (store.images(), blobs_in(store)) == ((), set())


def test_files_of_killed_writers_are_removed(store: Store) -> None:
    left, begun = store.directory / "blobs/sha256/.part-left", store.directory / "blobs/sha256/.part-begun"
    left.write_bytes(b"x")
    begun.write_bytes(b"y")
    os.utime(left, (0, 0))
    with store.blobs.writer() as writer:
        writer.write(b"z")
        own = next(p for p in left.parent.iterdir() if p not in (left, begun))
        os.utime(own, (0, 0))
        (problem,) = store.fsck()
        assert ".part-left" in problem.name
        store.gc()
        assert {own, begun} == set(left.parent.iterdir())
        writer.commit()
    assert store.fsck() == ()


# Adopting -------------------------------------------------------------------------------------------------------


def upper_of(directory: Path, xattrs: str = "user") -> Path:
    """Return an upper directory as overlayfs leaves it."""
    (directory / "etc").mkdir(parents=True)
    (directory / "etc/new").write_bytes(b"new")
    os.utime(directory / "etc/new", ns=(0, 1_600_000_000_123_456_789))
    (directory / "etc/link").symlink_to("new")
    os.mknod(directory / "etc/name", stat.S_IFCHR, 0)
    (directory / b"d\xff".decode(errors="surrogateescape")).mkdir(mode=0o700)
    os.setxattr(directory / "etc", f"{xattrs}.overlay.impure", b"y")
    os.setxattr(directory / "etc/new", f"{xattrs}.overlay.origin", b"...")
    os.setxattr(directory / "etc", f"{xattrs}.overlay.opaque", b"y")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(directory)
        server.bind("socket")
        os.chdir(here)
    return directory


def test_an_upper_directory_becomes_a_layer(store: Store, tmp_path: Path) -> None:
    upper = upper_of(tmp_path / "upper", store.trees.xattrs)
    inode = (upper / "etc/new").stat().st_ino
    below = store.put(image_of(Sample(BASE)), "base")
    form = TarOptions(ids=store.trees.ids)
    layer = Layer.from_directory(upper, store.blobs, upper=True, form=form)
    image = below.append(layer)
    path = store.adopt(layer, upper, image.chain_ids[-1], form=form)
    assert not upper.exists()
    assert (path / "etc/new").stat().st_ino == inode
    assert (path / "etc/new").stat().st_mtime_ns == 1_600_000_000 * 10**9
    assert not (path / "socket").exists()
    store.put(image, "app")
    assert store.layers("app")[-1] == path
    assert store.fsck() == ()


@pytest.mark.parametrize("how", ["ids", "attributes", "there"])
def test_an_upper_directory_that_cannot_move_is_unpacked(store: Store, tmp_path: Path, how: str) -> None:
    upper = upper_of(tmp_path / "upper", store.trees.xattrs)
    form = TarOptions(ids=Ids.shifted(0) if how == "ids" else store.trees.ids)
    layer = Layer.from_directory(upper, store.blobs, upper=True, form=TarOptions(ids=store.trees.ids))
    if how == "attributes":
        os.setxattr(upper / "etc/new", "user.overlay.whiteout", b"y")
    if how == "there":
        with store.session() as session:
            session.unpack(layer, layer.diff_id)
    path = store.adopt(layer, upper, layer.diff_id, form=form)
    assert (path / "etc/new").read_bytes() == b"new"
    assert upper.exists()
    with pytest.raises(Missing):
        Store(tmp_path / "other").adopt(layer, upper, layer.diff_id)


def test_names_that_are_not_utf8_are_recorded(store: Store) -> None:
    name = b"d\xff/f".decode(errors="surrogateescape")
    image = image_of(Sample(tar_of({"a": b""}), tar_of({name: b"x"})))
    store.put(image, "app")
    store.layers("app")
    assert store.fsck() == ()
