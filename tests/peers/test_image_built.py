"""What we build, run by runc as umoci understands its config, and begun with by buildah and docker."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from dockerfiles import BASE, base_image
from peertools import Containers, dockerd, in_memory, run, tool, umoci

from containerkit.builder import build
from containerkit.image.image import Image
from containerkit.store.store import Store

pytestmark = [pytest.mark.peer, pytest.mark.root]

DOCKERFILE = b"""\
FROM localhost/base AS made
RUN mkdir /srv && echo made > /srv/file && chown web:staff /srv/file && chmod 440 /srv/file && rm /data/one
FROM localhost/base
ENV GREETING="hello there"
COPY --from=made /srv /srv
RUN rm -r /data/full && mkdir /data/full
LABEL a=b
EXPOSE 80
HEALTHCHECK --retries=3 CMD ["true"]
STOPSIGNAL SIGINT
WORKDIR /srv
USER web
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["echo $GREETING; id; pwd; cat file; ls /data /data/full"]
"""
SAID = "hello there\nuid=33(web) gid=50(staff) groups=60(alpha),61(beta)\n/srv\nmade\n"
LISTED = "/data:\ncapable\nempty\nfull\nlink\nmarked\nmarked-directory\none\n\n/data/full:\n"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    with in_memory("built") as place:
        store = Store(tmp_path / "store")
        store.put(base_image(place / "base"), BASE)
        return build(place, dockerfile=DOCKERFILE, store=store)


def test_runc_runs_it(tmp_path: Path, image: Image) -> None:
    """User, groups, environment, directory and command are what umoci reads in the config."""
    image.save(tmp_path / "layout", "built")
    umoci("unpack", "--image", f"{tmp_path}/layout:built", tmp_path / "bundle")
    config = json.loads((tmp_path / "bundle/config.json").read_text())
    config["process"] |= {"terminal": False, "rlimits": []}
    config["mounts"] = [each for each in config["mounts"] if each["type"] != "cgroup"]
    (tmp_path / "bundle/config.json").write_text(json.dumps(config))
    said = run(tool("runc"), "--root", tmp_path / "state", "run", "--bundle", tmp_path / "bundle", f"ck-built-{os.getpid()}")
    assert said == SAID + LISTED


def test_docker_knows_all_of_its_config(tmp_path: Path, image: Image) -> None:
    image.save(tmp_path / "built.tar", "built:1", docker=True)
    with dockerd(tmp_path / "docker") as docker:
        docker("load", "-q", "-i", tmp_path / "built.tar")
        (said,) = json.loads(docker("image", "inspect", "built:1"))
        lines = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", "built:1").splitlines()
    config = said["Config"]
    assert said["Id"] == image.id
    assert (config["User"], config["WorkingDir"], config["StopSignal"], config["Labels"]) == ("web", "/srv", "SIGINT", {"a": "b"})
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/sh", "-c"], list(image.config.cmd or ()))
    assert (config["ExposedPorts"], config["Healthcheck"]) == ({"80/tcp": {}}, {"Test": ["CMD", "true"], "Retries": 3})
    assert [line for line in lines if line.startswith(("COPY", "RUN", "CMD"))]
    assert len(lines) == len(image.history)


def test_buildah_goes_on_from_it(tmp_path: Path, image: Image) -> None:
    image.save(tmp_path / "layout", "built")
    theirs = Containers.at(tmp_path / "theirs")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f'FROM oci:{tmp_path}/layout:built\nUSER root\nRUN ["/bin/sh", "-c", "cat /srv/file > /seen"]\n')
    theirs.buildah("bud", "-q", "--isolation=chroot", "-t", "localhost/next:1", context)
    assert (theirs.root_of("localhost/next:1") / "seen").read_text() == "made\n"
    assert theirs.config_of("localhost/next:1")["config"]["Env"] == list(image.config.env)
