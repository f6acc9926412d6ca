"""Check an answer by running it against the kernel:  python docs/exercises/check.py NAME [FILE]

Without FILE the answer is the file NAME.py beside this one.  The exit code is 0 for a right
answer, 1 for a wrong one, and 3 when this machine, or this user, cannot run the check.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType, ModuleType

from containerkit import Unavailable

HERE = Path(__file__).resolve().parent
SECONDS = 20


def load(path: Path) -> ModuleType:
    """Return the module in a file.  An exception of the file is passed on."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python in {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look here for the types they name
    spec.loader.exec_module(module)
    return module


def names() -> list[str]:
    """Return the names of all exercises."""
    return sorted(path.stem for path in (HERE / "checks").glob("*.py"))


def too_slow(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"it did not end in {SECONDS} s")


def complaints(name: str, answer: Path) -> list[str]:
    """Return the faults of an answer, in words; [] for a right answer."""
    signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(SECONDS)
    try:
        return list(load(HERE / "checks" / f"{name}.py").check(load(answer)))
    except NotImplementedError:
        return [
            f"{answer.name} is still to be written: replace the line `raise NotImplementedError`"
        ]
    except Unavailable:
        raise
    except Exception as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(answer)
        ]
        where = f" (line {lines[-1]} of {answer.name})" if lines else ""
        return [f"your code raised {type(error).__name__}{where}: {error}"]
    finally:
        signal.alarm(0)


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in names():
        print("usage: check.py NAME [FILE], where NAME is one of", ", ".join(names()))
        return 2
    answer = Path(argv[1]).resolve() if len(argv) > 1 else HERE / f"{argv[0]}.py"
    try:
        found = complaints(argv[0], answer)
    except Unavailable as error:
        print(f"{error}\n{argv[0]}: cannot be checked here")
        return 3
    for complaint in found:
        print("-", complaint)
    print(f"{argv[0]}: " + ("not yet" if found else "right"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
