"""What runs in a container: a program of the caller's in a root of the caller's, or what an image says.

    with LayerFS(image) as root:
        inside = of_image(image, root, options)       what the command line says counts; then what the image says
        plan(*parts, inside.user, *inside.identity, run=inside.argv, env=inside.env, cwd=inside.cwd)

:see: https://github.com/opencontainers/image-spec/blob/main/conversion.md
"""

from __future__ import annotations

import argparse
import os
import re
import signal
from collections.abc import Iterable, Mapping, Sequence

from ..base.frozen import frozen
from ..core.standard_steps import DEFAULT_PATH
from ..core.step import Part
from ..errors import PlanError
from ..layers.accounts import Account, account
from ..layers.layerfs import LayerFS
from ..linux.ids import has_own_ids
from ..parts import ns
from ..parts.credentials import Credentials
from .parser import store_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..image import Image, ImageConfig
    from ..store.store import Store

__all__ = ["Contained", "chosen", "of_image", "of_root"]


@frozen
class Contained:
    """What runs in a container, and as whom.

    :ivar user: the part with the ids that there are inside
    :ivar more: further parts
    :ivar stop: the signal that asks the program to end
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None
    user: ns.User
    more: tuple[Part, ...] = ()
    stop: int = signal.SIGTERM
    from_image: bool = False


def of_root(root: LayerFS, options: argparse.Namespace, argv: Sequence[str]) -> Contained:
    """A program in a root of the caller's.

    :raises PlanError: a user that the root does not have; something that only an image has was asked for
    """
    if options.entrypoint is not None:
        raise PlanError("--entrypoint takes the place of an image's, and this is no image: name the program")
    user = _user(options, ns.User())
    identity: tuple[Part, ...] = ()
    if options.user is not None:
        user, identity = _ids(account(options.user, root.read), options)
    env = _environment() | _asked(options.env)
    return Contained(argv, env, options.workdir, user, identity, _signal(options.stop_signal or ""))


def chosen(options: argparse.Namespace) -> Image:
    """The image that was asked for: from the store, or from its registry first.

    :raises ImageError: there is none;  :raises RegistryError: it cannot be had
    """
    store = store_of(options)
    image = _found(store, options)
    if options.skip:
        store.layers(image)  # whoever holds the image afterwards asks its store as it was made, which leaves nothing out
    return image


def _found(store: Store, options: argparse.Namespace) -> Image:
    name = options.words[0]
    if options.pull != "always":
        try:
            return store.get(name, options.platform)
        except LookupError:
            if options.pull == "never":
                raise
    from .registry import pulled

    return pulled(store, name, options)


def of_image(image: Image, root: LayerFS, options: argparse.Namespace) -> Contained:
    """What the command line says, and for the rest what the image does.

    :param root: where its users are named
    :raises PlanError: no program, a user that the image does not have, a signal that nobody has
    """
    config = image.config
    who = account(config.user if options.user is None else options.user, root.read)
    env = _environment() | {"HOSTNAME": options.hostname, "HOME": who.home} | config.environment | _asked(options.env)
    user, identity = _ids(who, options)
    stop = _signal(options.stop_signal or config.stop_signal)
    cwd = options.workdir or config.working_dir or "/"
    more = (*identity, *_made((cwd, *config.volumes)), _lookups(options))
    return Contained(_argv(config, options), env, cwd, user, more, stop, from_image=True)


def _environment() -> dict[str, str]:
    """What docker gives to every program."""
    return {"PATH": DEFAULT_PATH} | ({"TERM": os.environ["TERM"]} if "TERM" in os.environ else {})


def _asked(words: Iterable[str]) -> dict[str, str]:
    """A name without a value is one of ours, where we have it."""
    pairs = (word.partition("=") for word in words)
    return {name: value if given else os.environ[name] for name, given, value in pairs if given or name in os.environ}


def _argv(config: ImageConfig, options: argparse.Namespace) -> list[str]:
    """Another entrypoint takes the image's arguments with it, for they were not meant for it."""
    given = options.words[1:]
    if options.entrypoint is not None:
        argv = [*filter(None, [options.entrypoint]), *given]
    else:
        argv = [*(config.entrypoint or ()), *(given or config.cmd or ())]
    if not argv:
        raise PlanError(f"{options.words[0]} says no program to run: name one after it")
    return argv


def _ids(who: Account, options: argparse.Namespace) -> tuple[ns.User, tuple[Part, ...]]:
    """The part for the ids that there are inside, and for who is one of them."""
    user = _user(options, ns.User(who.uid, who.gid))
    if len(user.maps[0]) == 1 and user.maps[0][0][2] == 1:
        return user, ()
    plain = (who.uid, who.gid, who.groups) == (0, 0, ())
    return user, () if plain else (Credentials(who.uid, who.gid, who.groups),)


def _user(options: argparse.Namespace, one: ns.User) -> ns.User:
    """Root's containers have ids that are nobody's outside, unless this machine's are asked for.

    An ordinary user has one id: it is whoever the image wants, and all its files are that one's; with --subids the range, and root's
    are the files.  Root of a user namespace has all that there are in it, with the files as they are.

    :param one: for who has one id
    """
    if has_own_ids() and options.userns != "host":
        return ns.User()
    if options.subids and options.userns != "host":
        return ns.subids()
    return ns.User.same() if os.geteuid() == 0 else one


def _signal(text: str) -> int:
    """The number of a signal: ``SIGTERM``, ``TERM``, ``15``, ``SIGRTMIN+3`` as systemd has it; SIGTERM for "".

    :raises PlanError: there is none
    """
    name = text.upper().removeprefix("SIG")
    if realtime := re.fullmatch(r"RTMIN\+(\d{1,2})|RTMAX-(\d{1,2})", name):
        up, down = (int(words or 0) for words in realtime.groups())
        number = signal.SIGRTMIN + up if name.startswith("RTMIN") else signal.SIGRTMAX - down
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    try:
        return int(text) if text.isdigit() and 0 < int(text) < signal.NSIG else signal.Signals[f"SIG{name or 'TERM'}"]
    except KeyError:
        raise PlanError(f"no such signal: {text!r}") from None


def _made(paths: Iterable[str]) -> tuple[Part, ...]:
    """Docker makes the working directory and the places of volumes where they are not there."""
    from ..parts.files import Directory

    return tuple(Directory(path) for path in dict.fromkeys(paths) if path.strip("/"))


def _lookups(options: argparse.Namespace) -> Part:
    """/etc/hosts and its like, as docker gives them; not where the caller has others."""
    from ..parts.files import Files
    from ..parts.name_files import network_files

    others = {text.split(":")[1] for text in options.volume if ":" in text}
    return Files(tuple(file for file in network_files(options.network, options.hostname) if file.target not in others))
