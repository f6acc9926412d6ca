"""The story of the book: kubia is built, looked at, run, asked, pushed to a real registry, and pulled into a second store."""

from __future__ import annotations

import http.client
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from registries import serving

import containerkit as ck
from containerkit import mounts, ns
from containerkit.image.digest import Digest
from containerkit.registry import Progress, pull, push

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not shutil.which("node"), reason="needs node")]

HOST = "kubia-7f3b"
APP = """\
const http = require("http");
const os = require("os");
const server = http.createServer((_, response) => response.end(`You've hit ${os.hostname()}\\n`));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@pytest.fixture
def store(tmp_path: Path) -> ck.Store:
    """A store with a node image, made of this machine's node and its libraries."""
    store = ck.Store(tmp_path / "first")
    layer = ck.Layer.from_directory(ck.rootfs.from_programs(["node", "sh", "cat"]), store.blobs)
    store.put(ck.Image.scratch().append(layer, history="node and its libraries"), "node")
    return store


@pytest.fixture
def kubia(store: ck.Store, tmp_path: Path) -> ck.Image:
    context = tmp_path / "kubia"
    context.mkdir()
    (context / "app.js").write_text(APP)
    (context / "Dockerfile").write_text('FROM node\nADD app.js /app.js\nENTRYPOINT ["node", "app.js"]\n')
    return ck.Image.build(context, tag="kubia", store=store)


@contextmanager
def serves(image: ck.Image, store: ck.Store) -> Iterator[int]:
    """It runs in a container that has this machine's network.  Gives the port it listens on."""
    with image.hold(store) as layers, ck.LayerFS(*layers) as root:
        parts = [ns.User(), ns.Mount(), ns.Pid(), ns.Ipc(), ns.Uts(HOST), root, mounts.Dev()]
        plan = ck.plan(*parts, run=image.config.command, cwd=image.config.working_dir or "/", die_with_parent=True)
        with plan.spawn(stdout=ck.PIPE) as process:
            assert process.stdout
            yield int(process.stdout.readline())


def hit(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def fetches(found: set[Digest]) -> Callable[[Progress], None]:
    """A watcher that collects what is downloaded."""

    def watch(event: Progress) -> None:
        if event.state == "downloading" and not isinstance(event.what, str):
            found.add(event.what.digest)

    return watch


def test_it_is_a_layer_of_one_file_on_the_layers_of_node(store: ck.Store, kubia: ck.Image) -> None:
    kubia.validate()
    node = store.get("node")
    assert kubia.layers[:-1] == node.layers
    assert [entry.name for entry in kubia.layers[-1].entries()] == [b"app.js"]
    assert kubia.config.command == ("node", "app.js")
    assert [step.empty_layer for step in kubia.history] == [False, False, True]
    assert store.get("kubia") == kubia


def test_the_answer_names_the_container(store: ck.Store, kubia: ck.Image) -> None:
    with serves(kubia, store) as port:
        assert hit(port) == f"You've hit {HOST}\n"


def test_it_goes_through_a_registry_and_shared_layers_are_fetched_and_kept_once(store: ck.Store, kubia: ck.Image, tmp_path: Path) -> None:
    second, first_fetch, second_fetch = ck.Store(tmp_path / "second"), set[Digest](), set[Digest]()

    with serving(tmp_path / "registry") as server:
        push(store.get("node"), f"{server.host}/node:1")
        pushed = push(kubia, f"{server.host}/luksa/kubia:1")
        pull(f"{server.host}/node:1", second, progress=fetches(first_fetch))
        again = pull(f"{server.host}/luksa/kubia:1", second, progress=fetches(second_fetch), unpack=True)
    assert again == kubia
    assert pushed.digest == kubia.digest
    base, app = kubia.manifest.layers
    assert base.digest in first_fetch
    assert second_fetch & {base.digest, app.digest} == {app.digest}
    assert second.usage().blobs == 6  # two manifests, two configs, two layers
    assert {*second.trees} == {*kubia.chain_ids}
    assert second.fsck() == ()
    with serves(again, second) as port:
        assert hit(port) == f"You've hit {HOST}\n"
    (tmp_path / "changed").write_text("more")
    with ck.LayerFS(again) as root:
        assert root.lowers == tuple(second.trees.path(chain) for chain in kubia.chain_ids)


def test_the_example_of_the_readme(store: ck.Store, kubia: ck.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, but for the place of the registry; on a store of its own."""
    blocks = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text(), re.DOTALL)
    monkeypatch.setattr("containerkit.store.store.default_directory", lambda: store.directory)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"ck": ck, "ns": ns}
    with serving(tmp_path / "registry") as server:
        exec(blocks[1].replace("127.0.0.1:5000", server.host), names)
        again = pull(f"{server.host}/luksa/kubia:1", ck.Store(tmp_path / "second"))
    assert again == names["image"] == kubia
    assert ck.run(names["changed"].config.cmd, ck.sandbox(names["changed"])).text == "new\n"
    assert names["changed"].layers[:-1] == kubia.layers
