"""What a stage is after each of its instructions: a value.  An instruction turns one into the next."""

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
    """A stage, so far.

    :param config: its history grows; its diff_ids are those of `layers`
    :param layers: bottom first
    :param args: the ARGs declared in it, with those values that they have
    :param has_cmd: CMD stands in this very stage
    :param created: when the last instruction was made, in RFC 3339
    :param like: whose media types the image has; OCI's unless given
    """

    config: ImageConfig
    layers: tuple[Layer, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    has_cmd: bool = False
    created: str = ""
    like: Manifest | None = None

    @property
    def chain(self) -> Digest | None:
        """The name of its files."""
        return chain_of(self.layers)

    @property
    def variables(self) -> dict[str, str]:
        """What ``$NAME`` is: ENV before ARG."""
        return {**self.args, **self.config.environment}

    @property
    def environment(self) -> dict[str, str]:
        """What a program of RUN gets."""
        return {"PATH": DEFAULT_PATH, **self.variables}

    @property
    def shell(self) -> Sequence[str]:
        """What a line is given to."""
        return self.config.shell or SHELL

    @property
    def directory(self) -> str:
        """Where RUN works."""
        return self.config.working_dir or "/"

    def with_config(self, created_by: str, **changes: Any) -> State:
        """After an instruction that changes no file."""
        return self._noted(replace(self, config=self.config.with_(**changes)), created_by, empty=True)

    def with_layer(self, created_by: str, layer: Layer | None, created: str = "") -> State:
        """After one that may have; None where it has not."""
        layers = (*self.layers, layer) if layer else self.layers
        made = replace(self, layers=layers, created=created or self.created)
        return self._noted(made, created_by, empty=layer is None)

    @staticmethod
    def _noted(state: State, created_by: str, *, empty: bool) -> State:
        entry = History(created_by, empty_layer=empty, created=state.created, comment=COMMENT)
        return replace(state, config=state.config.with_(history=(*state.config.history, entry)))
