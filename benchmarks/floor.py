"""From a plan to a C program that makes the same calls: the floor under which no spawn of this plan can go.

The program has the plan's clone flags, the plan's arguments and the plan's order, written out as straight code.  What
it lacks is what a library adds: loading an image, a trace, streams, a `Process`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from containerkit import Plan
from containerkit.errors import ContainerKitError
from containerkit.program import number
from containerkit.step import Side, Step
from containerkit.syscalls import Arg, Bytes, Call, Fd, Field, Late, Shown, Slot, Space, Strings

from .ground import FLAGS, HERE, Ground, compile_c
from .measure import Contender


class Source:
    """The text of plan.h for one plan.  Raises ValueError for a plan that C cannot follow: one with handshakes or a helper."""

    def __init__(self, plan: Plan) -> None:
        self.timeline = plan.program().timeline
        if self.timeline.needs_sync or self.timeline.needs_image:
            raise ValueError("the floor has one actor after the clone, and no helper")
        self.numbers = {source: n for n, source in self.timeline.inputs.items()}
        self.data: list[str] = []
        self.slots: dict[str, str] = {}
        self.passed: dict[str, int] = {}
        self.saved_by_parent = {s.save for s in self.timeline.steps if s.side is Side.PARENT and s.save}

    def text(self) -> str:
        """Everything floor.c asks for."""
        steps = self.timeline.steps
        at = next(i for i, s in enumerate(steps) if s.call.name == "clone3")
        flags, cgroup = (*_call(steps[at]).args, None)[:2]
        assert isinstance(flags, int)
        before = self._body(list(enumerate(steps))[:at], parent=True)
        child = self._body([(i, s) for i, s in enumerate(steps) if i > at], parent=False)
        after = [f"\t{self._raw(s.undo, True)};" for s in reversed(steps[:at]) if s.undo] + self._closing(steps[:at])
        slots = [f"static long {name};" for name in self.slots.values()]
        given = [f"\t{self.slots[name]} = {fd};" for name, fd in self.passed.items()]
        return "\n".join([
            f"#define CLONE_FLAGS {int(flags):#x}ULL", f"#define CLONE_CGROUP {0 if cgroup is None else self._arg(cgroup, True)}",
            *slots, *self.data,
            *_function("parent_before", given + before), *_function("parent_after", after), *_function("child_steps", child),
        ])  # fmt: skip

    def _body(self, steps: Sequence[tuple[int, Step]], parent: bool) -> list[str]:
        lines = []
        for place, step in steps:
            allowed = "".join(f" && r != -{e}" for e in sorted(step.tolerates))
            save = f" {self._slot(step.save.name)} = r;" if step.save else ""
            comment = str(step.call).replace("*/", "* /")
            lines.append(f"\t/* {comment} */")
            lines.append(
                f"\t{{ long r = {self._raw(_call(step), parent)}; if (r < {step.at_least}{allowed}) FAIL({place + 1}, r);{save} }}"
            )
        return lines

    def _closing(self, steps: Sequence[Step]) -> list[str]:
        """What the parent's steps opened and left open."""
        closed = {s.call.args[0] for s in steps if s.call.name == "close"}
        opened = [s.save for s in steps if s.save and s.save not in closed]
        return [f"\tCALL({number('close')}, {self._slot(o.name)}, 0, 0, 0, 0, 0);" for o in opened]

    def _raw(self, call: Call, parent: bool) -> str:
        args = [self._arg(a, parent) for a in call.args]
        return f"CALL({number(call.name)}, {', '.join([*args, *['0'] * (6 - len(args))])})"

    def _arg(self, arg: Arg, parent: bool) -> str:
        match arg:
            case None:
                return "0"
            case Slot() if arg in self.saved_by_parent and not parent:
                return str(self.numbers[Fd(arg.name)])
            case Slot():
                return self._slot(arg.name)
            case Fd():
                return str(_fileno(arg)) if parent else str(self.numbers[arg])
            case Shown():
                return str(arg.value)
            case int():
                return f"{int(arg)}LL"
            case Field():
                return f"(uintptr_t)&{arg.name}"
        return f"(uintptr_t){self._memory(arg)}"

    def _slot(self, name: str) -> str:
        source = next((f for f in self.numbers if f"caller.{f.name}" == name), None)
        if source and Slot(source.name) in self.saved_by_parent:
            name = source.name
        elif source and name not in self.passed:
            self.passed[name] = _fileno(source)
        return self.slots.setdefault(name, f"slot_{len(self.slots)}")

    def _memory(self, arg: bytes | Bytes | Late | Space | Strings) -> str:
        name = f"data_{len(self.data)}"
        match arg:
            case bytes():
                self.data.append(_array(name, arg + b"\0"))
            case Bytes() if all(isinstance(word, Fd) for _, word in arg.words):
                data = bytearray(arg.data)
                for offset, word in arg.words:
                    assert isinstance(word, Fd)
                    data[offset : offset + 4] = self.numbers[word].to_bytes(4, "little")
                self.data.append(_array(name, bytes(data)))
            case Late():
                return self._memory(arg.make())
            case Space():
                self.data.append(f"static char {name}[{arg.size}];")
            case Strings() if not arg.deferred:
                items = ", ".join([*(f"(char *){self._memory(i)}" for i in arg.items), "0"])
                name = f"data_{len(self.data)}"
                self.data.append(f"static char *{name}[] = {{ {items} }};")
            case _:
                raise ValueError(f"C cannot say {arg}")
        return name


def _call(step: Step) -> Call:
    if not isinstance(step.call, Call):
        raise ValueError(f"the floor runs no tool: {step.call}")
    return step.call


def _fileno(source: Fd) -> int:
    if source.source is None:
        raise ValueError(f"the floor does not know {source}")
    return source.source if isinstance(source.source, int) else source.source.fileno()


def _array(name: str, data: bytes) -> str:
    return f"static const unsigned char {name}[] __attribute__((aligned(8))) = {{ {', '.join(map(str, data))} }};"


def _function(name: str, lines: Sequence[str]) -> list[str]:
    return [f"static inline void {name}(void)", "{", *lines, "}"]


@contextmanager
def floor(ground: Ground, plan: Plan, name: str) -> Iterator[Contender]:
    """The plan as a running C program.  Each turn is a number written to it and as many lines read back."""
    source = Source(plan)
    directory = ground.directory / f"floor-{name}"
    directory.mkdir()
    (directory / "plan.h").write_text(source.text())
    compile_c(HERE / "csrc/floor.c", directory / "floor", *FLAGS, f"-I{directory}")
    pipe, passed = subprocess.PIPE, tuple(source.passed.values())
    with subprocess.Popen([directory / "floor"], stdin=pipe, stdout=pipe, text=True, pass_fds=passed) as process:
        yield lambda count: _ask(process, directory, count)
        assert process.stdin
        process.stdin.close()


def _ask(process: subprocess.Popen[str], directory: Path, count: int) -> list[float]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{count}\n")
    process.stdin.flush()
    lines = [process.stdout.readline() for _ in range(count)]
    if not all(line.strip().isdigit() for line in lines):
        raise ContainerKitError(f"{directory}/floor: {''.join(lines).strip() or 'ended'}")
    return [int(line) / 1000 for line in lines]
