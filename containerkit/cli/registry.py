"""The verbs that use registries: pull, push, login, logout."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from ..errors import ImageError
from ..image import Image, Index, Reference, media
from ..registry import Registries, login, logout, pull, push
from ..store.store import Store
from .parser import Parser, store_of
from .progress import transfer

HUB = "docker.io"


def registries(options: argparse.Namespace) -> Registries:
    """Return registries with the settings of the options."""
    return Registries(**_settings(options))


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"verify": options.tls_verify, **({"plain_http": True} if options.plain_http else {})}


# pull -----------------------------------------------------------------------------------------------------------


def _declare_pull(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_registry()
    parser.flag("-a", "--all-tags", help="pull every tag of the repository")
    parser.flag("-q", "--quiet", help="print only the name")
    parser.flag("--all-platforms", help="pull the images for all machines")
    parser.flag("--unpack", help="unpack the layers too, so that the first run is as quick as the next")
    parser.add_argument(
        "--platform", metavar="OS/ARCH", help="the image for this machine, if the name stands for several; this one unless given"
    )
    parser.add_argument("image", metavar="NAME[:TAG|@DIGEST]")
    parser.set_defaults(verb=_pull)


def _pull(options: argparse.Namespace) -> int:
    wanted = Reference.parse(options.image)
    store = store_of(options)
    with registries(options) as known:
        names = [wanted]
        if options.all_tags:
            if wanted.digest or options.image.endswith(f":{wanted.tag}"):
                raise ImageError("a tag cannot be given with --all-tags")
            names = [wanted.with_tag(tag) for tag in known[wanted.registry].tags(wanted.repository)]
        elif not options.quiet and not wanted.digest and not options.image.endswith(f":{wanted.tag}"):
            print(f"Using default tag: {wanted.tag}")
        for name in names:
            _pull_one(store, name, known, options)
    return 0


def _pull_one(store: Store, name: Reference, known: Registries, options: argparse.Namespace) -> None:
    """Pull one image, printing docker's lines."""
    before = next((each.digest for each in store.images() if str(name) in each.names), None)
    if not options.quiet:
        print(f"{name.digest or name.tag}: Pulling from {name.repository}")
    with transfer("pull", quiet=options.quiet) as progress:
        pull(
            name, store, platform=options.platform, all_platforms=options.all_platforms, unpack=options.unpack, progress=progress,
            registries=known,
        )  # fmt: skip
    if not options.quiet:
        digest = store.find(name.digest or name).digest
        print(f"Digest: {digest}")
        news = "Image is up to date" if digest == before else "Downloaded newer image"
        print(f"Status: {news} for {name.familiar}")
    print(name)


def pulled(store: Store, name: str, options: argparse.Namespace) -> Image:
    """Pull an image for `run`, with progress on standard error: standard output belongs to the program."""
    familiar = Reference.parse(name).familiar
    print(f"Pulling {familiar}" if options.pull == "always" else f"Unable to find image {familiar!r} locally", file=sys.stderr)
    with registries(options) as known, transfer("pull", stream=sys.stderr) as progress:
        pull(name, store, platform=options.platform, unpack=True, registries=known, progress=progress)
    return store.get(Reference.parse(name).digest or name, options.platform)


# push -----------------------------------------------------------------------------------------------------------


def _declare_push(parser: Parser) -> None:
    parser.takes_store()
    parser.takes_registry()
    parser.flag("-a", "--all-tags", help="push every tag of the repository in the store")
    parser.flag("-q", "--quiet", help="print only the name")
    parser.add_argument("--platform", metavar="OS/ARCH", help="only the image for this machine; the whole index unless given")
    parser.add_argument("image", metavar="NAME[:TAG]")
    parser.add_argument("destination", nargs="?", metavar="DESTINATION", help="the name at the registry; the same name unless given")
    parser.set_defaults(verb=_push)


def _push(options: argparse.Namespace) -> int:
    store, target = store_of(options), Reference.parse(options.destination or options.image)
    pairs: list[tuple[str, Reference]] = [(options.image, target)]
    if options.all_tags:
        source = Reference.parse(options.image).name
        here = [Reference.parse(name) for each in store.images() for name in each.names]
        pairs = [(str(each), target.with_tag(each.tag)) for each in here if each.name == source and each.tag]
        if not pairs:
            raise ImageError(f"there is no {source!r} in the store")
    with registries(options) as known:
        for name, target_name in pairs:
            _push_one(store, name, target_name, known, options)
    return 0


def _push_one(store: Store, name: str, target: Reference, known: Registries, options: argparse.Namespace) -> None:
    entry = store.find(name)
    image: Image | Index = store.get(name, options.platform)
    if media.kind(entry.media_type) == "index" and not options.platform:
        image = store.index(name)
    if not options.quiet:
        print(f"The push refers to repository [{target.name}]")
    with transfer("push", quiet=options.quiet) as progress:
        done = push(image, target, progress=progress, registries=known)
    print(target if options.quiet else f"{target.tag}: digest: {done.digest} size: {done.size}")


# login and logout -----------------------------------------------------------------------------------------------


def _declare_login(parser: Parser) -> None:
    parser.set_defaults(failed=1, verb=_login)
    parser.takes_registry()
    parser.add_argument("-u", "--username", metavar="NAME", help="the user name; prompted for unless given")
    parser.add_argument(
        "-p", "--password", metavar="PASSWORD", help="the password, which other users can see; the prompt or --password-stdin is safer"
    )
    parser.flag("--password-stdin", help="read the password from standard input")
    parser.add_argument("server", nargs="?", default=HUB, metavar="SERVER", help=f"{HUB} unless given")


def _login(options: argparse.Namespace) -> int:
    if options.password is not None and options.password_stdin:
        raise ImageError("--password and --password-stdin exclude each other: give one")
    if options.password_stdin and not options.username:
        raise ImageError("--password-stdin needs --username too")
    if options.password is not None:
        print("WARNING! A password on a command line can be seen by others. Use --password-stdin.", file=sys.stderr)
    name, password = _asked(options)
    login(options.server, name, password, **_settings(options))
    print("Login Succeeded")
    return 0


def _asked(options: argparse.Namespace) -> tuple[str, str]:
    """Return name and password, from the options or a prompt.  :raises ImageError: one is missing, and there is no terminal to prompt on"""
    if options.password_stdin:
        return options.username, sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty() and (options.username is None or options.password is None):
        raise ImageError("standard input is no terminal to prompt on: use --username and --password-stdin")
    name = options.username if options.username is not None else input("Username: ").strip()
    return name, options.password if options.password is not None else getpass.getpass("Password: ")


def _declare_logout(parser: Parser) -> None:
    parser.set_defaults(failed=1, verb=_logout)
    parser.add_argument("server", nargs="?", default=HUB, metavar="SERVER", help=f"{HUB} unless given")


def _logout(options: argparse.Namespace) -> int:
    print(f"Removing login credentials for {options.server}" if logout(options.server) else f"Not logged in to {options.server}")
    return 0


VERBS = {"pull": _declare_pull, "push": _declare_push, "login": _declare_login, "logout": _declare_logout}
