"""Run one command in a guest: print its output and exit with its code.  124: timeout; 125: no exit code arrived; 127: cannot boot."""

from __future__ import annotations

import argparse
import os
import sys

from . import KERNELS, Died, Machine, Missing, TimedOut


def main() -> int:
    """Boot, run, and return the command's exit code."""
    parser = argparse.ArgumentParser(prog="guest", description=__doc__)
    parser.add_argument("-k", "--kernel", choices=KERNELS, default=next(iter(KERNELS)))
    parser.add_argument("-t", "--seconds", type=float, default=300.0, help="turn it off after so long")
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args()
    try:
        with Machine(chosen.command, kernel=chosen.kernel, seconds=chosen.seconds) as machine:
            while data := machine.output.read1():
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            return machine.wait()
    except Missing as missing:
        print(f"guest: {missing}", file=sys.stderr)
        return 127
    except (TimedOut, Died) as error:
        print(f"guest: {error}", file=sys.stderr)
        return 124 if isinstance(error, TimedOut) else 125


if __name__ == "__main__":
    os.environ.setdefault("TERM", "dumb")
    sys.exit(main())
