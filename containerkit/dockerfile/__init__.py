"""The language of Dockerfiles.  Pure: text in, values out; the package opens nothing and builds nothing.

    dockerfile = parse(text)                    or DockerfileError with the line and the column
    dockerfile.stages[0].instructions           values, see instructions.py
    instruction.expand({"VERSION": "1"})        as buildkit expands
    str(dockerfile)                             its normal form, which parses back equal
    Ignore.parse(text).excludes("a/b")          a .dockerignore

    words  expansion          text that carries its position; ${x:-y} and the like
    instructions  mounts      values
    parser  file              from text to values
    ignore                    .dockerignore

:see: https://docs.docker.com/reference/dockerfile/
"""

from .file import Dockerfile, Stage
from .parser import parse, parse_trigger

__all__ = ["Dockerfile", "Stage", "parse", "parse_trigger"]
