"""The program's limit, the caller's limit, and the phase of the step."""

import resource
from collections.abc import Iterator
from types import ModuleType

import containerkit as ck
from containerkit import ns

NOFILE = resource.RLIMIT_NOFILE


def check(answer: ModuleType) -> Iterator[str]:
    part, before = answer.Files(64), resource.getrlimit(NOFILE)
    if not isinstance(part, ck.Part):
        yield "Files(64) is no part: it has no method steps()"
        return
    steps = list(part.steps())
    if resource.getrlimit(NOFILE) != before:
        yield "your own limit changed: steps() only describes the call, the child makes it"
        return
    if not steps:
        yield "steps() yields no step"
        return
    yield from (f"the step `{step}` is the parent's: it would limit this Python" for step in steps if step.side is not ck.Side.CHILD)
    yield from (
        f"the step `{step}` is in phase {step.phase.name}: a step that gives something up belongs in DROP"
        for step in steps
        if step.phase is not ck.Phase.DROP
    )
    yield from (f"the step `{step}` has no reason: give it a why=" for step in steps if not step.why.strip())
    soft, hard = ck.run(["sh", "-c", "ulimit -Sn; ulimit -Hn"], part, check=True).text.split()
    if soft != "64":
        yield f"the program may have {soft} files open, not 64"
    if hard != "64":
        yield f"the program can raise its limit to {hard}: set the hard limit too"
    if not str(ck.plan(ns.User(), part, run=["true"])).count("prlimit64"):
        yield "the plan does not show your step"
