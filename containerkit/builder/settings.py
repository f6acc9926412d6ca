"""The instructions that change no file: each turns a state into the next.

    state = setting(instruction, state)             for an expanded ENV, CMD, LABEL ...; None for an instruction of another kind
    config = configured(config, 'CMD ["sh"]')       the same for a config alone

:see: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..base.frozen import replace
from ..dockerfile import instructions as dockerfile
from ..dockerfile.parser import parse_change
from ..image.config import ImageConfig
from .errors import BuildError
from .state import State

__all__ = ["absolute", "configured", "setting"]


def setting(instruction: dockerfile.Instruction, state: State) -> State | None:
    """Return the state after an instruction that changes no file; None for any other instruction.

    :param instruction: with variables expanded
    """
    change = _CHANGES.get(type(instruction))
    return change(instruction, state) if change else None


def configured(config: ImageConfig, *texts: str) -> ImageConfig:
    """Return a config after instructions of one stage, as in `import --change`.  Here WORKDIR makes no directory.

    :raises DockerfileError: an instruction cannot be read
    :raises BuildError: an instruction changes files
    """
    state = State(config)
    for text in texts:
        instruction = parse_change(text).expand(state.config.environment)
        if isinstance(instruction, dockerfile.Workdir):
            state = replace(state, config=state.config.with_(working_dir=absolute(instruction.path, state.config.working_dir)))
        elif (after := setting(instruction, state)) is None:
            raise BuildError(f"{instruction.keyword} changes files: only a build does that")
        else:
            state = after
    return state.config.with_(history=config.history)


def absolute(path: str, base: str) -> str:
    """Return the absolute path that an instruction names; a relative one is below WORKDIR."""
    return posixpath.normpath(posixpath.join("/", base, path)).replace("//", "/")


def _cmd(step: dockerfile.Cmd, state: State) -> State:
    argv = step.command.argv(state.shell)
    return replace(state.with_config(f"CMD {_words(argv)}", cmd=argv), has_cmd=True)


def _entrypoint(step: dockerfile.Entrypoint, state: State) -> State:
    """Set the entrypoint.  It drops the base's CMD, which was written for the base's ENTRYPOINT."""
    argv = step.command.argv(state.shell)
    return state.with_config(f"ENTRYPOINT {_words(argv)}", entrypoint=argv, cmd=state.config.cmd if state.has_cmd else None)


def _env(step: dockerfile.Env, state: State) -> State:
    names = dict(entry.partition("=")[::2] for entry in state.config.env)
    names |= {pair.name: pair.value or "" for pair in step.pairs}
    return state.with_config(_pairs("ENV", step.pairs), env=[f"{name}={value}" for name, value in names.items()])


def _label(step: dockerfile.Label, state: State) -> State:
    new = {pair.name: pair.value or "" for pair in step.pairs}
    return state.with_config(_pairs("LABEL", step.pairs), labels={**state.config.labels, **new})


def _user(step: dockerfile.User, state: State) -> State:
    return state.with_config(f"USER {step.user}", user=str(step.user))


def _volume(step: dockerfile.Volume, state: State) -> State:
    volumes = dict.fromkeys([*state.config.volumes, *map(str, step.paths)])
    return state.with_config(f"VOLUME [{' '.join(step.paths)}]", volumes=tuple(volumes))


def _expose(step: dockerfile.Expose, state: State) -> State:
    ports = dict.fromkeys([*state.config.exposed_ports, *map(str, step.ports)])
    return state.with_config(f"EXPOSE [{' '.join(step.ports)}]", exposed_ports=tuple(ports))


def _shell(step: dockerfile.Shell, state: State) -> State:
    return state.with_config(f"SHELL [{' '.join(step.argv)}]", shell=tuple(step.argv))


def _stop_signal(step: dockerfile.StopSignal, state: State) -> State:
    return state.with_config(f"STOPSIGNAL {step.signal}", stop_signal=str(step.signal))


def _maintainer(step: dockerfile.Maintainer, state: State) -> State:
    return state.with_config(f"MAINTAINER {step.name}", author=str(step.name))


def _on_build(step: dockerfile.OnBuild, state: State) -> State:
    return state.with_config(f"ONBUILD {step.trigger}", on_build=(*state.config.on_build, str(step.trigger)))


def _healthcheck(step: dockerfile.Healthcheck, state: State) -> State:
    times = {"Interval": step.interval, "Timeout": step.timeout, "StartPeriod": step.start_period, "StartInterval": step.start_interval}
    numbers = {name: number for name, number in (*times.items(), ("Retries", step.retries)) if number}
    return state.with_config(str(step), healthcheck={"Test": list(step.test), **numbers})


def _words(argv: Sequence[str]) -> str:
    import json

    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in argv) + "]"


def _pairs(keyword: str, pairs: Sequence[dockerfile.Pair]) -> str:
    return " ".join([keyword, *(f"{pair.name}={pair.value or ''}" for pair in pairs)])


_CHANGES: Mapping[type, Callable[[Any, State], State]] = {
    dockerfile.Cmd: _cmd, dockerfile.Entrypoint: _entrypoint, dockerfile.Env: _env, dockerfile.Label: _label, dockerfile.User: _user,
    dockerfile.Volume: _volume, dockerfile.Expose: _expose, dockerfile.Shell: _shell, dockerfile.StopSignal: _stop_signal,
    dockerfile.Maintainer: _maintainer, dockerfile.OnBuild: _on_build, dockerfile.Healthcheck: _healthcheck,
}  # fmt: skip
