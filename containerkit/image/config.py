"""The config of an image: how to run it, what its layers hold, and how it was made.

    config.cmd, config.env, config.working_dir ...        of its `config` object
    config.diff_ids                                       of its `rootfs`
    config.history                                        one entry for each instruction, with or without a layer

:see: https://github.com/opencontainers/image-spec/blob/main/config.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..base.frozen import FrozenDict, field, fields, frozen, replace
from .digest import Digest
from .documents import Fields, dump, parse
from .errors import InvalidDocument
from .history import History
from .platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["History", "ImageConfig"]

_TEXTS = {"user": "User", "working_dir": "WorkingDir", "stop_signal": "StopSignal"}
_LISTS = {"env": "Env", "on_build": "OnBuild", "shell": "Shell"}
_COMMANDS = {"entrypoint": "Entrypoint", "cmd": "Cmd"}
_SETS = {"exposed_ports": "ExposedPorts", "volumes": "Volumes"}


@frozen
class ImageConfig:
    """How to run an image, what its layers hold, and how it was made.

    :param env: ``NAME=value`` each; a mapping is accepted too
    :param entrypoint: the fixed part of the command; None when the image has none
    :param cmd: the replaceable part, after the entrypoint; None when the image has none
    :param user: ``name``, ``uid``, ``name:group``, ``uid:gid``
    :param exposed_ports: ``8080/tcp`` each
    :param healthcheck: docker's, unchanged
    :param diff_ids: of the layers, bottom first
    :param created: RFC 3339, as it was written
    :param extra: top-level fields that are not known here, unchanged
    :param config_extra: fields of `config` that are not known here, unchanged
    """

    platform: Platform = field(default_factory=Platform.here)
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    user: str = ""
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str = ""
    healthcheck: Mapping[str, Any] | None = field(default=None, hash=False)
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    created: str = ""
    author: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    config_extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.env, Mapping):
            self._set("env", [f"{name}={value}" for name, value in self.env.items()])
        for name in ("env", "entrypoint", "cmd", "exposed_ports", "volumes", "on_build", "shell"):
            self._set(name, _strings(getattr(self, name), f"config.{name}"))
        for name in ("labels", "extra", "config_extra"):
            self._set(name, FrozenDict(getattr(self, name)))
        self._set("diff_ids", tuple(map(Digest, self.diff_ids)))
        self._set("history", tuple(self.history))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    @classmethod
    def parse(cls, data: bytes) -> ImageConfig:
        """Parse the bytes of a config, OCI's or docker's.

        :raises InvalidDocument: `data` is not a config
        :raises LimitExceeded: `data` is over 4 MiB, or nested too deep
        """
        top = Fields(parse(data, "config"), "config")
        inner = Fields(top.take("config", dict, {}), "config.config")
        rootfs = Fields(top.take("rootfs", dict, {}), "config.rootfs")
        if (kind := rootfs.text("type", "layers")) != "layers":
            raise InvalidDocument(f"config.rootfs.type: expected 'layers', found {kind!r}")
        values: dict[str, Any] = {name: inner.text(key, "") for name, key in _TEXTS.items()}
        values |= {name: inner.texts(key) for name, key in _LISTS.items()}
        values |= {name: inner.texts(key) if inner.take(key, list, None) is not None else None for name, key in _COMMANDS.items()}
        values |= {name: tuple(inner.take(key, dict, {})) for name, key in _SETS.items()}
        values |= {"labels": inner.strings("Labels"), "healthcheck": inner.take("Healthcheck", dict, None)}
        values |= {"created": top.text("created", ""), "author": top.text("author", ""), "platform": _platform(top)}
        history = tuple(History.from_json(value, where) for value, where in top.objects("history", []))
        diff_ids = tuple(map(Digest, rootfs.texts("diff_ids")))
        return cls(**values, diff_ids=diff_ids, history=history, config_extra=inner.rest(), extra=top.rest())

    def to_json(self) -> dict[str, Any]:
        """Return the config as a JSON object in the specification's order, without empty fields."""
        found: dict[str, Any] = {"created": self.created} if self.created else {}
        found |= {"author": self.author} if self.author else {}
        found |= self.platform.to_json()
        if inner := self._inner():
            found["config"] = inner
        found["rootfs"] = {"type": "layers", "diff_ids": [str(digest) for digest in self.diff_ids]}
        found |= {"history": [entry.to_json() for entry in self.history]} if self.history else {}
        return found | dict(self.extra)

    def _inner(self) -> dict[str, Any]:
        named = {**_TEXTS, **_LISTS, **_COMMANDS}
        values = {key: getattr(self, name) for name, key in named.items()}
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value}
        found |= {key: [] for name, key in _COMMANDS.items() if getattr(self, name) == ()}
        found |= {key: {item: {} for item in getattr(self, name)} for name, key in _SETS.items() if getattr(self, name)}
        found |= {"Labels": dict(self.labels)} if self.labels else {}
        found |= {"Healthcheck": dict(self.healthcheck)} if self.healthcheck is not None else {}
        return found | dict(self.config_extra)

    def dump(self) -> bytes:
        """Return the config as JSON."""
        return dump(self.to_json())

    def with_(self, **changes: Any) -> ImageConfig:
        """Return the config with some fields changed.

        :raises InvalidDocument: no field has that name, or a value is of another type
        """
        if wrong := changes.keys() - {each.name for each in fields(self)}:
            raise InvalidDocument(f"a config has no {min(wrong)!r}; it has {', '.join(each.name for each in fields(self))}")
        return replace(self, **changes)

    @property
    def environment(self) -> dict[str, str]:
        """`env` as a dict.  When a name occurs twice, the last value counts, as in programs that read their environment."""
        return {name: value for name, _, value in (entry.partition("=") for entry in self.env)}

    @property
    def command(self) -> tuple[str, ...]:
        """The default command: the entrypoint, then cmd."""
        return (self.entrypoint or ()) + (self.cmd or ())


def _strings(values: Iterable[str] | None, where: str) -> tuple[str, ...] | None:
    if values is None:
        return None
    found = () if isinstance(values, str) else tuple(values)
    if isinstance(values, str) or not all(isinstance(value, str) for value in found):
        raise InvalidDocument(f"{where}: expected a list of strings, found {values!r}")
    return found


def _platform(top: Fields) -> Platform:
    """Read the platform from the top of a config.

    Old images have no architecture: they were made when amd64 was the only one.
    """
    found = {name: top.text(name, "") for name in ("os", "architecture", "variant", "os.version")}
    return Platform(
        found["os"] or "linux", found["architecture"] or "amd64", found["variant"], found["os.version"], top.texts("os.features")
    )
