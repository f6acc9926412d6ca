"""Make a spec from an image's config.

    spec = ContainerSpec.from_image(image.config, ["ls", "/"], env={"LANG": "C"}, user="web")

:see: https://github.com/opencontainers/image-spec/blob/main/conversion.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.standard_steps import DEFAULT_PATH
from ..errors import PlanError
from . import _checks as checks
from .errors import SpecError, refused
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..image.config import ImageConfig

__all__ = ["environment", "spec_of_image"]


def environment(term: str | None = None) -> dict[str, str]:
    """Return the variables that every program finds in its environment, as docker sets them.

    :param term: the value of TERM, the kind of the terminal
    """
    return {"PATH": DEFAULT_PATH} | ({"TERM": term} if term is not None else {})


def spec_of_image(
    config: ImageConfig, argv: Sequence[str] = (), *, image: str = "", entrypoint: str | None = None, hostname: str = "container",
    env: Mapping[str, str] | None = None, term: str | None = None, **others: Any,
) -> ContainerSpec:  # fmt: skip
    """Do the work of `ContainerSpec.from_image`."""
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
