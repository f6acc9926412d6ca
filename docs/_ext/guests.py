"""Running a script of the book on pure cgroup v2: here, or in a virtual machine on the machine that builds the book.

As a program it is what runs in there: it prints what came of the script, as one line of JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import scripts

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SECONDS = 180.0  # under software emulation, where the plots take half of it


def run(script: Path, kernel: str) -> scripts.Ran:
    """Run `script` here if this machine has only cgroup v2, or no virtual machine is available; otherwise in a virtual machine."""
    from containerkit.cgroup import system

    if system().mode == "v2" or not TOOLS.is_dir():
        return scripts.run(script)
    sys.path.append(str(TOOLS))
    from guest import Died, Machine, Missing, TimedOut

    try:
        with Machine([sys.executable, __file__, str(script)], kernel=kernel, seconds=SECONDS) as machine:
            printed = machine.output.read().decode(errors="replace")
            machine.wait()
    except Missing:
        return scripts.run(script)
    except (TimedOut, Died) as error:
        return scripts.Ran(str(error), 125)
    finally:
        sys.path.remove(str(TOOLS))
    return scripts.Ran(**json.loads(printed.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(asdict(scripts.run(Path(sys.argv[1]), timeout=SECONDS))))
