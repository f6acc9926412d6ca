"""The errors of builds.

BuildError                   an image cannot be built; no name was set
├── FailedStep               an instruction failed; has the stage, the step, the line, the exit code and the last output
└── DockerfileError          a Dockerfile cannot be read
"""

from __future__ import annotations

from ..errors import BuildError, DockerfileError

__all__ = ["BuildError", "DockerfileError", "FailedStep"]


class FailedStep(BuildError):
    """The failure of an instruction.

    :ivar stage: the stage's name, or its number
    :ivar step: the instruction's number in its stage, from 1
    :ivar total: the number of instructions in the stage
    :ivar line: the instruction's first line in the Dockerfile; 0 when it has none
    :ivar command: the instruction
    :ivar exit_code: of its program, as in a shell; None when none ran
    :ivar output: the program's last lines
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
    """A program of RUN that did not exit with 0.

    :ivar exit_code: as in a shell
    :ivar output: the last lines it wrote
    :param hint: a likely reason
    """

    def __init__(self, exit_code: int, output: bytes, hint: str = "") -> None:
        self.exit_code, self.output = exit_code, output
        super().__init__(f"exit code {exit_code}" + (f": {hint}" if hint else ""))
