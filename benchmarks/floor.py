"""From a plan to a C program that makes the same calls: the floor of the plan's cost.

The program has the plan's clone flags, the plan's arguments and the plan's order, written out as straight code, and the same
handshakes between its two processes.  It lacks the additions of a library: loading a program, a trace, a `Process`.  A descriptor that
spawn() would open for the child is inherited; the descriptors of the plan's own steps are opened anew in each
run, and so are the socket of the handshakes, the caller's descriptor and, for a plan that is run, the null device and two pipes.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from containerkit import DEVNULL, PIPE, Plan, syscalls
from containerkit.core import guardian
from containerkit.core.standard_steps import CALLER, GUARDIAN, OWN, SYNC
from containerkit.core.stdio import NAMES
from containerkit.core.step import Side, Step
from containerkit.errors import ContainerKitError
from containerkit.linux import procfs
from containerkit.linux.native import number
from containerkit.linux.syscalls import Arg, Bytes, Call, Deferred, Fd, HeaderAddress, Labelled, OutputBuffer, Slot, Strings

from .ground import FLAGS, HERE, Ground, compile_c
from .measure import Contender

MADE = {SYNC: "sync_theirs", CALLER: "caller", **{Fd(name): f"streams[{n}]" for n, name in enumerate(NAMES)}}
"""The descriptors that floor.c opens anew in each run."""


class Source:
    """The text of plan.h for one plan.  Raises ValueError for a plan that C cannot follow: one with a helper or a tool.

    :param piped: the program reads from the null device and writes into two pipes, as `ck.run` has it
    :ivar inherited: the descriptors that the program inherits, with the same numbers in both processes; close() closes our copies
    """

    def __init__(self, plan: Plan, *, piped: bool = False) -> None:
        self.timeline = plan.program((DEVNULL, PIPE, PIPE) if piped else (None, None, None)).timeline
        if self.timeline.needs_program_file:
            raise ValueError("the floor has no helper")
        self.numbers = {source: n for n, source in self.timeline.inputs.items()}
        self.last = max(self.timeline.inputs, default=2)
        self.inherited: dict[Fd, int] = {}
        self.data: list[str] = []
        self.once: list[str] = []
        self.each: list[str] = []
        self.slots: dict[str, str] = {}
        self.saved_by_parent = {s.save for s in self.timeline.steps if s.side is Side.PARENT and s.save}

    def text(self) -> str:
        """Return the text that floor.c includes."""
        steps = self.timeline.steps
        at = next(i for i, s in enumerate(steps) if s.call.name == "clone3")
        flags, cgroup = (*_call(steps[at]).args, None)[:2]
        assert isinstance(flags, int)
        before = self._body(list(enumerate(steps))[:at], parent=True)
        rest = list(enumerate(steps))[at + 1 :]
        child = self._body([(i, s) for i, s in rest if s.side is Side.CHILD], parent=False)
        talk = self._talk(rest)
        after = [f"\t{self._raw(s.undo, True)};" for s in reversed(steps[:at]) if s.undo] + self._closing(steps[:at])
        slots = [f"static long {name};" for name in self.slots.values()]
        return "\n".join([
            f"#define CLONE_FLAGS {int(flags):#x}ULL", f"#define CLONE_CGROUP {0 if cgroup is None else self._arg(cgroup, True)}",
            f"#define LAST_INPUT {self.last}", *(f"#define HAS_{fd.name.upper()}" for fd in self.numbers if fd in MADE),
            *slots, *self.data, *_function("prepare", self.once),
            *_function("parent_before", before), *_function("parent_after", after), *_function("child_steps", child),
            *_function("parent_talk", talk),
        ])  # fmt: skip

    def _talk(self, rest: Sequence[tuple[int, Step]]) -> list[str]:
        """The parent's steps after the clone, each time the child says that it is the parent's turn."""
        lines: list[str] = []
        turn = Side.CHILD
        for place, step in rest:
            if step.side is not turn:
                lines.append("\tHEAR;" if turn is Side.CHILD else "\tSAY;")
                turn = step.side
            if step.side is Side.PARENT:
                lines += self._body([(place, step)], parent=True)
        return lines

    def _body(self, steps: Sequence[tuple[int, Step]], parent: bool) -> list[str]:
        lines: list[str] = []
        opened: set[Slot] = set()
        for place, step in steps:
            allowed = "".join(f" && r != -{e}" for e in sorted(step.tolerates))
            save = f" {self._slot(step.save.name)} = r;" if step.save else ""
            if parent and step.save in opened:  # two parts that hide files share one descriptor
                save = f" {self._close(step.save)};{save}"
            opened = opened - {a for a in _call(step).args if step.call.name == "close"} | ({step.save} if step.save else set())
            comment = str(step.call).replace("*/", "* /")
            lines.append(f"\t/* {comment} */")
            self.each = []
            made = self._raw(_call(step), parent)
            first = "".join(f" {line}" for line in self.each)
            lines.append(f"\t{{{first} long r = {made}; if (r < {step.at_least}{allowed}) FAIL({place + 1}, r);{save} }}")
        return lines

    def _closing(self, steps: Sequence[Step]) -> list[str]:
        """Return the calls that close the descriptors of the parent's steps."""
        closed = {s.call.args[0] for s in steps if s.call.name == "close"}
        opened = dict.fromkeys(s.save for s in steps if s.save and s.save not in closed)
        return [f"\t{self._close(o)};" for o in opened]

    def _close(self, opened: Slot) -> str:
        return self._raw(syscalls.close(opened), True)

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
                return str(self._number(arg, parent))
            case Labelled():
                return str(arg.value)
            case int():
                return f"{int(arg)}LL"
            case HeaderAddress():
                return f"(uintptr_t)&{arg.name}"
        return f"(uintptr_t){self._memory(arg, parent)}"

    def _slot(self, name: str) -> str:
        """Return the variable of a result, or the number of an inherited descriptor."""
        source = next((f for f in self.numbers if f"caller.{f.name}" == name), None)
        if source and Slot(source.name) not in self.saved_by_parent:
            return str(self._number(source, True))
        return self.slots.setdefault(source.name if source else name, f"slot_{len(self.slots)}")

    def _number(self, source: Fd, parent: bool) -> int | str:
        """The number of a descriptor in the child, or in the parent, where it is above all that the child's dup3 calls overwrite."""
        if not parent:
            return self.numbers[source]
        if source in MADE:
            return MADE[source]
        if source not in self.inherited:
            with _opened(source) as fd:
                self.inherited[source] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, self.last + 1)
        return self.inherited[source]

    def close(self) -> None:
        """Close the descriptors that the program inherits."""
        while self.inherited:
            os.close(self.inherited.popitem()[1])

    def _memory(self, arg: bytes | Bytes | Deferred | OutputBuffer | Strings, parent: bool) -> str:
        name = f"data_{len(self.data)}"
        match arg:
            case bytes() if b"{pid}/" in arg:
                self.data.append(f"static char {name}[{len(arg) + 16}];")
                self.each.append(f'snprintf({name}, sizeof({name}), "{os.fsdecode(arg).replace("{pid}", "%ld")}", child_pid);')
            case bytes():
                self.data.append(_array(name, arg + b"\0"))
            case Bytes():
                self.data.append(_array(name, arg.data, constant=False))  # the kernel writes back what is left of a time
                for offset, word in arg.words:
                    self._word(f"({name} + {offset})", word, parent)
            case Deferred():
                return self._memory(arg.make(), parent)
            case OutputBuffer():
                self.data.append(f"static char {name}[{arg.size}];")
            case Strings() if not arg.deferred:
                items = ", ".join([*(f"(char *){self._memory(i, parent)}" for i in arg.items), "0"])
                name = f"data_{len(self.data)}"
                self.data.append(f"static char *{name}[] = {{ {items} }};")
            case _:
                raise ValueError(f"C cannot say {arg}")
        return name

    def _word(self, at: str, word: HeaderAddress | Fd | Slot | Bytes, parent: bool) -> None:
        """The values in memory: an address or a child's number once, and the result of each parent step every time."""
        if isinstance(word, Slot):
            self.each.append(f"*(int *){at} = (int){self._slot(word.name)};")
        elif isinstance(word, Fd):
            self.once.append(f"*(int *){at} = {self._number(word, parent)};")
        else:
            target = f"&{word.name}" if isinstance(word, HeaderAddress) else self._memory(word, parent)
            self.once.append(f"*(uint64_t *){at} = (uintptr_t){target};")


def _call(step: Step) -> Call:
    if not isinstance(step.call, Call):
        raise ValueError(f"the floor runs no tool: {step.call}")
    return step.call


@contextmanager
def _opened(source: Fd) -> Iterator[int]:
    if source == procfs.PROC:
        with procfs.proven() as proc:
            yield proc
    elif source in (GUARDIAN, OWN):
        yield guardian.door()
    elif source.source is None:
        raise ValueError(f"the floor does not know {source}")
    else:
        yield source.source if isinstance(source.source, int) else source.source.fileno()


def _array(name: str, data: bytes, *, constant: bool = True) -> str:
    return f"static {'const ' if constant else ''}unsigned char {name}[] __attribute__((aligned(8))) = {{ {', '.join(map(str, data))} }};"


def _function(name: str, lines: Sequence[str]) -> list[str]:
    return [f"static inline void {name}(void)", "{", *lines, "}"]


@contextmanager
def floor(ground: Ground, plan: Plan, name: str, *, piped: bool = False) -> Iterator[Contender]:
    """The plan as a running C program.  Each turn is a number written to it and as many lines read back.

    :param piped: as `Source` has it
    """
    directory, pipe = ground.directory / f"floor-{name}", subprocess.PIPE
    directory.mkdir()
    with closing(Source(plan, piped=piped)) as source:
        (directory / "plan.h").write_text(source.text())
        compile_c(HERE / "csrc/floor.c", directory / "floor", *FLAGS, f"-I{directory}")
        process = subprocess.Popen([directory / "floor"], stdin=pipe, stdout=pipe, text=True, pass_fds=tuple(source.inherited.values()))
    with process:
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
