"""A plan: parts folded into an ordered, printable list of system calls.  A plan is a part itself.

Building and printing one needs no privilege and no compiled extension, and touches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

from ..base import checks
from ..base.log import Log
from ..errors import PlanError, WrongType
from ..linux.facts import look
from ..linux.syscalls import text
from .remembered import Inexact, Memory, by
from .standard_steps import Options, program
from .stdio import PTY, Stream, check
from .step import Part, Side, Step
from .timeline import MOST_STEPS, Timeline, arrange, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from typing_extensions import Unpack

    from .compiler import Body, Program
    from .coroutines import Spawning
    from .process import Process
    from .run import Result, Terms

    class Streams(TypedDict, total=False):
        """The keywords of `Plan.spawn`."""

        stdin: Stream
        stdout: Stream
        stderr: Stream
        fds: Mapping[int, Stream] | None
        timeout: float | None
        size: tuple[int, int] | None


__all__ = ["Plan", "plan"]

LOG = Log(__name__)

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
    keep_keyring: bool = False,
) -> Plan:
    """Fold parts into a plan.  Their order does not matter, except among those of one phase.

    :param parts: anything with ``steps()``; a plan is one too
    :param run: the program and its arguments; a name without a slash is looked up in ``env["PATH"]``, inside
    :param env: the whole environment; empty unless given
    :param cwd: the working directory, inside; ``/`` in a root of its own, otherwise the caller's
    :param die_with_parent: kill the program when the thread that spawned it ends, also one that took its death signal back:
        a guardian process does it.  A process of the caller's user in its pid namespace can kill the guardian, as it can the caller
    :param new_session: lead a session of its own, so that no terminal of the caller's is within reach
    :param share_memory: False makes the child an image of its own before anything else happens; slower
    :param hide_executable: execute the program from another image than the caller's, so that no link to /proc/self/exe in
        its root leads to the caller's own executable; done unless said where there is a root and the file could be written
    :param keep_keyring: the program keeps the caller's session keyring.  Otherwise a program with a user or mount namespace or
        a root of its own, new or joined, has an empty one
    :raises PlanError: the parts contradict each other, before anything is touched
    """
    place = None if cwd is None else os.fsdecode(text(checks.path(cwd, "cwd")))
    for name, value in (
        ("die_with_parent", die_with_parent),
        ("new_session", new_session),
        ("share_memory", share_memory),
        ("keep_keyring", keep_keyring),
    ):
        checks.flag(value, name)
    options = Options(_argv(run), _environment(env), place, die_with_parent, new_session, share_memory, hide_executable, keep_keyring)
    return Plan(parts, options)


def _argv(run: Sequence[Word] | None) -> tuple[bytes, ...]:
    if run is None:
        return ()
    return tuple(text(word) for word in checks.argv(run))


def _environment(env: Mapping[str, str] | None) -> Mapping[str, str]:
    found = checks.environment(env)
    for name, value in found.items():
        text(name), text(value)
    return found


def _value(made: Plan) -> Hashable:
    """Return a plan's exact value.  A plan stands for the steps that its parts had when it was made."""
    if not made._arranged.kept:
        raise Inexact
    return made._arranged


@by(_value)
class Plan:
    """An immutable, ordered list of steps.  `print` it, `explain()` it, `spawn()` it, or use it as a part.

    :ivar parts: the parts that it was made of
    :ivar argv: the program it runs, or ()
    """

    def __init__(self, parts: Iterable[Part], options: Options) -> None:
        self.parts, self.options = tuple(parts), options
        self.argv = options.run
        self._programs: dict[tuple[object, ...], Program] = {}
        with look():
            self._arranged = arrange(self.parts)  # contradictions show now, not at the first spawn
        # A root of its own means a working directory inside it, which a part may choose.
        self._options = options.changed(cwd="/") if options.cwd is None and self._arranged.inside else options
        self._timeline: Timeline | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the plan's parts and options; the other process makes the steps from them again."""
        return Plan, (self.parts, self.options)

    @property
    def timeline(self) -> Timeline:
        """The folded steps, made when they are first looked at: a plan that is a part of another, or is run, needs others."""
        if self._timeline is None:
            self._timeline = self._way(self._options).timeline.with_program(program(self.options))
        return self._timeline

    def steps(self) -> Sequence[Step]:
        """Return the steps of its parts: a plan is a part.  Its program and options stay behind."""
        return self._arranged.steps

    def leaves(self) -> Iterable[tuple[Part, Sequence[Step]]]:
        """Return the parts it is made of, with their steps; those of plans among them instead of the plans."""
        parts = [*self._parts_of_plans()] if self._arranged.kept else self._arranged.parts
        return [*zip(parts, self._arranged.leaves, strict=True)]

    def _parts_of_plans(self) -> Iterator[Part]:
        for part in self.parts:
            if isinstance(part, Plan):
                yield from (leaf for leaf, _ in part.leaves())
            else:
                yield part

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
        """Return the plan with the reason for every step, who asked for it, and where to read on."""
        lines = []
        for i, step in enumerate(self.timeline.steps, 1):
            asked = f"   (asked for by {step.part})" if step.part else ""
            lines += [f"{i:3}  {step}", f"     {step.side.value}: {step.why}{asked}", f"     see {step.man}"]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values, for other programs."""
        return {"run": [os.fsdecode(a) for a in self.argv], "steps": [_plain(s) for s in self.timeline.steps]}

    def _repr_html_(self) -> str:
        import html

        head = "<tr><th></th><th>side</th><th>phase</th><th>call</th><th>why</th></tr>"
        rows = (
            f"<tr><td>{i}</td><td>{s.side.value}</td><td>{s.phase.name.lower()}</td>"
            f"<td style='text-align:left'><code>{html.escape(str(s))}</code></td><td style='text-align:left'>{html.escape(s.why)}</td></tr>"
            for i, s in enumerate(self.timeline.steps, 1)
        )
        return f"<table>{head}{''.join(rows)}</table>"

    # --- doing ---------------------------------------------------------------------------------------------------

    def spawn(
        self, *, stdin: Stream = None, stdout: Stream = None, stderr: Stream = None, fds: Mapping[int, Stream] | None = None,
        timeout: float | None = None, size: tuple[int, int] | None = None,
    ) -> Process:  # fmt: skip
        """Make the process.  On return it runs its program.

        :param stdin, stdout, stderr: as in `subprocess`: None to inherit, PIPE, DEVNULL, STDOUT, a file or a descriptor;
            or PTY, for all three
        :param fds: more descriptors for the program: number there -> file or descriptor here
        :param timeout: seconds from this call until the program runs, or None to wait for ever: processes of a namespace
            that is joined may stop the child, and a tool such as newuidmap(1) may hang
        :param size: the terminal's rows and columns, set before the program's first output
        :raises StepError: a step failed; nothing is left behind
        :raises subprocess.TimeoutExpired: the program does not run in time; nothing is left behind
        :raises Unavailable: this kernel lacks something the plan asks for
        """
        from .spawn import spawn

        streams = (stdin, stdout, stderr)
        check(streams, size)
        passed = _passed(fds)
        program = self.program(streams, passed, size)
        process = spawn(program, streams, passed, size=size, timeout=timeout)
        LOG.debug("pid %d runs %s, %d words, after %d steps", process.pid, self._called, len(self.argv), len(program.timeline.steps))
        return process

    @property
    def _called(self) -> str:
        """The program's name.  Its arguments and its environment may hold secrets: they are in no log."""
        return os.fsdecode(self.argv[0]) if self.argv else "nothing"

    def program(
        self, streams: tuple[Stream, Stream, Stream] = (None, None, None), passed: Iterable[int] = (),
        size: tuple[int, int] | None = None,
    ) -> Program:  # fmt: skip
        """Return the compiled plan, made once for each set of redirected streams."""
        key = (streams[0] is None, streams[1] is None, streams[2] is None, PTY in streams, size, *passed)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._compile(streams, frozenset(passed), size)
        return program

    def _compile(self, streams: tuple[Stream, Stream, Stream], passed: frozenset[int], size: tuple[int, int] | None) -> Program:

        if not self.argv:
            raise PlanError("nothing to run: give the plan run=[...]")
        last = program(self.options)
        with look():
            way = self._way(self._streamed(streams, passed, size))
        return way.body.program(way.timeline.with_program(last), last)

    def _way(self, options: Options) -> Way:
        """Return the way to the program, without the program: it is the same for every other in the same parts."""
        arranged = self._arranged
        key = options.way() if arranged.kept else None
        return _ways.get(None if key is None else (arranged, key), lambda: Way(fold(arranged.selected, options)))

    def _streamed(self, streams: tuple[Stream, Stream, Stream], passed: frozenset[int], size: tuple[int, int] | None) -> Options:
        redirected = frozenset(n for n, s in enumerate(streams) if s is not None)
        return self._options.changed(redirected=redirected, passed=passed, terminal=PTY in streams, size=size)

    def with_streams(
        self, *, stdin: Stream = None, stdout: Stream = None, stderr: Stream = None, size: tuple[int, int] | None = None
    ) -> Plan:  # fmt: skip
        """Return the plan as `spawn` makes it with these streams, to look at: they bring steps along, a terminal some twenty.

        The parameters are those of `spawn`.
        """
        streams = (stdin, stdout, stderr)
        check(streams, size)
        return Plan(self.parts, self._streamed(streams, frozenset(), size))

    def run(self, **terms: Unpack[Terms]) -> Result:
        """Run the program and return how it ended.  The parameters are those of `containerkit.core.run` that are not about the plan."""
        from .run import run_plan

        return run_plan(self, **terms)

    async def arun(self, **terms: Unpack[Terms]) -> Result:
        """Run the plan as a coroutine, as `run` does.  See `containerkit.arun`."""
        from .coroutines import arun_plan

        return await arun_plan(self, **terms)

    def aspawn(self, **streams: Unpack[Streams]) -> Spawning:
        """Spawn the program as `spawn` does, for coroutines: ``async with plan.aspawn(...) as process``, or ``await plan.aspawn(...)``.

        The parameters are those of `spawn`; the process is an `AsyncProcess`.
        """
        from .coroutines import Spawning

        return Spawning(self, streams)

    @property
    def child_steps(self) -> tuple[Step, ...]:
        """The steps of the child, whose calls strace(1) sees."""
        return tuple(s for s in self.timeline.steps if s.side is Side.CHILD)


class Way:
    """The steps of a plan before the program's own, and their compiled form.  Nothing in it depends on the program."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._body: Body | None = None

    @property
    def body(self) -> Body:
        """The compiled steps, made when they are first wanted: printing a plan needs no compiled extension."""
        if self._body is None:
            from .compiler import Body

            self._body = Body(self.timeline)
        return self._body


_ways: Memory[Way] = Memory(32, lambda way: len(way.timeline.steps) <= 2 * MOST_STEPS)


def _passed(fds: Mapping[int, Stream] | None) -> dict[int, Stream]:
    if fds is not None and not isinstance(fds, Mapping):
        raise WrongType(f"fds wants a mapping of numbers to open files, not {checks.said(fds)}")
    for number, stream in (fds or {}).items():
        checks.number(number, "a number in fds"), checks.stream(stream, f"fds[{number}]")
        if number < 3 or stream is None or (isinstance(stream, int) and stream < 0):
            raise PlanError(f"fds wants numbers from 3 and open files, not {number}: {stream!r}")
    return dict(fds or {})


def _plain(step: Step) -> dict[str, Any]:
    hint = step.hint if isinstance(step.hint, str) else {str(errno): words for errno, words in step.hint.items()}
    words = {"why": step.why, "man": step.man, "part": step.part, "hint": hint}
    call = {"call": step.call.name, "args": [str(a) for a in step.call.args], "text": str(step)}
    return {**call, "phase": step.phase.name.lower(), "side": step.side.value, **words}
