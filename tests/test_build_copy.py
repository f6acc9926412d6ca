"""COPY and ADD without running a program: the layers they make by docker's rules."""

from __future__ import annotations

import bz2
import gzip
import http.server
import io
import lzma
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builds import WRITTEN, Yard, entries, text, tree, yard_in_memory

from containerkit.builder import FailedStep, build
from containerkit.builder.modes import chmod, chown
from containerkit.builder.tree import Tree
from containerkit.errors import BuildError
from containerkit.image.digest import Digest
from containerkit.image.image import Image


@pytest.fixture
def yard() -> Iterator[Yard]:
    with yard_in_memory() as made:
        yield made


def names(image: Image, layer: int = -1) -> set[str]:
    return {name for name, entry in entries(image.layers[layer]).items() if entry.kind != "directory"}


# Where things go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "found"),
    [
        ("COPY a /", {"a"}),
        ("COPY a /x", {"x"}),
        ("COPY a /x/", {"x/a"}),
        ("COPY a x/y", {"x/y"}),
        ("COPY a b /x/", {"x/a", "x/b"}),
        ("COPY d /x", {"x/1", "x/e/2"}),
        ("COPY d /x/", {"x/1", "x/e/2"}),
        ("COPY d/ /", {"1", "e/2"}),
        ("COPY d/e d/1 /x/", {"x/2", "x/1"}),
        ("COPY . /x/", {"x/a", "x/b", "x/b.txt", "x/c.txt", "x/d/1", "x/d/e/2"}),
        ("COPY *.txt /x/", {"x/b.txt", "x/c.txt"}),
        ("COPY [bc].txt nothing* /x/", {"x/b.txt", "x/c.txt"}),
        ("COPY d/* /x/", {"x/1", "x/2"}),
        ("COPY ?  /x/", {"x/a", "x/b", "x/1", "x/e/2"}),
        ("COPY /a ./b ../../c.txt /x/", {"x/a", "x/b", "x/c.txt"}),
        ('COPY ["a", "/with a space"]', {"with a space"}),
        ("COPY --parents d/e/2 a /x/", {"x/d/e/2", "x/a"}),
        ("COPY --parents d/./e/2 /x/", {"x/e/2"}),
        ("COPY --parents **/2 /x/", {"x/d/e/2"}),
        ("COPY --parents d/*/2 /x", {"x/d/e/2"}),
        ("COPY --parents d /x/", {"x/d/1", "x/d/e/2"}),
        ("COPY --exclude=*.txt . /x/", {"x/a", "x/b", "x/d/1", "x/d/e/2"}),
        ("COPY --exclude=d --exclude=b* . /x/", {"x/a", "x/c.txt"}),
        ("COPY --link a /x/", {"x/a"}),
        ("ADD a d /x/", {"x/a", "x/1", "x/e/2"}),
    ],
)
def test_destinations(yard: Yard, instruction: str, found: set[str]) -> None:
    files = {"a": "a", "b": "b", "b.txt": "", "c.txt": "", "d/1": "", "d/e/2": ""}
    assert names(yard.build(f"FROM scratch\n{instruction}\n", files)) == found


def test_any_directories_do_not_go_through_links(yard: Yard) -> None:
    """With two links that lead up, the number of paths would be endless."""
    files = {"t/f": "", "t/e/f": "", "t/l": "-> .", "t/m": "-> .", "k": "-> t"}
    assert names(yard.build("FROM scratch\nCOPY --parents t/**/f /x/\n", files)) == {"x/t/f", "x/t/e/f"}
    assert names(yard.build("FROM scratch\nCOPY --parents k/**/f /x/\n", files)) == {"x/k/f", "x/k/e/f"}


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        ("COPY no /x", "'no' does not exist"),
        ("COPY no* /x/", "nothing matches"),
        ("COPY a b /x", "directory"),
        ("COPY a[ /x", "not a pattern"),
        ("COPY --chmod=u=q a /x", "--chmod"),
        ("COPY --chown=nobody a /x", "no user 'nobody'"),
        ("COPY --from=other a /x", "no other"),
        ("ADD https://example.org/a.git /x", "git"),
        ("ADD --checksum=sha256:00 a /x", "--checksum"),
        ("COPY broken /x", "'broken' is a link whose target does not exist"),
        ("COPY round /x", "circle"),
    ],
)
def test_impossible_copies_are_refused(yard: Yard, instruction: str, said: str) -> None:
    files = {"a": "", "b": "", "broken": "-> nowhere", "round": "-> round"}
    with pytest.raises(BuildError, match=said):
        yard.build(f"FROM scratch\n{instruction}\n", files, tags=["x"], resolve=nothing)
    assert yard.store.images() == ()


def nothing(reference: str, platform: object) -> Image:
    raise BuildError(f"no {reference}")


def test_a_file_and_a_directory_are_not_mixed_up(yard: Yard) -> None:
    with pytest.raises(FailedStep, match="cannot take the place of the directory /x/a"):
        yard.build("FROM scratch\nCOPY d /x/a/\nCOPY a /x/\n", {"a": "", "d/1": ""})
    with pytest.raises(FailedStep, match="cannot take the place of /x/a"):
        yard.build("FROM scratch\nCOPY a /x/\nCOPY d /x/\n", {"a": "", "d/a/1": ""})
    with pytest.raises(FailedStep, match="is no directory"):
        yard.build("FROM scratch\nCOPY a /x\nCOPY a /x/\n", {"a": ""})


# What they become ------------------------------------------------------------------------------------------------


def test_modes_owners_and_times(yard: Yard) -> None:
    context = yard.context({"a": "", "s": "", "d/f": ""})
    (context / "s").chmod(0o4755)
    (context / "d").chmod(0o700)
    found = entries(yard.build("FROM scratch\nCOPY . /x/\n", context).layers[0])
    assert {name: (entry.mode, entry.uid, entry.gid) for name, entry in found.items()} == {
        "x": (0o755, 0, 0), "x/a": (0o644, 0, 0), "x/s": (0o4755, 0, 0), "x/d": (0o700, 0, 0), "x/d/f": (0o644, 0, 0),
    }  # fmt: skip
    assert found["x/a"].mtime == WRITTEN * 10**9


def test_chown_and_chmod(yard: Yard) -> None:
    layer = yard.build("FROM scratch\nCOPY --chown=5:6 --chmod=u=rwX,go=rX d new/dir/\n", {"d/e/f": ""}).layers[0]
    found = {name: (entry.mode, entry.uid, entry.gid) for name, entry in entries(layer).items()}
    assert found == {"new": (0o755, 5, 6), "new/dir": (0o755, 5, 6), "new/dir/e": (0o755, 5, 6), "new/dir/e/f": (0o644, 5, 6)}


def test_names_are_those_of_the_image(yard: Yard) -> None:
    files = {"passwd": "root:x:0:0:::\napp:x:10:20:::\n", "group": "web:x:30:\n", "a": ""}
    start = "FROM scratch\nCOPY passwd group /etc/\n"
    for owner, found in {"app": (10, 20), "app:web": (10, 30), "7": (7, 7), "7:8": (7, 8), "0:web": (0, 30)}.items():
        entry = entries(yard.build(f"{start}COPY --chown={owner} a /a\n", files).layers[-1])["a"]
        assert (entry.uid, entry.gid) == found, owner


def test_a_passwd_that_is_a_link_is_read_inside_the_root(yard: Yard) -> None:
    """This machine's /etc/passwd knows daemon.  The image's is a link to /etc/passwd, which must mean the image's own."""
    context = yard.context({"etc/passwd": "-> /../../../../etc/shadow", "etc/group": "-> /proc/self/root/etc/group", "a": ""})
    for owner in ("daemon", "0:daemon"):
        with pytest.raises(FailedStep, match=r"no (user|group) 'daemon'"):
            yard.build(f"FROM scratch\nCOPY etc /etc\nCOPY --chown={owner} a /a\n", context)


def test_links_are_kept_inside_a_directory_and_followed_when_named(yard: Yard) -> None:
    files = {"d/f": "f", "d/l": "-> f", "d/dangling": "-> /nowhere", "named": "-> d/f", "dir": "-> d"}
    assert tree(yard.build("FROM scratch\nCOPY d /d\nCOPY named /n\nCOPY dir /dir\n", files), yard.directory / "out") == {
        "d/f": "f", "d/l": "-> f", "d/dangling": "-> /nowhere", "n": "f", "dir/f": "f", "dir/l": "-> f", "dir/dangling": "-> /nowhere",
    }  # fmt: skip


def test_hard_links_stay_hard_links(yard: Yard) -> None:
    context = yard.context({"d/a": "x"})
    os.link(context / "d/a", context / "d/b")
    found = entries(yard.build("FROM scratch\nCOPY d /d\n", context).layers[0])
    assert (found["d/a"].kind, found["d/b"].kind, found["d/b"].linkname) == ("file", "hardlink", b"d/a")


def test_links_at_the_destination_are_followed_inside_the_root_only(yard: Yard) -> None:
    files = {"r/usr/lib/x": "", "r/lib": "-> usr/lib", "r/out": "-> ../../../tmp", "r/file": "-> /target", "a": "new"}
    image = yard.build("FROM scratch\nCOPY r /\nCOPY a /lib/\nCOPY a /out/\nCOPY a /file\nCOPY r/usr/lib /lib\n", files)
    found = tree(image, yard.directory / "out")
    assert (found["usr/lib/a"], found["tmp/a"], found["target"], found["lib"]) == ("new", "new", "new", "-> usr/lib")


def test_a_directory_merged_through_a_link_keeps_it(yard: Yard) -> None:
    """A context with a real lib/ is copied through the image's link /lib."""
    image = yard.build("FROM scratch\nCOPY r /\nCOPY more /\n", {"r/usr/lib/x": "", "r/lib": "-> usr/lib", "more/lib/y": "y"})
    assert tree(image, yard.directory / "out") == {"lib": "-> usr/lib", "usr/lib/x": "", "usr/lib/y": "y"}


def test_parent_directories_keep_their_attributes(yard: Yard) -> None:
    context = yard.context({"r/tmp/.keep": "", "a": ""})
    (context / "r/tmp").chmod(0o1777)
    image = yard.build("FROM scratch\nCOPY --chown=3:4 r/ /\nCOPY a /tmp/\n", context)
    found = entries(image.layers[1])
    assert (found["tmp"].mode, found["tmp"].uid, found["tmp"].gid) == (0o1777, 3, 4)
    assert set(found) == {"tmp", "tmp/a"}


def test_from_a_stage_keeps_owners(yard: Yard) -> None:
    image = yard.build(
        "FROM scratch AS one\nCOPY --chown=3:4 a /d/a\nFROM scratch\nCOPY --from=one /d /d\nCOPY --from=0 --chown=9 /d/a /b\n", {"a": ""}
    )  # fmt: skip
    first, second = entries(image.layers[0])["d/a"], entries(image.layers[1])["b"]
    assert (second.uid, second.gid) == (9, 9)
    assert (first.uid, first.gid) == ((3, 4) if os.geteuid() == 0 else (0, 0)), "an ordinary user's store has one owner"


def test_from_an_image_of_the_store_and_from_nothing(yard: Yard) -> None:
    yard.build("FROM scratch\nCOPY a /d/\n", {"a": "x"}, tags=["other:1"])
    image = yard.build("FROM scratch AS empty\nFROM scratch\nCOPY --from=other:1 /d /e\nCOPY --from=empty / /f\n")
    assert text(image.layers[0], "e/a") == "x"
    assert set(entries(image.layers[1])) == {"f"}


def test_heredocs(yard: Yard) -> None:
    image = yard.build(
        'FROM scratch\nENV A=1\nCOPY <<one <<"two" /x/\na$A\none\nb$A\ntwo\nCOPY --chmod=755 <<EOF /run.sh\n#!/bin/sh\nEOF\n'
    )
    assert [text(image.layers[0], f"x/{name}") for name in ("one", "two")] == ["a1\n", "b$A\n"]
    assert entries(image.layers[1])["run.sh"].mode == 0o755


def test_a_context_that_is_too_deep(yard: Yard) -> None:
    context = yard.context()
    (context / "/".join("d" * 300)).mkdir(parents=True)
    with pytest.raises(FailedStep, match="more than 256 directories inside each other"):
        yard.build("FROM scratch\nCOPY . /\n", context)
    (context / ".dockerignore").write_text("*\n!**/no\n")
    with pytest.raises(FailedStep):
        yard.build("FROM scratch\nCOPY . /\n", context)


def test_names_of_heredocs_stay_names(yard: Yard) -> None:
    image = yard.build("FROM scratch\nCOPY <<../../evil /d/\nx\n../../evil\n")
    assert set(entries(image.layers[0])) == {"d", "d/evil"}
    with pytest.raises(BuildError, match="cannot be the name of a file"):
        yard.build("FROM scratch\nCOPY <<.. /d/\nx\n..\n")


@pytest.mark.parametrize(
    ("flags", "made"),
    [
        ("", (0o755, 0)),
        ("--chmod=0777", (0o777, 0)),
        ("--chmod=u=rwx,go=", (0o700, 0)),
        ("--chown=7:8", (0o755, 7)),
        ("--chmod=711 --chown=7", (0o711, 7)),
    ],
)
def test_directories_on_the_way_are_made_as_the_flags_say(yard: Yard, flags: str, made: tuple[int, int]) -> None:
    """As in buildkit; an existing directory stays as it is."""
    image = yard.build(f"FROM scratch\nCOPY a /there/\nCOPY {flags} a /there/new/deep/b\n", {"a": "1"})
    found = entries(image.layers[1])
    assert [(found[name].mode, found[name].uid) for name in ("there/new", "there/new/deep")] == [made, made]
    assert (found["there"].mode, found["there"].uid) == (0o755, 0)


# The context ------------------------------------------------------------------------------------------------------


def test_nothing_outside_the_context_is_read(yard: Yard) -> None:
    (yard.directory / "secret").write_text("s")
    files = {
        "up": "-> ../secret",
        "abs": f"-> {yard.directory}/secret",
        "dir": "-> ..",
        "d/up": "-> ../../secret",
        "environ": "-> /proc/self/environ",
    }
    for source in ("up", "abs", "dir/secret", "d/up", "../secret", "environ", "dir/context1/../secret"):
        with pytest.raises(BuildError, match="does not exist"):
            yard.build(f"FROM scratch\nCOPY {source} /x\n", files)
    assert tree(yard.build("FROM scratch\nCOPY d /d\n", files), yard.directory / "out") == {"d/up": "-> ../../secret"}


@pytest.mark.parametrize(
    ("ignore", "found"),
    [
        ("", {".dockerignore", "a.log", "b", "d/a.log", "d/c"}),
        ("*.log\n.dockerignore\n", {"b", "d/a.log", "d/c"}),
        ("**/*.log\n.docker*\n", {"b", "d/c"}),
        ("*\n!d/c\n", {"d/c"}),
        ("d\n.dockerignore\n", {"a.log", "b"}),
        ("# all\n*\n!b\n", {"b"}),
    ],
)
def test_dockerignore(yard: Yard, ignore: str, found: set[str]) -> None:
    assert names(yard.build("FROM scratch\nCOPY . /\n", {".dockerignore": ignore, "a.log": "", "b": "", "d/a.log": "", "d/c": ""})) == found


def test_ignored_files_do_not_exist_for_copy(yard: Yard) -> None:
    with pytest.raises(FailedStep, match=r"'b' does not exist, or \.dockerignore hides it"):
        yard.build("FROM scratch\nCOPY b /\n", {".dockerignore": "b", "b": ""})


def test_a_dockerfile_has_its_own_dockerignore(yard: Yard) -> None:
    files = {
        "one.Dockerfile": "FROM scratch\nCOPY d /\n",
        "one.Dockerfile.dockerignore": "d/a\n",
        ".dockerignore": "d/b\n",
        "d/a": "",
        "d/b": "",
    }
    context = yard.context(files)
    assert names(build(context, dockerfile="one.Dockerfile", store=yard.store)) == {"b"}


def packed(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = len(content), WRITTEN, 3
            archive.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_context_can_be_a_tar(yard: Yard, compress: object, tmp_path: Path) -> None:
    data = compress(packed(Dockerfile="FROM scratch\nCOPY a /\n", a="x"))  # type: ignore[operator]
    (tmp_path / "context.tar").write_bytes(data)
    for context in (data, tmp_path / "context.tar", io.BytesIO(data)):
        assert text(build(context, store=yard.store).layers[0], "a") == "x"


@pytest.mark.parametrize("context", [b"", b"no tar", "/dev/null", "/nowhere"])
def test_contexts_of_other_kinds_are_refused(yard: Yard, context: str | bytes) -> None:
    with pytest.raises(BuildError):
        build(context, store=yard.store)


def test_named_contexts(yard: Yard, tmp_path: Path) -> None:
    other = yard.context({"x": "other"})
    image = yard.build("FROM scratch\nCOPY --from=more x /\n", contexts={"more": other})
    assert text(image.layers[0], "x") == "other"
    again = yard.build("FROM base AS b\nCOPY a /\n", {"a": ""}, contexts={"base": image})
    assert again.layers[0].digest == image.layers[0].digest


# Archives and URLs ------------------------------------------------------------------------------------------------


def test_add_unpacks_and_copy_does_not(yard: Yard) -> None:
    files: dict[str, bytes | str] = {"a.tar": packed(x="1", y="2"), "a.tgz": gzip.compress(packed(z="3")), "no.tar": "no tar", "e.tar": ""}
    image = yard.build("FROM scratch\nADD a.tar a.tgz no.tar e.tar /x/\nCOPY a.tar /y/\nADD --unpack=false a.tar /z/\n", files)
    assert [names(image, layer) for layer in range(3)] == [{"x/x", "x/y", "x/z", "x/no.tar", "x/e.tar"}, {"y/a.tar"}, {"z/a.tar"}]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_tar(yard: Yard, compress: Callable[[bytes], bytes]) -> None:
    """A tar that is cut short is refused; a file whose beginning is damaged is no tar, and is copied as it is."""
    whole = compress(packed(x=os.urandom(600_000).hex()))
    with pytest.raises(FailedStep, match=r"a.tar cannot be unpacked"):
        yard.build("FROM scratch\nADD a.tar /x/\n", {"a.tar": whole[: len(whole) * 9 // 10]})
    damaged = whole[:20] + b"\xff" * 30 + whole[50:]
    assert names(yard.build("FROM scratch\nADD a.tar /x/\n", {"a.tar": damaged})) == {"x/a.tar"}
    with pytest.raises(BuildError, match="neither a directory nor a tar"):
        build(damaged, store=yard.store)


def test_an_evil_tar_is_refused(yard: Yard) -> None:
    with pytest.raises(FailedStep, match="cannot be unpacked"):
        yard.build("FROM scratch\nADD a.tar /x/\n", {"a.tar": packed(**{"../../evil": "x"})})
    assert not (yard.directory / "evil").exists()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = packed(inside="x") if self.path.endswith(".tar") else b"body"
        status = {"/gone": 404}.get(self.path, 200)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + (5 if self.path == "/short" else 0)))
        self.send_header("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    pytest.importorskip("urllib3", reason="needs urllib3: pip install containerkit[registry]")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_add_of_a_url(yard: Yard, url: str) -> None:
    digest = Digest.of(b"body")
    image = yard.build(f"FROM scratch\nADD {url}/file?x=1 /x/\nADD --checksum={digest} --chmod=644 {url}/file /y\nADD {url}/a.tar /\n")
    found = [entries(layer) for layer in image.layers]
    assert (found[0]["x/file"].mode, found[0]["x/file"].mtime) == (0o600, WRITTEN * 10**9)
    assert found[1]["y"].mode == 0o644
    assert set(found[2]) == {"a.tar"}, "what was fetched is not unpacked"


@pytest.mark.parametrize(
    ("what", "said"), [("gone", "404"), ("short", "cut short|Incomplete"), ("--checksum", "and --checksum says sha256:0000")]
)
def test_a_url_that_cannot_be_fetched(yard: Yard, url: str, what: str, said: str) -> None:
    flag = f"--checksum=sha256:{'0' * 64} " if what == "--checksum" else ""
    with pytest.raises(FailedStep, match=said):
        yard.build(f"FROM scratch\nADD {flag}{url}/{what.lstrip('-')} /x\n")


# Pieces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mode", "directory", "found"),
    [
        ("755", 0o644, False, 0o755), ("04711", 0, False, 0o4711), ("u+x", 0o644, False, 0o744), ("go-r", 0o644, False, 0o600),
        ("a=rX", 0o644, False, 0o444), ("a=rX", 0o644, True, 0o555), ("a=rX", 0o744, False, 0o555), ("+x", 0o600, False, 0o711),
        ("u=rwx,g=rx,o=", 0o000, False, 0o750), ("g=u", 0o640, False, 0o660), ("u+s,g+s,+t", 0o755, True, 0o7755),
        ("u=rw", 0o4755, False, 0o655), ("o+w-r", 0o644, False, 0o642),
    ],
)  # fmt: skip
def test_chmod(text: str, mode: int, directory: bool, found: int) -> None:
    assert oct(chmod(text)(mode, directory=directory)) == oct(found)


@pytest.mark.parametrize("text", ["", "8", "77777", "u", "u+q", "x=r", "u+r,", "0x1", "-1"])
def test_malformed_modes_are_refused(text: str) -> None:
    with pytest.raises(BuildError, match="--chmod"):
        chmod(text)


@pytest.mark.parametrize("text", ["", ":5", "no", "0:no", str(2**32), "0:" + str(2**32)])
def test_unknown_owners_are_refused(text: str) -> None:
    with Tree() as tree, pytest.raises(BuildError, match="--chown"):
        chown(text, tree)


def test_a_tree_shows_what_overlayfs_would(tmp_path: Path) -> None:
    lower, middle, upper = (tmp_path / name for name in ("lower", "middle", "upper"))
    for layer, files in ((lower, ["d/a", "d/b", "gone/x", "f", "o/x"]), (middle, ["d/c", "f/now-a-directory", "o/y"]), (upper, ["d/b"])):
        for name in files:
            (layer / name).parent.mkdir(parents=True, exist_ok=True)
            (layer / name).write_text(layer.name)
    os.mknod(middle / "gone", 0o020000, 0)
    os.mknod(upper / "d" / "a", 0o020000, 0)
    os.setxattr(middle / "o", "user.overlay.opaque", b"y")
    (tmp_path / "empty").mkdir()
    for between in ((), [tmp_path / "empty"] * 20):
        shows_the_same(Tree(lower, *between, middle, upper))


def shows_the_same(tree: Tree) -> None:
    with tree:
        assert [node.path.decode() for node in tree.walk(b"")] == ["", "d", "d/b", "d/c", "f", "f/now-a-directory", "o", "o/y"]
        assert [tree.read(path) for path in (b"d/b", b"/d/../d/c", b"gone/x", b"d/a", b"d")] == [b"upper", b"middle", None, None, None]
