"""Memory of plans: a warm plan equals a cold one after any change of the host, and the memory keeps no object alive."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import containerkit as ck
from containerkit import mounts, ns
from containerkit.core import remembered, timeline
from containerkit.core import step as steps_module
from containerkit.core.remembered import Inexact, Memory, exact, value_of
from containerkit.core.step import Phase, Step
from containerkit.linux import facts, kernel
from containerkit.linux.syscalls import Bytes, Call

RUN = ["/bin/true"]
ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def cold() -> None:
    remembered.forget()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("bin", "proc", "dev", "tmp", "etc"):
        (tmp_path / "root" / name).mkdir(parents=True)
    return tmp_path / "root"


def told(plan: ck.Plan) -> list[str]:
    """Everything about every step, and about what is compiled of them."""
    return [repr(step) for step in plan.timeline.steps] + [repr(plan.timeline.inputs), repr(plan.timeline.owner)]


# --- the host changes ---------------------------------------------------------------------------------------------


@dataclass
class Case:
    """:ivar make: a plan of parts made anew
    :ivar change: what happens to the host; it is undone at the end of the block
    """

    make: Callable[[], ck.Plan]
    change: Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def moved(path: Path, make: Callable[[Path], object]) -> Iterator[None]:
    """Something else at a path."""
    path.rename(aside := path.with_name("aside"))
    make(path)
    try:
        yield
    finally:
        path.unlink()
        aside.rename(path)


@contextlib.contextmanager
def inside(directory: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def another_mode(path: Path) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(0o711)
    try:
        yield
    finally:
        path.chmod(before)


def cases(root: Path, where: Path) -> dict[str, Case]:
    source, top, kept = where / "source", where / "top", where / "kept"
    for directory in (source, top, kept, where / "elsewhere" / "root" / "proc"):
        directory.mkdir(parents=True)
    kept.chmod(0o700)
    other = [ns.Mount(), ns.User.same()]

    def bound() -> ck.Plan:
        return ck.plan(*other, mounts.Root(root), mounts.Bind(source, "/etc/of/host"), run=RUN)

    def laid(*more: Any) -> ck.Plan:
        return ck.plan(*other, ck.LayerFS(root, top, readonly=True), mounts.Bind("/etc/hosts", "/etc/resolv.conf"), *more, run=RUN)

    return {
        "a source that was a directory is a file": Case(bound, lambda: moved(source, Path.touch)),
        "a source that was a directory is a link to a file": Case(bound, lambda: moved(source, lambda p: p.symlink_to("/etc/hosts"))),
        "a directory of the root is a link that leads nowhere": Case(
            lambda: ck.plan(*other, mounts.Root(root), mounts.Bind("/etc/hosts", "/etc/x"), run=RUN),
            lambda: moved(root / "etc", lambda p: p.symlink_to("run/etc")),
        ),
        "the topmost layer has another mode": Case(laid, lambda: another_mode(top)),
        "another working directory": Case(
            lambda: ck.plan(*other, ck.LayerFS("root", readonly=True), run=RUN), lambda: inside(where / "elsewhere")
        ),
        "a sandbox in another working directory": Case(
            lambda: ck.plan(ck.sandbox("root"), run=RUN), lambda: inside(where / "elsewhere")
        ),
        "calls that are not there": Case(laid, lambda: kernel.assume_missing("fsopen", "open_tree", "move_mount")),
    } | (
        {
            "another user": Case(lambda: ck.plan(ck.sandbox("/"), run=RUN), somebody_else),
            "another user, by the map": Case(lambda: ck.plan(ns.User(), ns.Net(), run=RUN), somebody_else),
        }
        if ROOT
        else {}
    )  # fmt: skip


NAMES = ["a source that was a directory is a file", "a source that was a directory is a link to a file",
         "a directory of the root is a link that leads nowhere", "the topmost layer has another mode", "another working directory",
         "a sandbox in another working directory", "calls that are not there",
         *(["another user", "another user, by the map"] if ROOT else [])]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_host_gets_the_plan_that_it_would_have_got(name: str, root: Path, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    case = cases(root, tmp_path)[name]
    with inside(tmp_path):
        before = told(case.make())
        assert told(case.make()) == before
        with case.change():
            warm = [told(case.make()) for _ in range(2)]
            remembered.forget()
            cold = told(case.make())
        assert warm == [cold, cold]
        assert before != cold, "the change shows, or this test could not fail"
        assert told(case.make()) == before


def test_a_forked_child_names_itself_as_the_owner_of_changes(root: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with ck.LayerFS(root, directory=tmp_path) as layers:

        def owner() -> bytes:
            steps = ck.plan(ns.User.same(), ns.Mount(), layers, run=RUN).timeline.steps
            memory = next(step.call.args[0] for step in steps if step.call.name == "symlinkat")
            assert isinstance(memory, Bytes)
            return memory.data.split()[1]  # boot, pid, start

        assert [owner(), owner()] == [b"%d" % os.getpid()] * 2
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(writer, owner())
            os._exit(0)
        os.close(writer)
        said = os.read(reader, 100)
        os.close(reader)
        os.waitpid(pid, 0)
        assert said == b"%d" % pid


def test_two_changes_of_a_file_within_a_tick_of_the_clock_are_two(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("one")
    with facts.recorded() as answers:
        assert facts.text_of(str(file)) == "one"
    assert facts.hold(answers)
    times = file.stat()
    file.write_text("two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not facts.hold(answers)


def test_a_large_file_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_bytes(b"x" * (facts.LONGEST + 1))
    memory: Memory[int] = Memory(4)
    made = [memory.get("key", lambda: len(facts.text_of(str(tmp_path / "passwd")) or "")) for _ in range(2)]
    assert made == [facts.LONGEST + 1] * 2
    assert not len(memory)


def test_a_question_that_fails_is_put_again() -> None:
    asked = []

    def question() -> None:
        asked.append(1)
        raise OSError

    def make() -> int:
        with contextlib.suppress(OSError):
            facts.ask(question)
        return 5

    memory: Memory[int] = Memory(4)
    assert [memory.get("key", make) for _ in range(2)] == [5, 5]
    assert len(asked) == 2


def test_two_answers_to_one_question_are_none() -> None:
    answers = iter(range(10))

    def question() -> int:
        return next(answers)

    memory: Memory[int] = Memory(4)
    assert memory.get("key", lambda: facts.ask(question) + facts.ask(question)) == 1
    assert not len(memory)


def test_one_look_asks_once() -> None:
    answers = iter(range(10))

    def question() -> int:
        return next(answers)

    with facts.look():
        with facts.look():
            assert [facts.ask(question), facts.ask(question)] == [0, 0]
        assert facts.ask(question) == 0
    assert facts.ask(question) == 1


# --- values that are equal and not the same -------------------------------------------------------------------------


class Word(str):
    __slots__ = ()


class Mine(ns.Uts):
    """A subclass may do anything."""

    def steps(self) -> Iterator[Step]:
        yield Step.child(Phase.INSIDE, Call("getpid", ()), why="mine")


def test_equal_values_of_other_types_do_not_share() -> None:
    pairs = [
        (mounts.Devpts(gid=1), mounts.Devpts(gid=True)),
        (mounts.Masked(("/a",)), mounts.Masked((Path("/a"),))),
        (mounts.Masked(("/a",)), mounts.Masked(["/a"])),
        (ns.Time(0.0), ns.Time(-0.0)),
        (ns.Time(1.0), ns.Time(1)),
        (ns.Net(), ns.Ipc()),
    ]  # fmt: skip
    for one, other in pairs:
        assert value_of(one) is not None
        assert value_of(one) != value_of(other), (one, other)
    assert value_of(ns.Uts("a")) == value_of(ns.Uts("a"))


def test_what_has_no_exact_value_is_made_each_time() -> None:
    with open("/dev/null", "rb") as file:
        for part in (ns.Uts(Word("a")), Mine("a"), mounts.Bind("/etc", idmap=file)):
            assert value_of(part) is None
    assert "getpid()" in str(ck.plan(Mine("a"), run=RUN))
    assert "sethostname" in str(ck.plan(ns.Uts("a"), run=RUN))
    assert "getpid()" in str(ck.plan(Mine("a"), run=RUN))


def test_a_list_that_was_changed_is_another_value() -> None:
    options = ["nosuid"]
    part = mounts.Bind("/etc", "/x", options=options)
    before = told(ck.plan(ns.Mount(), part, run=RUN))
    options.append("noexec")
    after = told(ck.plan(ns.Mount(), part, run=RUN))
    assert after != before
    remembered.forget()
    assert told(ck.plan(ns.Mount(), part, run=RUN)) == after


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "1"]) | st.binary(max_size=1) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.lists(inner, max_size=2).map(tuple),
    max_leaves=4,
)


@given(VALUES, VALUES)
def test_exact_values_are_equal_when_nothing_tells_them_apart(one: object, other: object) -> None:
    assert (exact(one) == exact(other)) == (repr(one) == repr(other))


def test_objects_of_unknown_types_have_no_exact_value() -> None:
    for value in (object(), Word("a"), {"a": 1}, [object()], open, bytearray(b"a")):
        with pytest.raises(Inexact):
            exact(value)


# --- what it saves --------------------------------------------------------------------------------------------------


def test_a_warm_plan_makes_the_steps_of_its_program_and_no_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = steps_module._made

    def counted(*args: Any) -> Step:
        made.append(args)
        return real(*args)

    monkeypatch.setattr(steps_module, "_made", counted)
    for _ in range(2):
        made.clear()
        ck.plan(ck.sandbox(root), run=["true"], env={"PATH": "/a:/b"}).program((ck.DEVNULL, ck.PIPE, ck.PIPE))
    execs = [args[1]["call"].name for args in made if "call" in args[1]]
    assert set(execs) <= {"execve", "openat", "read"}
    assert len(made) < 12


def test_another_program_in_the_same_parts_is_another_program(root: Path) -> None:
    first, second = (ck.plan(ck.sandbox(root), run=[word], env={"A": word}) for word in ("/bin/a", "/bin/b"))
    for plan, word in ((first, b"/bin/a\0"), (second, b"/bin/b\0")):
        assert word in plan.program().code
        assert str(plan).count(word[:-1].decode()) == 2
    assert b"/bin/a" not in second.program().code
    assert [s for s in first.timeline.steps if s.call.name != "execve"] == [s for s in second.timeline.steps if s.call.name != "execve"]


def test_contradictions_show_every_time(root: Path) -> None:
    for _ in range(3):
        ck.plan(ck.sandbox(root), run=RUN)
        with pytest.raises(ck.PlanError, match="two parts claim the net namespace"):
            ck.plan(ck.sandbox(root), ns.Net(), run=RUN)
        with pytest.raises(ck.PlanError, match="is not a part"):
            ck.plan(ck.sandbox(root), 3, run=RUN)  # type: ignore[arg-type]


# --- what does not live on ------------------------------------------------------------------------------------------


def reachable(*first: object) -> Iterator[object]:
    seen: set[int] = set()
    left = list(first)
    while left:
        each = left.pop()
        if id(each) not in seen and not isinstance(each, type | type(os)):
            seen.add(id(each))
            yield each
            left += gc.get_referents(each)


def test_no_argument_and_no_environment_is_kept(root: Path) -> None:
    secret = "correct horse battery staple"
    ck.plan(ck.sandbox(root), run=["/bin/true", secret], env={"PASSWORD": secret}).program()
    kept = [memory._kept for memory in remembered._memories]
    found = [each for each in reachable(*kept) if isinstance(each, str | bytes)]
    assert any(b"/dev/null" in each for each in found if isinstance(each, bytes)), "it looks into what is kept"
    assert not [each for each in found if (secret if isinstance(each, str) else secret.encode()) in each]  # type: ignore[operator]


def test_no_descriptor_is_kept_open() -> None:
    class Held:
        def __init__(self) -> None:
            self.file = open("/proc/self/ns/user", "rb")  # noqa: SIM115

        def fileno(self) -> int:
            return self.file.fileno()

    held = Held()
    gone = weakref.ref(held)
    plan = ck.plan(ns.Mount(), mounts.Bind("/etc", "/x", idmap=held), run=RUN)
    assert "user namespace" in str(plan)
    held.file.close()
    del plan, held
    gc.collect()
    assert gone() is None


def test_a_layerfs_goes_with_its_plan(root: Path) -> None:
    layers = ck.LayerFS(root, readonly=True)
    gone = weakref.ref(layers)
    ck.plan(ns.Mount(), ns.User(), layers, run=RUN).program()
    ck.plan(ck.sandbox(layers), run=RUN).program()
    del layers
    gc.collect()
    assert gone() is None


def test_the_memory_has_an_end() -> None:
    for number in range(200):
        ck.plan(ns.Uts(f"n{number}"), run=RUN).program()
    assert all(len(memory) <= memory._most for memory in remembered._memories)
    assert len(timeline._arranged) == timeline._arranged._most


def test_what_is_large_is_not_kept() -> None:
    plan = ck.plan(ns.Mount(), mounts.Masked([f"/a{number}" for number in range(200)]), run=RUN)
    assert len(plan.timeline.steps) > timeline.MOST_STEPS
    assert not len(timeline._arranged)


class Chatty:
    """A part of a user's own, which is asked each time."""

    def __init__(self) -> None:
        self.asked = 0

    def steps(self) -> Iterator[Step]:
        self.asked += 1
        yield Step.child(Phase.INSIDE, Call("getpid", ()), why=f"asked {self.asked} times")


def test_a_part_of_a_users_own_is_asked_each_time() -> None:
    part = Chatty()
    whys = [next(s.why for s in ck.plan(ns.Net(), part, run=RUN).timeline.steps if s.why.startswith("asked")) for _ in range(3)]
    assert whys == ["asked 1 times", "asked 2 times", "asked 3 times"]


def test_threads_that_make_one_plan_make_the_same(root: Path) -> None:
    def make(into: list[Any]) -> None:
        for number in range(30):
            plan = ck.plan(ck.sandbox(root, hostname=f"n{number % 3}"), run=RUN, die_with_parent=bool(number % 2))
            into.append((number, plan.program((ck.DEVNULL, ck.PIPE, ck.PIPE)).code, told(plan)))

    results: Sequence[list[Any]] = [[] for _ in range(6)]
    threads = [threading.Thread(target=make, args=(result,)) for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 30


# --- nobody looks at the host behind the memory's back ----------------------------------------------------------------

LOOKS = ("stat", "lstat", "readlink", "access", "open", "listdir", "scandir", "statvfs", "fstat", "getxattr", "getcwd", "geteuid",
         "getegid", "getpid", "getuid", "getgid", "getgroups", "uname", "umask", "sched_getaffinity")  # fmt: skip


def is_asked() -> bool:
    """Whether the code that runs was called by a question."""
    frame: Any = inspect.currentframe()
    while frame and frame.f_code not in (facts.ask.__code__, facts.text_of.__code__):
        frame = frame.f_back
    return frame is not None


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Looks at the host that were no questions."""
    found: list[str] = []

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def look(*args: Any, **more: Any) -> Any:
            if not is_asked():
                found.append(f"{name}{args}")
            return real(*args, **more)

        return look

    for name in LOOKS:
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    monkeypatch.setattr("builtins.open", watched("open()", open))
    return found


def every_value(root: Path, layers: Sequence[ck.LayerFS]) -> list[list[Any]]:
    """Parts of every type that has a value."""
    inside = [ns.User.same(), ns.Mount(), ns.Pid(init=True), ns.Net(), ns.Ipc(), ns.Uts("a", "b"), ns.Cgroup(), ns.Time(1)]
    seen = [mounts.Dev(), mounts.Tmpfs("/tmp"), mounts.Bind("/etc", "/srv/etc"), mounts.Sysfs(), mounts.Mqueue(), mounts.Masked()]
    less = [ck.Capabilities.only("CAP_KILL"), ck.NoNewPrivileges(), ck.Seccomp.default(), ck.Rlimits(nofile=9), ck.Credentials(1, 1)]
    return [
        [*inside, mounts.Root(root), *seen, mounts.ReadOnly(), *less],
        *([*inside[:2], each, mounts.Bind("/etc", "/etc/x/y")] for each in layers),
        [ns.Mount(), ns.Pid(proc=False), mounts.Proc(), mounts.Devpts("/dev/pts")],
        [ns.User(), ns.Mount(), mounts.Root(root), mounts.Dev(mknod=True)],
    ]


@pytest.mark.parametrize("missing", [(), ("fsopen", "open_tree", "move_mount", "lowerdir+"), ("copies of detached mounts",)], ids=str)
def test_steps_look_at_the_host_only_by_questions(missing: tuple[str, ...], root: Path, tmp_path: Path, unasked: list[str]) -> None:
    (tmp_path / "top").mkdir()
    ck.plan(ck.sandbox(root), run=RUN).program()  # what is loaded, or found out, once for all
    with ck.LayerFS(root, tmp_path / "top") as changed, kernel.assume_missing(*missing):
        plans = every_value(root, [changed, ck.LayerFS(root, readonly=True), ck.LayerFS(root, tmp_path / "top", readonly=True)])
        for parts in plans:
            assert None not in map(value_of, parts)
            for _ in range(2):  # what is found out once for all is known then
                remembered.forget()
                unasked.clear()
                with contextlib.suppress(ck.Unavailable, ck.PlanError):  # some parts want the calls that are missing
                    plan = ck.plan(*parts, run=RUN, die_with_parent=True)
                    assert plan.with_streams(stdin=ck.PTY, stdout=ck.PTY, stderr=ck.PTY).timeline
            assert unasked == []


def test_a_look_that_is_no_question_is_seen(unasked: list[str]) -> None:
    class Careless:
        def steps(self) -> Iterator[Step]:
            yield Step.child(Phase.INSIDE, Call("getpid", ()), why=str(os.geteuid()))

    ck.plan(Careless(), run=RUN)
    assert "geteuid()" in unasked
