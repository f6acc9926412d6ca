# ruff: noqa: E501 - tables read better on one line
"""Files that a program could have written are reached through descriptors: `containerkit.linux.beneath`, and no new use of bare paths."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerkit.linux.beneath import Beneath

PACKAGE = Path(__file__).resolve().parent.parent / "containerkit"
#: Modules that touch the trees of programs and of strangers' images.
SINGLE = [
    "image/tar_from_tree", "image/tar_from_two_trees", "store/unpacked", "layers/changes", "layers/merged", "layers/layerfs",
    "layers/places", "state/scratch", "linux/beneath", "parts/files", "parts/name_files",
]  # fmt: skip
WATCHED = [
    *sorted((PACKAGE / "builder").glob("*.py")), *sorted((PACKAGE / "image/unpack").glob("*.py")),
    *(PACKAGE / f"{name}.py" for name in SINGLE),
]  # fmt: skip
CALLS = {
    "access", "chmod", "chown", "lchown", "getxattr", "link", "listdir", "listxattr", "lstat", "makedirs", "mkdir", "mkfifo", "mknod",
    "open", "readlink", "remove", "removedirs", "removexattr", "rename", "renames", "replace", "rmdir", "scandir", "setxattr", "stat",
    "symlink", "truncate", "unlink", "utime", "walk",
}  # fmt: skip
BY_DESCRIPTOR = {"dir_fd", "src_dir_fd", "dst_dir_fd"}
TREES = {"rmtree", "copytree", "move", "copy", "copy2", "copyfile", "chown"}
METHODS = {
    "unlink",
    "rmdir",
    "rename",
    "replace",
    "iterdir",
    "rglob",
    "chmod",
    "lchmod",
    "symlink_to",
    "hardlink_to",
    "write_bytes",
    "write_text",
}
#: Functions that use a path, by module, and why nothing that a program writes is on it.
OURS = {
    "layers/places.py": ("a link of a layer is read, and only a step of the child goes there", "_is_plain", "_lead"),
    "linux/beneath.py": ("the directory that all else is beneath", "__init__"),
    "builder/caches.py": ("programs write below `files` in a cache, which is renamed as a whole", "_made"),
    "builder/copying.py": ("a directory just made for a heredoc or an archive", "_archive", "_heredoc"),
    "builder/fetching.py": ("a file just fetched", "_save", "_stamp"),
    "builder/mounting.py": ("a directory just made for one mount, before the program starts", "_begin", "_copied"),
    "builder/settling.py": ("a path of a descriptor in /proc/self/fd", "_described", "_unmark"),
    "builder/workspace.py": ("blobs of the store, and the upper directory itself", "freeze", "layer"),
    "layers/changes.py": ("a layer below, which nobody changes", "_present"),
    "image/unpack/adopt.py": ("the upper directory itself, and descriptors", "_inside", "_notes", "normalize"),
    "image/unpack/attributes.py": ("a descriptor, or its path in /proc/self/fd", "_xattrs"),
    "image/unpack/implied.py": ("descriptors, layers of the store themselves, and a file of ours beside one", "_copied", "_copy", "_hide", "_unchanged", "_walk"),
    "image/unpack/unpack.py": ("a directory that the caller has just opened", "_born"),
    "image/unpack/root.py": ("the directory that all else is in", "__init__"),
    "store/unpacked.py": ("places of the store around the trees; a comparison reads", "_attributes", "_below", "_describe", "_differs", "adopt", "unpack"),
    "image/tar_from_tree.py": ("the directory itself, and descriptors", "_run", "attributes", "overlay"),
    "image/tar_from_two_trees.py": ("the two directories themselves", "write_difference"),
    "layers/layerfs.py": (
        "the state directory around the upper directory, which is renamed as a whole", "_check_attributes", "_make_state",
        "_mark", "_mode", "_mounted_anywhere", "_move", "free_if_abandoned", "is_taken", "mounted",
    ),
    "layers/merged.py": ("layers below, which nobody changes; reading a file goes by descriptors", "entry_paths", "find", "is_opaque", "names", "read"),
    "state/scratch.py": ("the scratch directory itself; what is in it goes by descriptors", "_empty", "_make", "_named", "_opened", "_remove_at", "_remove_scratch"),
}  # fmt: skip


def sites(path: Path) -> Iterator[tuple[str, int, str]]:
    """Calls by path: function, line, what is called."""
    tree = ast.parse(path.read_text())
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and (name := by_path(node)):
                yield function.name, node.lineno, name


def by_path(call: ast.Call) -> str:
    """The name of a call that resolves a path; "" for one that works on a descriptor."""
    if not isinstance(call.func, ast.Attribute):
        return ""
    module, name = ast.unparse(call.func.value), call.func.attr
    given = {keyword.arg for keyword in call.keywords}
    if (module == "os" and name in CALLS) or (module == "shutil" and name in TREES):
        first = ast.unparse(call.args[0]) if call.args else ""
        is_descriptor = bool(given & BY_DESCRIPTOR) or first.endswith(("fd", "handle")) or "/proc/self/fd" in first
        return "" if is_descriptor else f"{module}.{name}"
    return f".{name}" if name in METHODS and not call.args[1:] and module not in ("os", "re", "dataclasses") else ""


@pytest.mark.parametrize("path", WATCHED, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_new_use_of_a_path_in_what_touches_a_programs_files(path: Path) -> None:
    """A new one goes through `beneath`, or it is added above with the reason why nothing that a program writes is on its path."""
    _, *known = OURS.get(str(path.relative_to(PACKAGE)), ("",))
    assert [f"{path}:{line}: {name} in {function}" for function, line, name in sites(path) if function not in known] == []


@pytest.mark.parametrize("name", OURS)
def test_no_function_is_excused_that_needs_no_excuse(name: str) -> None:
    assert set(OURS[name][1:]) <= {function for function, _, _ in sites(PACKAGE / name)}


def test_a_use_of_a_path_is_seen(tmp_path: Path) -> None:
    source = (
        "def f(p, fd):\n    os.unlink(p)\n    os.unlink(p, dir_fd=fd)\n    p.rmdir()\n    shutil.rmtree(p)\n    text.replace('a', 'b')\n"
    )
    (tmp_path / "x.py").write_text(source)
    assert [name for _, _, name in sites(tmp_path / "x.py")] == ["os.unlink", ".rmdir", "shutil.rmtree"]


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Beneath]:
    (tmp_path / "top/a/b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("the host's")
    for name, target in (("link", tmp_path / "outside"), ("up", ".."), ("here", "a"), ("magic", "/proc/self/cwd"), ("a/c", "b")):
        (tmp_path / "top" / name).symlink_to(target)
    with Beneath(tmp_path / "top") as opened:
        yield opened


@pytest.mark.parametrize(
    "path", [b"link", b"link/file", b"up", b"up/outside", b"here", b"here/b", b"magic", b"a/c", b"../outside", b"/", b"a/../.."]
)
@pytest.mark.parametrize("flags", [os.O_PATH, os.O_RDONLY, os.O_PATH | os.O_DIRECTORY])
def test_no_link_and_no_way_out_is_followed(path: bytes, flags: int, top: Beneath) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is looked at
        top.open(path, flags)
    assert caught.value.errno in (errno.ELOOP, errno.EXDEV)


def test_a_link_itself_can_be_taken_away(top: Beneath, tmp_path: Path) -> None:
    with top.parent(b"link") as (directory, name):
        os.unlink(name, dir_fd=directory)
    assert (tmp_path / "outside/file").exists()
    assert not (tmp_path / "top/link").is_symlink()


def test_a_walk_goes_through_directories_and_no_links(top: Beneath) -> None:
    assert sorted(path for path, _, _ in top.walk()) == [b"", b"a", b"a/b"]
