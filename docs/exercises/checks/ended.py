"""Several ends of a program, also those with equal exit codes in a shell."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def check(answer: ModuleType) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "script")
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        for argv, wanted, why in (
            (["/bin/true"], "exit 0", ""),
            (["/bin/sh", "-c", "exit 3"], "exit 3", ""),
            (["/bin/sh", "-c", "kill -9 $$"], "signal 9", ""),
            (
                ["/bin/sh", "-c", "exit 137"],
                "exit 137",
                ": a shell says 137 for signal 9 too, a Process says -9",
            ),
            ([f"{directory}/nothing"], "no program", ""),
            (
                [str(script)],
                "no interpreter",
                ": both failures are ENOENT, so check whether the file exists",
            ),
        ):
            said = answer.ended(argv)
            if said != wanted:
                yield f"for {argv} your answer is {said!r}, but the right one is {wanted!r}{why}"
