"""One set of limits for every way in: the same bomb is refused wherever it comes from, and the message says how to lift the limit."""

from __future__ import annotations

import bz2
import gzip
import http.server
import io
import lzma
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trees import tar

from containerkit.builder import build, fetching
from containerkit.cli import main
from containerkit.errors import BuildError
from containerkit.image import merge, mutate
from containerkit.image.blobs import MemoryBlobs
from containerkit.image.config import ImageConfig
from containerkit.image.errors import ImageError, LimitExceeded
from containerkit.image.files.opening import open_source
from containerkit.image.ids import Ids
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.image.limits import Limits
from containerkit.image.tar import Entry
from containerkit.image.validate import mismatches
from containerkit.store.store import Store

COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}
ZEROS = tar((Entry(b"zeros"), bytes(8 << 20)))
DEEP = tar((Entry(b"d/" * 300 + b"f"), b"x"))


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """A bomb need not be large to be tried."""
    before = Limits.default()
    Limits(ratio=100, ratio_from=1 << 20).make_default()
    yield
    before.make_default()


class Site(http.server.BaseHTTPRequestHandler):
    """Gives a bomb; and of ``/slow`` a byte now and then."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path != "/slow":
            self.wfile.write(gzip.compress(ZEROS))
            return
        try:
            for _ in range(600):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            return  # the other side has had enough

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def image_of(data: bytes) -> Image:
    """An image with a layer whose bytes nobody has looked at."""
    before = Limits.default()
    Limits(ratio=1 << 40).make_default()
    try:
        return Image.of(ImageConfig(), [Layer.from_tar(io.BytesIO(data), MemoryBlobs(), compression="none")] * 2)
    finally:
        before.make_default()


def stored(place: Path, image: Image) -> None:
    store = Store(place / "store")
    with store.hold(store.put(image, "app")):
        pass


def checked(image: Image) -> None:
    for text in mismatches(image):
        raise ImageError(text)


LAYER: dict[str, Callable[[Path, Image], object]] = {
    "unpack": lambda place, image: image.layers[0].unpack(place / "unpacked", ids=Ids.usual()),
    "extract": lambda place, image: image.extract(place / "tree"),
    "store": stored,
    "flatten": lambda place, image: image.flatten(),
    "squash": lambda place, image: image.append(image.layers[0]).squash(1),
    "export": lambda place, image: merge.write(image.layers, lambda block: None),
    "open": lambda place, image: image.layers[0].open("zeros").close(),
    "entries": lambda place, image: list(image.layers[0].entries()),
    "without compression": lambda place, image: mutate.plain(image),
    "validate": lambda place, image: checked(image),
}


@pytest.mark.parametrize("way", LAYER)
def test_a_layer_that_is_a_bomb(way: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="--limit ratio=none"):
        LAYER[way](tmp_path, image_of(gzip.compress(ZEROS)))
    Limits.default().lifted(["ratio=none"]).make_default()
    (tmp_path / "again").mkdir()
    LAYER[way](tmp_path / "again", image_of(gzip.compress(ZEROS)))


@pytest.mark.parametrize("way", ["unpack", "extract", "store", "flatten", "squash", "export", "open"])
def test_a_layer_that_is_deep(way: str, tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="--limit depth=none"):
        LAYER[way](tmp_path, image_of(DEEP))


@pytest.mark.parametrize("kind", COMPRESS)
def test_an_archive_that_is_a_bomb(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(COMPRESS[kind](ZEROS))
    with pytest.raises(LimitExceeded, match="--limit ratio=none"):
        open_source(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_tar_that_is_imported(kind: str) -> None:
    with pytest.raises(LimitExceeded, match="--limit ratio=none"):
        Layer.from_tar(io.BytesIO(COMPRESS[kind](ZEROS)))
    assert Layer.from_tar(io.BytesIO(COMPRESS[kind](tar((Entry(b"f"), b"x"))))).media_type.endswith("gzip")


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("way", ["ADD", "context"])
def test_a_build_that_is_given_a_bomb(kind: str, way: str, tmp_path: Path) -> None:
    path = tmp_path / "context" / "bomb"
    path.parent.mkdir()
    path.write_bytes(COMPRESS[kind](ZEROS))
    dockerfile = b"FROM scratch\nADD bomb /\n" if way == "ADD" else b"FROM scratch\nCOPY nothing /\n"
    with pytest.raises(BuildError, match="--limit ratio=none"):
        build(path.parent if way == "ADD" else path, dockerfile=dockerfile, store=Store(tmp_path / "store"))


def test_a_build_that_fetches_a_bomb(site: str, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    dockerfile = f"FROM scratch\nADD --unpack=true {site}/a.tar.gz /\n".encode()
    with pytest.raises(BuildError, match="--limit ratio=none"):
        build(tmp_path / "context", dockerfile=dockerfile, store=Store(tmp_path / "store"))


def test_xz_that_wants_much_memory_is_no_plain_file(tmp_path: Path) -> None:
    """A directory that cannot be looked into is not silently copied as it is."""
    (tmp_path / "context").mkdir()
    packed = lzma.compress(tar((Entry(b"f"), b"x")), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}])
    (tmp_path / "context" / "a.tar.xz").write_bytes(packed)
    with pytest.raises(BuildError, match="--limit window=none"):
        build(tmp_path / "context", dockerfile=b"FROM scratch\nADD a.tar.xz /\n", store=Store(tmp_path / "store"))


def test_a_server_that_is_slow(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps no build waiting."""
    monkeypatch.setattr(fetching, "WINDOW", 0.5)
    with pytest.raises(BuildError, match="--limit speed=none"):
        fetching.fetch(f"{site}/slow", tmp_path)
    (tmp_path / "slow").unlink()
    with pytest.raises(LimitExceeded, match="--limit seconds=none"):
        fetching.fetch(f"{site}/slow", tmp_path, limits=Limits(speed=0, seconds=1))


def test_limits_are_lifted_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_of(gzip.compress(ZEROS)).save(tmp_path / "app.tar", "app:1", docker=True)
    store = ["--store", str(tmp_path / "store")]
    assert main([*store, "load", "-i", str(tmp_path / "app.tar")]) == 0
    assert main([*store, "export", "-o", str(tmp_path / "out"), "app:1"]) != 0
    assert "--limit ratio=none lifts it" in capsys.readouterr().err
    assert main([*store, "export", "--limit", "ratio=none", "-o", str(tmp_path / "out"), "app:1"]) == 0
    assert main([*store, "export", "--limit", "size=none", "-o", str(tmp_path / "out"), "app:1"]) != 0
    assert "'size=none' sets no limit" in capsys.readouterr().err
