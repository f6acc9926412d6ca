"""A plan: parts folded into an ordered, printable list of system calls.  And itself a part.

Building and printing one needs no privilege and no compiled extension, and touches nothing.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .errors import PlanError
from .frame import Options
from .stdio import PTY, Stream, check
from .step import Part, Side, Step
from .syscalls import text
from .timeline import Timeline, flatten, fold, leaves, settle

if TYPE_CHECKING:
    from .process import Process
    from .program import Program
    from .run import Result

__all__ = ["Plan", "plan"]

Word = str | bytes | os.PathLike[str]


def plan(
    *parts: Part,
    run: Sequence[Word] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    die_with_parent: bool = False,
    new_session: bool = True,
    share_memory: bool = True,
    hide_executable: bool | None = None,
) -> Plan:
    """Folds parts into a plan.  Their order does not matter, except among those of one phase.

    :param parts: anything with ``steps()``; a plan is one too
    :param run: the program and its arguments; a name without a slash is looked up in ``env["PATH"]``, inside
    :param env: the whole environment; empty unless given
    :param cwd: the working directory, inside; ``/`` in a root of its own, otherwise the caller's
    :param die_with_parent: kill the program when the thread that spawned it ends
    :param new_session: lead a session of its own, so that no terminal of the caller's is within reach
    :param share_memory: False makes the child an image of its own before anything else happens; slower
    :param hide_executable: execute the program from another image than the caller's, so that no link to /proc/self/exe in
        its root leads to the caller's own executable; done unless said where there is a root and the file could be written
    :raises PlanError: the parts contradict each other, before anything is touched
    """
    place = None if cwd is None else os.fsdecode(text(cwd))
    options = Options(_argv(run), _environment(env), place, die_with_parent, new_session, share_memory, hide_executable)
    return Plan(parts, options)


def _argv(run: Sequence[Word] | None) -> tuple[bytes, ...]:
    if run is None:
        return ()
    if isinstance(run, str | bytes):
        raise PlanError(f'run wants a list of words, not one string: did you mean run={str(run).split()!r}, or run=["sh", "-c", {run!r}]?')
    words = tuple(text(word) for word in run)
    if not words or not words[0]:
        raise PlanError("run wants at least the name of a program")
    return words


def _environment(env: Mapping[str, str] | None) -> Mapping[str, str]:
    for name, value in (env or {}).items():
        if not name or "=" in name:
            raise PlanError(f"not a name of an environment variable: {name!r}")
        text(name), text(value)
    return dict(env or {})


class Plan:
    """An immutable, ordered list of steps.  `print` it, `explain()` it, `spawn()` it, or use it as a part.

    :ivar parts: what it was made of
    :ivar argv: the program it runs, or ()
    """

    def __init__(self, parts: Iterable[Part], options: Options) -> None:
        self.parts, self.options = tuple(parts), options
        self.argv = options.run
        self._programs: dict[tuple[int, ...], Program] = {}
        self.timeline  # noqa: B018 - contradictions show now, not at the first spawn

    @cached_property
    def timeline(self) -> Timeline:
        """The folded steps.  :raises PlanError: a contradiction"""
        return fold(self._settled, self._options)

    @cached_property
    def _leaves(self) -> tuple[tuple[Part, Sequence[Step]], ...]:
        return tuple(leaves(self.parts))

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(flatten(self._leaves))

    @cached_property
    def _settled(self) -> list[Step]:
        return settle(self._steps)

    @cached_property
    def _options(self) -> Options:
        """A root of its own means a working directory inside it."""
        if self.options.cwd is None and any(s.claims == "root" or s.joins == 0x20000 for s in self._steps):
            return replace(self.options, cwd="/")
        return self.options

    def steps(self) -> Iterable[Step]:
        """The steps of its parts: a plan is a part.  Its program and options stay behind."""
        return self._steps

    def leaves(self) -> Iterable[tuple[Part, Sequence[Step]]]:
        """The parts it is made of, with their steps; those of plans among them instead of the plans."""
        return self._leaves

    # --- looking -------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        steps = self.timeline.steps
        width = len(str(len(steps)))
        lines = [f"{i:{width}}  {s.side.value:6}  {s.phase.name.lower():8}  {s}" for i, s in enumerate(steps, 1)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        run = " ".join(os.fsdecode(a) for a in self.argv)
        return f"<Plan of {len(self.timeline.steps)} steps" + (f", runs {run}>" if run else ">")

    def explain(self) -> str:
        """The plan with the reason for every step, who asked for it, and where to read on."""
        lines = []
        for i, step in enumerate(self.timeline.steps, 1):
            asked = f"   (asked for by {step.part})" if step.part else ""
            lines += [f"{i:3}  {step}", f"     {step.side.value}: {step.why}{asked}", f"     see {step.man}"]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values, for other programs."""
        return {"run": [os.fsdecode(a) for a in self.argv], "steps": [_plain(s) for s in self.timeline.steps]}

    def _repr_html_(self) -> str:
        head = "<tr><th></th><th>side</th><th>phase</th><th>call</th><th>why</th></tr>"
        rows = (
            f"<tr><td>{i}</td><td>{s.side.value}</td><td>{s.phase.name.lower()}</td>"
            f"<td style='text-align:left'><code>{html.escape(str(s))}</code></td><td style='text-align:left'>{html.escape(s.why)}</td></tr>"
            for i, s in enumerate(self.timeline.steps, 1)
        )
        return f"<table>{head}{''.join(rows)}</table>"

    # --- doing ---------------------------------------------------------------------------------------------------

    def spawn(
        self, *, stdin: Stream = None, stdout: Stream = None, stderr: Stream = None, fds: Mapping[int, Stream] | None = None
    ) -> Process:
        """Makes the process.  On return it runs its program.

        :param stdin, stdout, stderr: as in `subprocess`: None to inherit, PIPE, DEVNULL, STDOUT, a file or a descriptor;
            or PTY, for all three
        :param fds: more descriptors for the program: number there -> file or descriptor here
        :raises StepError: a step failed; nothing is left behind
        :raises Unavailable: this kernel lacks something the plan asks for
        """
        from .spawn import spawn

        streams = (stdin, stdout, stderr)
        check(streams)
        passed = dict(fds or {})
        for number, stream in passed.items():
            if number < 3 or stream is None or (isinstance(stream, int) and stream < 0):
                raise PlanError(f"fds wants numbers from 3 and open files, not {number}: {stream!r}")
        return spawn(self.program(streams, passed), streams, passed)

    def program(self, streams: tuple[Stream, Stream, Stream] = (None, None, None), passed: Iterable[int] = ()) -> Program:
        """The compiled plan, made once for each set of redirected streams."""
        key = (streams[0] is None, streams[1] is None, streams[2] is None, PTY in streams, *passed)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._compile(streams, frozenset(passed))
        return program

    def _compile(self, streams: tuple[Stream, Stream, Stream], passed: frozenset[int]) -> Program:
        from .program import compile_timeline

        if not self.argv:
            raise PlanError("nothing to run: give the plan run=[...]")
        redirected = frozenset(n for n, s in enumerate(streams) if s is not None)
        options = replace(self._options, redirected=redirected, passed=passed, terminal=PTY in streams)
        return compile_timeline(self.timeline if options == self._options else fold(self._settled, options))

    def run(self, *, timeout: float | None = None, input: bytes | None = None, check: bool = False) -> Result:
        """Spawns, waits, and says how it went.  See `containerkit.run`."""
        from .run import run_plan

        return run_plan(self, timeout=timeout, input=input, check=check)

    @property
    def child_steps(self) -> tuple[Step, ...]:
        """What strace(1) sees of the child."""
        return tuple(s for s in self.timeline.steps if s.side is Side.CHILD)


def _plain(step: Step) -> dict[str, Any]:
    hint = step.hint if isinstance(step.hint, str) else {str(errno): words for errno, words in step.hint.items()}
    words = {"why": step.why, "man": step.man, "part": step.part, "hint": hint}
    call = {"call": step.call.name, "args": [str(a) for a in step.call.args], "text": str(step)}
    return {**call, "phase": step.phase.name.lower(), "side": step.side.value, **words}
