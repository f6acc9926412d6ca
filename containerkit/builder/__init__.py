"""From a Dockerfile, or from Python, to an image: a plan over layers for RUN, a tar for COPY, a store for all of it.

    build(".", tags=["kubia"])                                   Dockerfile -> Image, kept in a store
    add(Image.scratch(), "app.js", "/app.js")                    the same operations, one by one
    run(image, ["npm", "install"])

    building  applying                          what is offered
    solving  stage  state  works                which stages, in which order; one stage; what it is in between
    settings                                    the instructions that only set something
    copying  picking  laying  modes             COPY and ADD
    context  tree  fetching                     where files come from
    running  mounting  caches                   RUN, and what is mounted for it
    parts  lookups  settling                    what its plan is made of; what is taken away after it
    workshop  cache  digests  exchange          where layers go, and what was built before
    progress  errors                            what it tells

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
