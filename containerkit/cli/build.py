"""The verb build."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ..builder import build
from ..errors import BuildError
from ..image import Descriptor, Image, Platform, Reference, media
from ..image.blobs import Blobs
from ..state.scratch import Scratch
from ..store.store import Store
from .parser import Parser, store_of
from .steps import HOW, steps

KINDS = ("local", "tar", "oci", "docker", "image")
TAR_NAME = 257  # offset of the word "ustar" in an uncompressed tar


def _declare(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_registry()
    add, flag = parser.add_argument, parser.flag
    add("-t", "--tag", action="append", default=[], metavar="NAME[:TAG]", help="a name for the image; repeat it for several")
    add("-f", "--file", metavar="FILE", help="the Dockerfile, - for standard input; PATH/Dockerfile unless given")
    add("--target", metavar="STAGE", help="build this stage; the last one unless given")
    add(
        "--build-arg", action="append", default=[], metavar="NAME[=VALUE]", help="the value of an ARG; without =VALUE, from the environment"
    )
    add("--label", action="append", default=[], metavar="NAME=VALUE", help="a label for the image")
    add("--secret", action="append", default=[], metavar="id=NAME[,src=FILE|,env=NAME]", help="a secret for RUN --mount=type=secret")
    add(
        "--build-context", action="append", default=[], metavar="NAME=DIR|docker-image://IMAGE", help="another context, for FROM and --from"
    )
    add("--network", choices=["default", "none", "host"], default="default", help="the network of RUN: this machine's, or none")
    add(
        "--userns",
        choices=["host"],
        default="",
        help="host: root in RUN is this machine's root, and may make devices; by default it is not",
    )
    add("--platform", metavar="OS/ARCH", help="the machine that the image is for; this one unless given")
    add("--cache-from", action="append", default=[], metavar="DIR|IMAGE", help="the cache that another build wrote with --cache-to")
    add("--cache-to", metavar="DIR|IMAGE", help="write a cache for other builds")
    flag("--no-cache", help="run every step, without the cache")
    flag("--pull", help="pull every base image, even one that the store has")
    flag("-q", "--quiet", help="print only the image's id")
    add("--progress", choices=HOW, default="auto", help="how to show the steps; auto is tty on a terminal, plain elsewhere")
    add(
        "-o", "--output", action="append", default=[], metavar="DEST|type=TYPE,dest=DEST", help=f"also write the result: {', '.join(KINDS)}"
    )
    add("--iidfile", metavar="FILE", help="write the image's id to this file")
    add("--compression", choices=["gzip", "zstd", "none"], default="gzip", help="the compression of new layers")
    for accepted in ("--rm", "--force-rm", "--load"):
        flag(accepted, help="accepted, without effect: build does so anyway")
    add("context", metavar="PATH|-", help="the context: a directory or a tar; - for a tar or a Dockerfile on standard input")
    parser.set_defaults(verb=_build)


def _build(options: argparse.Namespace) -> int:
    outputs = [_output(text) for text in options.output]  # check before anything is built
    store = store_of(options)
    with contextlib.ExitStack() as stack:
        context, dockerfile = stack.enter_context(_context(options))
        progress = stack.enter_context(steps("quiet" if options.quiet else options.progress))
        image = build(
            context, dockerfile=dockerfile, target=options.target, args=_pairs(options.build_arg, os.environ), tags=options.tag,
            store=store, platform=options.platform, cache=not options.no_cache, cache_from=map(_address, options.cache_from),
            cache_to=options.cache_to and _address(options.cache_to), secrets=dict(map(_secret, options.secret)), network=options.network,
            userns=options.userns, labels=_pairs(options.label), contexts=_pairs(options.build_context), compression=options.compression,
            progress=progress, resolve=_resolver(store, options),
        )  # fmt: skip
    for write in outputs:
        write(image, options.tag)
    _tell(image, options)
    return 0


def _tell(image: Image, options: argparse.Namespace) -> None:
    if options.iidfile:
        Path(options.iidfile).write_text(image.id)
    if options.quiet:
        print(image.id)
        return
    names = "".join(f"\nnamed {Reference.parse(name)}" for name in options.tag)
    print(f"image {image.id}{names}", file=sys.stderr)


# The context ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _context(options: argparse.Namespace) -> Iterator[tuple[str | BinaryIO, str | bytes | None]]:
    """Yield the context and the Dockerfile.  Standard input is a tar, or else a Dockerfile without a context; docker decides alike."""

    if options.context != "-":
        yield options.context, options.file
    elif options.file == "-":
        raise BuildError("standard input is either the context or the Dockerfile")
    elif _is_tar(sys.stdin.buffer):
        yield sys.stdin.buffer, options.file
    else:
        with contextlib.closing(Scratch("context")) as scratch:
            (scratch.path / "empty").mkdir()
            yield str(scratch.path / "empty"), sys.stdin.buffer.read()


def _is_tar(stream: BinaryIO) -> bool:
    head = stream.peek(TAR_NAME + 5)  # type: ignore[attr-defined]
    return media.sniff(head) != "none" or head[TAR_NAME : TAR_NAME + 5] == b"ustar"


def _resolver(store: Store, options: argparse.Namespace) -> Callable[[str, Platform | None], Image]:
    """Return a function that finds base images: in the store, else, or with --pull, at a registry."""

    def resolve(name: str, platform: Platform | None) -> Image:
        if not options.pull:
            with contextlib.suppress(LookupError):
                return store.get(name, platform)
        from ..registry import pull
        from .registry import registries

        with registries(options) as known:
            pull(name, store, platform=platform, registries=known)
        return store.get(Reference.parse(name).digest or name, platform)

    return resolve


def _pairs(words: list[str], ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """Parse words NAME=VALUE.

    :param ours: the values for names without one; a name that is not in it is left out
    """
    pairs = (word.partition("=") for word in words)
    return {name: value if given or ours is None else ours[name] for name, given, value in pairs if given or ours is None or name in ours}


def _fields(text: str, what: str) -> dict[str, str]:
    """Parse ``type=oci,dest=x``, docker's form of options."""
    pairs = [word.partition("=") for word in text.split(",")]
    if not all(given for _, given, _ in pairs):
        raise BuildError(f"{what} {text!r}: expected name=value pairs with commas between them")
    return {name.strip().lower(): value for name, _, value in pairs}


def _address(text: str) -> str:
    """Return a directory or a reference.  buildkit's form is understood too: ``type=local,src=DIR``, ``type=registry,ref=IMAGE``."""
    if "=" not in text:
        return text
    fields = _fields(text, "a cache")
    names = {"local": ("src", "dest"), "registry": ("ref",)}.get(fields.get("type", ""), ())
    if found := next((fields[name] for name in names if name in fields), ""):
        return found
    raise BuildError(f"a cache {text!r}: only type=local,src=DIR (or dest=DIR) and type=registry,ref=IMAGE are understood")


def _secret(text: str) -> tuple[str, str | bytes]:
    fields = _fields(text, "--secret")
    name, file, variable = fields.get("id", ""), fields.get("src") or fields.get("source"), fields.get("env")
    if unknown := fields.keys() - {"id", "src", "source", "env", "type"}:
        raise BuildError(f"--secret {text!r}: there is no field {min(unknown)!r}")
    if not name or (file and variable) or fields.get("type", "file") not in ("file", "env"):
        raise BuildError(f"--secret {text!r}: expected id=NAME,src=FILE or id=NAME,env=NAME")
    if variable or (not file and fields.get("type") == "env") or (not file and name in os.environ):
        return name, os.environb.get(os.fsencode(variable or name)) or _unset(variable or name)
    return name, file or name


def _unset(name: str) -> bytes:
    raise BuildError(f"--secret: the environment has no variable {name}")


# The result -----------------------------------------------------------------------------------------------------


def _output(text: str) -> Callable[[Image, list[str]], None]:
    """Return a function that writes the image.  :raises BuildError: a malformed option, reported before anything is built"""
    fields = _fields(text, "--output") if "=" in text else {"type": "tar" if text == "-" else "local", "dest": text}
    kind, target = fields.get("type", ""), fields.get("dest", "")
    if kind not in KINDS:
        raise BuildError(f"--output type={kind}: the types are {', '.join(KINDS)}")
    if kind == "image":
        return lambda image, names: None
    if not target and kind != "local":
        target = "-"
    if not target or (target == "-" and (kind == "local" or sys.stdout.isatty())):
        raise BuildError(f"--output {text!r}: dest= is missing, or a tar would go to a terminal")
    return {"local": _to_directory, "tar": _to_tar, "oci": _to_oci, "docker": _to_docker}[kind](target)


Writer = Callable[[Image, list[str]], None]


def _to_directory(target: str) -> Writer:
    """Return a writer to a directory.  The files belong to the user who builds, unless that is root."""
    return lambda image, names: image.extract(target)


def _to_tar(target: str) -> Writer:
    from ..image import merge
    from ..image.tar.blobs_tar import appearing

    def write(image: Image, names: list[str]) -> None:
        with appearing(target) if target != "-" else contextlib.nullcontext(sys.stdout.buffer) as file:
            merge.write(image.layers, file.write)

    return write


def _to_oci(target: str) -> Writer:
    """Return a writer of an OCI layout: a directory if the name ends in a slash, else a tar."""
    from ..image.files import layout

    destination = sys.stdout.buffer if target == "-" else target
    return lambda image, names: layout.write(destination, _named(image, names), tar=not target.endswith("/"))


def _to_docker(target: str) -> Writer:
    from ..image.files import archive

    return lambda image, names: archive.write(sys.stdout.buffer if target == "-" else target, _named(image, names))


def _named(image: Image, names: list[str]) -> list[tuple[Descriptor, Blobs]]:
    from ..image.files.named_images import named

    return [(named(image.descriptor, str(Reference.parse(name)) if name else ""), image.blobs) for name in names or [""]]


VERBS = {"build": _declare}
