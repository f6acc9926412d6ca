"""The library from a shell: every verb is a few lines over it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import ContainerKitError
from . import container, machine, top

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit code: the program's own for `run`, 125 for an error of ours, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="containerkit", description="container primitives, one at a time")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    container.add_verbs(verbs)
    machine.add_verbs(verbs)
    top.add_verbs(verbs)
    options = parser.parse_args(argv)
    try:
        return int(options.verb(options))
    except ContainerKitError as error:
        print(f"containerkit: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return 141
