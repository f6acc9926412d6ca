"""The state of a stage between two instructions: a value that an instruction turns into the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..base.frozen import field, frozen, replace
from ..core.standard_steps import DEFAULT_PATH
from ..image.config import ImageConfig
from ..image.digest import Digest
from ..image.history import History
from ..image.layer import Layer
from ..image.manifest import Manifest
from .workspace import chain_of

__all__ = ["SHELL", "State"]

SHELL = ("/bin/sh", "-c")
COMMENT = "containerkit"


@frozen
class State:
    """The state of a stage after some of its instructions.

    :param config: its history grows; its diff_ids are those of `layers`
    :param layers: bottom first
    :param args: the ARGs declared so far, with the values of those that have one
    :param has_cmd: whether CMD was set in this stage rather than in its base
    :param created: the time of the last instruction, in RFC 3339
    :param like: a manifest whose family of media types the image gets; OCI's unless given
    """

    config: ImageConfig
    layers: tuple[Layer, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    has_cmd: bool = False
    created: str = ""
    like: Manifest | None = None

    @property
    def chain(self) -> Digest | None:
        """The chain id of the layers, which names the files."""
        return chain_of(self.layers)

    @property
    def variables(self) -> dict[str, str]:
        """The values of ``$NAME``.  ENV takes precedence over ARG."""
        return {**self.args, **self.config.environment}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program in RUN."""
        return {"PATH": DEFAULT_PATH, **self.variables}

    @property
    def shell(self) -> Sequence[str]:
        """The shell that runs a command line."""
        return self.config.shell or SHELL

    @property
    def directory(self) -> str:
        """The working directory of RUN."""
        return self.config.working_dir or "/"

    def with_config(self, created_by: str, **changes: Any) -> State:
        """Return the state after an instruction that changes no file."""
        return self._noted(replace(self, config=self.config.with_(**changes)), created_by, empty=True)

    def with_layer(self, created_by: str, layer: Layer | None, created: str = "") -> State:
        """Return the state after an instruction that may change files.

        :param layer: None when it changed none
        """
        layers = (*self.layers, layer) if layer else self.layers
        made = replace(self, layers=layers, created=created or self.created)
        return self._noted(made, created_by, empty=layer is None)

    @staticmethod
    def _noted(state: State, created_by: str, *, empty: bool) -> State:
        entry = History(created_by, empty_layer=empty, created=state.created, comment=COMMENT)
        return replace(state, config=state.config.with_(history=(*state.config.history, entry)))
