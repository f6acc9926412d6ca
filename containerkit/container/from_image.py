"""What an image says about running it, as a spec.

    spec = from_image(image.config, ["ls", "/"], env={"LANG": "C"}, user="web")

:see: https://github.com/opencontainers/image-spec/blob/main/conversion.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.standard_steps import DEFAULT_PATH
from ..errors import PlanError
from . import _checks as checks
from .errors import SpecError, refused
from .spec import ContainerSpec

if TYPE_CHECKING:
    from ..image.config import ImageConfig

__all__ = ["environment", "from_image"]


def environment(term: str | None = None) -> dict[str, str]:
    """What every program finds in its environment, as docker has it.

    :param term: TERM, the kind of the terminal
    """
    return {"PATH": DEFAULT_PATH} | ({"TERM": term} if term is not None else {})


def from_image(
    config: ImageConfig, argv: Sequence[str] = (), *, image: str = "", entrypoint: str | None = None, hostname: str = "container",
    env: Mapping[str, str] | None = None, term: str | None = None, **others: Any,
) -> ContainerSpec:  # fmt: skip
    """What the image says, and instead of it what the caller says, as docker has it.

    The working directory and the places of volumes are made where the root lacks them, and /etc/hosts and its like are the container's own.

    :param argv: instead of the image's arguments (CMD)
    :param image: its name or digest, for the spec
    :param entrypoint: instead of the image's; "" for none.  The image's arguments were not meant for it, and are left out
    :param hostname: what the container is called, also in HOSTNAME
    :param env: more variables, also instead of the image's
    :param term: TERM, unless the image or `env` has it
    :param others: fields of `ContainerSpec`
    :raises SpecError: there is no program, a signal that is none, or another field that cannot be
    """
    cwd = others.pop("cwd", None) or config.working_dir or "/"
    fields = {"user": config.user, "stop_signal": config.stop_signal, "set_home": True, "name_files": True, "labels": config.labels}
    variables = environment(term) | {"HOSTNAME": hostname} | config.environment | checks.environment(env)
    directories = (cwd, *config.volumes, *others.pop("directories", ()))
    command = _command(config, argv, image, entrypoint)
    return ContainerSpec(command, env=variables, cwd=cwd, image=image, hostname=hostname, directories=directories, **{**fields, **others})


def _command(config: ImageConfig, argv: Sequence[str], image: str, entrypoint: str | None) -> list[str]:
    try:
        given = checks.words(argv)
    except PlanError as error:
        raise refused("argv", error) from None
    says = [*(config.entrypoint or ()), *(given or config.cmd or ())]
    found = says if entrypoint is None else [*filter(None, [entrypoint]), *given]
    if not found:
        raise SpecError("argv", f"{image or 'the image'} says no program to run: name one after it")
    return found
