"""What we read in a Dockerfile is what docker reads: the same config, and the same files refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from peertools import Docker, dockerd

from containerkit.dockerfile import parse
from containerkit.dockerfile.instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from containerkit.errors import DockerfileError

pytestmark = [pytest.mark.peer, pytest.mark.root]

VALUES = {"DIR": "/home", "SH": "bash", "KOREAN": "한국어", "EMPTY": "", "TWO": "a  b"}
WORDS = r"""hello he'll'o he'llo~wor'ld 'he''llo' "he'l'lo" 'he\' he\'llo he\\llo 'he\'llo "he\"llo" "he\llo" "he\\llo" he\llo hello\~world
    'he$SH' "he$SH" he\$SH 'he\$SH' "he\$SH" '' "" a''b he$SH he${SH} he${SH}xx he$SHxx he$SH. ${KOREAN}$SH he$1x he$12x $@b he$#b $ he$
    $$ $(date) $/a he$_x ${X:-000} ${EMPTY:-000} ${SH:-000} ${X:-} ${X:+000} ${EMPTY:+000} ${SH:+000} ${X:-${SH}} ${X:-${Y:-z}} ${X:-$SH/x}
    ${SH:+$SH} "${X:-'a~b'}" "${X:-"}"}" ${X:-\}} ${X:-a:b-c} $TWO "$TWO" x$TWO é$SH "a~~b" 안녕$SH "'$SH'" '"$SH"' a=b == #x""".split()
REST = r"""ENV old  way $SH  "q  r" \x
ENV SH=zsh A=$SH
LABEL cont=a\
# comment

b "q q"=1
CMD ["a", "b\u00e9" ]
ENTRYPOINT [ 'x', "y" ]
EXPOSE 80 90-92/udp ${X:-70}/TCP
VOLUME /a $DIR/b
VOLUME ["/d e", "$DIR/f"]
USER ${SH}:"g h"
WORKDIR /w/"x y"
STOPSIGNAL SIG${X:-TERM}
HEALTHCHECK --interval=1m30.5s --retries=3 CMD [ "x", 'y' ]
ONBUILD RUN  a $SH \
  b
SHELL ["/bin/zsh", "-c"]
"""
REFUSED = [
    "",
    "# nothing",
    "RUN x",
    "FROM",
    "FROM scratch AS 1",
    "FROM scratch x",
    "# escape=x\nFROM scratch",
    "# escape=`\n# escape=`\nFROM scratch",
]
REFUSED += [
    f"FROM scratch\n{line}"
    for line in r"""NOPE x
ENV a
ENV a=1 b
ENV =b
ENV a='b
ENV a=${b
ENV a=${b^}
LABEL a=${}
ARG
USER
COPY a
COPY --nope=1 a /
COPY --chown a /
COPY --chown=1 --chown=1 a /
COPY --from=0 a /
CMD ["a", 1]
SHELL bash
HEALTHCHECK x
HEALTHCHECK NONE x
HEALTHCHECK --retries=-1 CMD x
HEALTHCHECK --interval=1us CMD x
ONBUILD ONBUILD RUN x
ONBUILD FROM x
EXPOSE x
EXPOSE 2-1
EXPOSE 80/icmp
STOPSIGNAL NOPE
VOLUME []""".split("\n")
]


def everything() -> str:
    """One file with every word and every instruction that only sets something."""
    values = " ".join(f'{name}="{value}"' for name, value in VALUES.items())
    labels = " ".join(f"l{number}={word}" for number, word in enumerate(WORDS)).replace("~", " ")
    return f"FROM scratch\nENV {values}\nLABEL {labels}\n{REST}"


def ours(text: str) -> dict[str, Any]:
    """The config that the instructions make."""
    config: dict[str, Any] = {"Env": {}, "Labels": {}, "Volumes": set(), "OnBuild": []}
    for made in parse(text).stages[0].instructions:
        apply(made.expand(config["Env"]), config)
    return config


def apply(made: Instruction, config: dict[str, Any]) -> None:
    """What one instruction changes."""
    match made:
        case Env(pairs) | Label(pairs):
            config["Env" if isinstance(made, Env) else "Labels"].update(dict(pairs))
        case Cmd(command) | Entrypoint(command):
            config[type(made).__name__] = list(command.argv(("/bin/sh", "-c")))
        case Expose(ports):
            config["ExposedPorts"] = set(ports)
        case Volume(paths):
            config["Volumes"] |= set(paths)
        case Healthcheck():
            config["Healthcheck"] = {"Test": list(made.test), "Interval": made.interval, "Retries": made.retries}
        case User(value) | Workdir(value) | StopSignal(value):
            config[{User: "User", Workdir: "WorkingDir", StopSignal: "StopSignal"}[type(made)]] = value
        case OnBuild(trigger):
            config["OnBuild"].append(trigger)
        case Shell(argv):
            config["Shell"] = list(argv)


def theirs(docker: Docker, directory: Path, text: str) -> dict[str, Any]:
    """The config of the image that docker builds."""
    build(docker, directory, text)
    found = json.loads(docker("inspect", "built"))[0]["Config"]
    values = dict(entry.partition("=")[::2] for entry in found["Env"])
    del values["PATH"]
    return {**found, "Env": values, "Volumes": set(found["Volumes"]), "ExposedPorts": set(found["ExposedPorts"])}


def build(docker: Docker, directory: Path, text: str) -> None:
    """With docker's own builder, which reads with the parser and the lexer of buildkit."""
    (directory / "Dockerfile").write_text(text)
    docker("build", "-q", "-t", "built", directory)


def test_docker_reads_the_same(tmp_path: Path) -> None:
    """One daemon for all of it: starting it is what takes time."""
    directory = tmp_path / "context"
    directory.mkdir()
    with dockerd(tmp_path / "docker") as docker:
        config = ours(everything())
        found = theirs(docker, directory, everything())
        assert {name: found[name] for name in config} == config
        for text in REFUSED:
            with pytest.raises(AssertionError, match=r"docker.* build .*exit code 1"):
                build(docker, directory, text)
            with pytest.raises(DockerfileError):
                parse(text)
