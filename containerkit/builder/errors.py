"""What can go wrong in a build.

BuildError                   an image cannot be built; nothing was named
├── FailedStep               an instruction failed; knows the stage, the step, the line, the exit code and the last output
└── DockerfileError          a Dockerfile cannot be read
"""

from __future__ import annotations

from ..errors import BuildError, DockerfileError

__all__ = ["BuildError", "DockerfileError", "FailedStep"]


class FailedStep(BuildError):
    """An instruction failed.

    :ivar stage: its name, or its number
    :ivar step, total: which one of how many in its stage, from 1
    :ivar line: where it begins in the Dockerfile; 0 where there is none
    :ivar command: the instruction
    :ivar exit_code: of its program, as a shell would say it; None where none ran
    :ivar output: the last lines it wrote
    """

    def __init__(
        self, text: str, *, stage: str = "", step: int = 0, total: int = 0, name: str = "", line: int = 0, command: str = "",
        exit_code: int | None = None, output: bytes = b"",
    ) -> None:  # fmt: skip
        self.text, self.stage, self.step, self.total, self.line, self.command = text, stage, step, total, line, command
        self.exit_code, self.output = exit_code, output
        place = f"{name}:{line}: " if line else ""
        lines = [f"{place}[{stage} {step}/{total}] {command}", f"  {text}"]
        lines += [f"  | {said}" for said in output.decode(errors="replace").splitlines()]
        super().__init__("\n".join(lines))


class Exited(BuildError):
    """A program of RUN did not exit with 0.

    :ivar exit_code: as a shell would say it
    :ivar output: the last lines it wrote
    :param hint: what it may have wanted
    """

    def __init__(self, exit_code: int, output: bytes, hint: str = "") -> None:
        self.exit_code, self.output = exit_code, output
        super().__init__(f"exit code {exit_code}" + (f": {hint}" if hint else ""))
