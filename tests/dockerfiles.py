"""The corpus of Dockerfiles: one directory of tests/corpus each, and the image they all begin with.

    for case in cases():
        context = case.prepare(directory)       # its files, with modes and times that do not come from a checkout

A directory holds `Dockerfile`, at times `Dockerfile.parent` (built first, as localhost/parent), the context's files, and
`case.toml` where there is more to say:

    args, target, secrets       of the build
    crlf, bom, strip            how the Dockerfile is written
    fails                       why it must not build
    buildah                     why buildah cannot say what is right: then `expected` alone does
    [context]                   files that git does not hold: links, modes, fifos, tars
    [expected.tree]             path = [kind, mode, uid, gid, content], or false for what must not be there
    [expected.config]           what the published rules say the config has
    [differs]                   path or field = why buildah's is another one; docker's published behaviour is in `expected`
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich_images import CAPABLE, WRITTEN
from trees import look

from containerkit.image.config import ImageConfig
from containerkit.image.image import Image
from containerkit.image.layer import Layer
from containerkit.rootfs import rootfs

CORPUS = Path(__file__).resolve().parent / "corpus"
BASE, PARENT = "localhost/base", "localhost/parent"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKERS = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
ACCOUNTS = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nweb:x:33:50::/:/bin/sh\n",
    "etc/group": "root:x:0:\napp:x:1000:\nstaff:x:50:\nalpha:x:60:web\nbeta:x:61:web\n",
}
EMPTY = {"etc/hostname": "", "etc/resolv.conf": ""}  # a RUN mounts over them: where they are not buildah leaves empty ones
DATA = {"data/one": "one\n", "data/full/a": "a\n", "data/full/b": "b\n", "data/marked-directory/x": ""}
MARKED = {"data/marked": "m\n", "data/capable": "c\n"}


@dataclass(frozen=True)
class Case:
    """One Dockerfile and what is known of it."""

    name: str
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    crlf: bool = False
    bom: bool = False
    strip: bool = False
    fails: str = ""
    buildah: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> Case:
        more = directory / "case.toml"
        return cls(directory.name, **(tomllib.loads(more.read_text()) if more.exists() else {}))

    @property
    def has_parent(self) -> bool:
        return (CORPUS / self.name / "Dockerfile.parent").exists()

    def prepare(self, directory: Path) -> Path:
        """The context, in a directory that is made."""
        directory.mkdir(parents=True)
        for source in sorted((CORPUS / self.name).rglob("*")):
            path = directory / source.relative_to(CORPUS / self.name)
            if source.is_dir():
                path.mkdir(exist_ok=True)
            elif source.name != "case.toml":
                _file(path, source.read_bytes())
        for name, what in self.context.items():
            _make(directory / name, what)
        dockerfile = directory / "Dockerfile"
        data = dockerfile.read_bytes().replace(b"\n", b"\r\n" if self.crlf else b"\n")
        data = data.rstrip(b"\n") if self.strip else data
        _file(dockerfile, b"\xef\xbb\xbf" + data if self.bom else data)
        for path in directory.rglob("*"):
            if path.is_dir() and not path.is_symlink() and str(path.relative_to(directory)) not in self.context:
                path.chmod(0o755)
            os.utime(path, (WRITTEN, WRITTEN), follow_symlinks=False)
        return directory

    def write_secrets(self, directory: Path) -> dict[str, Path]:
        """A file for each secret."""
        directory.mkdir()
        for name, text in self.secrets.items():
            (directory / name).write_text(text)
        return {name: directory / name for name in self.secrets}


def cases() -> list[Case]:
    return [Case.read(path) for path in sorted(CORPUS.iterdir()) if (path / "Dockerfile").exists()]


def _file(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _make(path: Path, what: Mapping[str, Any]) -> None:
    """One line of `[context]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "link" in what:
        path.symlink_to(what["link"])
    elif what.get("directory"):
        path.mkdir()
        path.chmod(what.get("mode", 0o755))
    elif "tar" in what:
        _file(path, PACKERS[what.get("pack", "")](_tar(what["tar"]))[: what.get("cut")])
    else:
        _file(path, what["text"].encode(), what.get("mode", 0o644))


def _tar(entries: Mapping[str, Mapping[str, Any]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, what in entries.items():
            info = tarfile.TarInfo(name)
            data = what.get("text", "").encode()
            info.size, info.mtime, info.mode = len(data), WRITTEN, what.get("mode", 0o755 if what.get("directory") else 0o644)
            info.uid, info.gid = what.get("uid", 0), what.get("gid", 0)
            if what.get("directory"):
                info.type = tarfile.DIRTYPE
            elif "link" in what:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, what["link"], 0o777
            elif "hardlink" in what:
                info.type, info.linkname = tarfile.LNKTYPE, what["hardlink"]
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def base_image(directory: Path) -> Image:
    """busybox, three accounts and a few files below /data.

    :param directory: where its tree is made; the image does not need it afterwards
    """
    root = rootfs.busybox(dest=directory)
    for name, text in {**ACCOUNTS, **EMPTY, **DATA, **MARKED}.items():
        _file(root / name, text.encode())
    (root / "data/empty").mkdir()
    (root / "data/link").symlink_to("one")
    for name in ("data/marked", "data/marked-directory"):
        os.setxattr(root / name, "user.note", name.encode() + b"\0")
    os.setxattr(root / "data/capable", "security.capability", CAPABLE)
    for name, mode in (("tmp", 0o1777), ("root", 0o700)):
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    for path in [root, *root.rglob("*")]:
        os.utime(path, (WRITTEN, WRITTEN), follow_symlinks=False)
    config = ImageConfig(env=(PATH, "BASE=yes"), cmd=("sh",))
    return Image.of(config).append(Layer.from_directory(root), history="busybox")


# What was built ---------------------------------------------------------------------------------------------------

KINDS = {"directory": stat.S_IFDIR, "file": stat.S_IFREG, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}
FIELDS = {
    "Env": list, "Cmd": list, "Entrypoint": list, "User": str, "WorkingDir": str, "Labels": dict, "ExposedPorts": list, "Volumes": list,
    "StopSignal": str, "Healthcheck": dict, "Shell": list, "OnBuild": list,
}  # fmt: skip


@dataclass(frozen=True)
class Built:
    """What a build made: the tree as `look` shows it, the config as it counts."""

    tree: Mapping[str, tuple[Any, ...]]
    config: Mapping[str, Any]

    @classmethod
    def of(cls, root: Path, config: Mapping[str, Any], began: float) -> Built:
        """
        :param config: the whole document
        :param began: when the build did, seconds since 1970: later times of files are not compared
        """
        return cls({name: _old_times(one, began) for name, one in look(root).items() if name != "."}, settings(config))


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that instructions set, of a whole document."""
    inner = config.get("config") or {}
    return {name: _canonical(inner.get(name), kind) for name, kind in FIELDS.items()} | {"author": config.get("author", "")}


def _old_times(one: tuple[Any, ...], began: float) -> tuple[Any, ...]:
    """Times of directories are everybody's own."""
    mode, uid, gid, mtime, *more = one
    return mode, uid, gid, None if stat.S_ISDIR(mode) or mtime >= int(began) * 10**9 else mtime, *more


def _canonical(value: Any, kind: type) -> Any:
    """Sets are lists that are sorted; what is empty is as good as what is not there, and / is where everybody is."""
    if not value:
        return kind()
    return sorted(value) if kind is list and isinstance(value, dict) else value


def differences(expected: Mapping[str, Any], found: Built) -> list[str]:
    """Where it is not as the rules have it."""
    wrong = []
    for path, want in expected.get("tree", {}).items():
        have = _short(found.tree.get(path))
        if have != (want or None):
            wrong.append(f"/{path}: expected {want or 'nothing'}, found {have or 'nothing'}")
    for name, want in expected.get("config", {}).items():
        if (have := found.config[name]) != want:
            wrong.append(f"{name}: expected {want}, found {have}")
    return wrong


def _short(one: tuple[Any, ...] | None) -> list[Any] | None:
    """As `[expected.tree]` has it."""
    if one is None:
        return None
    mode, uid, gid, _, _, content, *_ = one
    kind = next((name for name, bits in KINDS.items() if stat.S_IFMT(mode) == bits), "device")
    text = content.decode(errors="surrogateescape") if isinstance(content, bytes) else content
    return [kind, stat.S_IMODE(mode), uid, gid, *([] if text is None else [text])]


def compare(ours: Built, theirs: Built, differs: Mapping[str, str]) -> list[str]:
    """Where two are not the same, but for what is known to differ."""
    wrong = []
    for name in sorted({*ours.tree, *theirs.tree} - {*differs}):
        if (one := ours.tree.get(name)) != (other := theirs.tree.get(name)):
            wrong.append(f"/{name}: {one or 'nothing'}, theirs {other or 'nothing'}")
    for name in sorted({*ours.config} - {*differs}):
        if ours.config[name] != theirs.config[name]:
            wrong.append(f"{name}: {ours.config[name]}, theirs {theirs.config[name]}")
    return wrong
