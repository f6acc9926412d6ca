"""Builds: from a Dockerfile or from Python to an image.  RUN is a plan over layers, COPY a tar, and a store keeps the result.

    build(".", tags=["kubia"])                                   Dockerfile -> Image, kept in a store
    add(Image.scratch(), "app.js", "/app.js")                    the same operations, one by one
    run(image, ["npm", "install"])

    building  applying                          the public functions
    solving  stage  state  session              the order of the stages; one stage; its state after each instruction
    settings                                    the instructions that only change the config
    copying  picking  laying  modes             COPY and ADD
    context  tree  fetching                     the sources of files
    running  mounting  caches  settling         RUN, its mounts, and the removal of their mount targets
    workspace  cache  digests  exchange         the new layers, and the results of earlier builds
    progress  errors                            reports

Every instruction turns a state into the next; there is no other mechanism.
:see: https://docs.docker.com/reference/dockerfile/
"""

from ..base.late import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .applying import add, run
    from .building import build
    from .caches import prune
    from .errors import FailedStep
    from .progress import Event

__all__ = ["Event", "FailedStep", "add", "build", "prune", "run"]

_NAMES = {
    "applying": "add run",
    "building": "build",
    "caches": "prune",
    "errors": "FailedStep",
    "progress": "Event",
}

if not TYPE_CHECKING:
    __getattr__ = names(__name__, _NAMES)
