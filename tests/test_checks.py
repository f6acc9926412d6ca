"""A wrong argument is a typed error in words, before anything is touched: one rule for every public call."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import containerkit as ck
from containerkit import mounts, ns
from containerkit.cgroup.limits import ELSEWHERE, KEEP, MEANT, WORDS, parse

TRUE = ["/bin/true"]
plan, run = ck.plan, ck.run
image = ck.Image.scratch()


def spawn(**streams: Any) -> ck.Process:
    return plan(run=TRUE).spawn(**streams)


def build(**options: Any) -> ck.Image:
    return ck.Image.build(tempfile.gettempdir(), **{"dockerfile": b"FROM scratch\n", **options})


def entered(**options: Any) -> ck.LayerFS:
    return ck.LayerFS(tempfile.gettempdir(), **options).__enter__()


#: The call -> words of the error, where it has some of its own.
WRONG_TYPES: dict[str, tuple[Callable[[], Any], str]] = {
    "a number among the words": (lambda: run(["true", 5]), r"run\[1\] is 5 \(int\).*'5'"),
    "None among the words": (lambda: run([None]), r"run\[0\]"),
    "one string": (lambda: run("ls -l"), r"\['ls', '-l'\]"),
    "a number for words": (lambda: run(5), "list of words"),
    "words without an order": (lambda: run({"true"}), "list of words"),
    "words of a plan": (lambda: plan(run=["true", 1.5]), r"run\[1\]"),
    "a timeout in text": (lambda: run(TRUE, timeout="2"), "did you mean 2"),
    "a timeout in words": (lambda: run(TRUE, timeout="soon"), "seconds"),
    "a timeout that is a truth": (lambda: run(TRUE, timeout=True), "seconds"),
    "a timeout of a plan": (lambda: plan(run=TRUE).run(timeout=[1]), "seconds"),
    "variables in a list": (lambda: run(TRUE, env=["A=b"]), r"did you mean \{'A': 'b'\}"),
    "variables in a string": (lambda: run(TRUE, env="A=b"), "mapping"),
    "a number as a value": (lambda: run(TRUE, env={"A": 1}), "did you mean '1'"),
    "a number as a name": (lambda: run(TRUE, env={1: "A"}), "text"),
    "a value that is None": (lambda: run(TRUE, env={"A": None}), "text"),
    "text as input": (lambda: run(TRUE, input="text"), r"encode\(\)"),
    "a file as input": (lambda: run(TRUE, input=io.BytesIO(b"x")), "bytes"),
    "a number as a directory": (lambda: run(TRUE, cwd=5), "cwd wants a path"),
    "a list as a directory": (lambda: run(TRUE, cwd=["/"]), "cwd wants a path"),
    "check in words": (lambda: run(TRUE, check="no"), "True or False"),
    "a switch of a plan": (lambda: plan(run=TRUE, new_session="yes"), "True or False"),
    "a class as a part": (lambda: run(TRUE, ns.User), r"forget the \(\)"),
    "a class as a part of a plan": (lambda: plan(mounts.Dev), r"forget the \(\)"),
    "a method as a part": (lambda: run(TRUE, ck.Seccomp.default), "forget to call it"),
    "a list as a part": (lambda: run(TRUE, [ns.User()]), r"\*parts"),
    "a path as a part": (lambda: run(TRUE, "/srv"), r"LayerFS\(path\)"),
    "an image as a part": (lambda: run(TRUE, image), r"LayerFS\(image\)"),
    "a mapping as a part": (lambda: run(TRUE, {"/a": "/b"}), "not a part"),
    "nothing as a part": (lambda: run(TRUE, None), "not a part"),
    "a path as a stream": (lambda: spawn(stdout="/tmp/x"), 'open'),
    "a path in bytes as a stream": (lambda: spawn(stderr=b"/tmp/x"), "stderr wants"),
    "a file in memory": (lambda: spawn(stdin=io.BytesIO(b"x")), "stdin wants"),
    "a truth as a stream": (lambda: spawn(stdout=True), "stdout wants"),
    "descriptors in a list": (lambda: spawn(fds=[3]), "mapping"),
    "a descriptor's number in text": (lambda: spawn(fds={"3": 0}), "did you mean 3"),
    "a descriptor that is none": (lambda: spawn(fds={3: "x"}), r"fds\[3\]"),
    "a user by name": (lambda: ns.User("root"), "uid wants a whole number"),
    "a user in text": (lambda: ns.User("0"), "did you mean 0"),
    "a host name": (lambda: plan(ns.Uts(5)), "text"),
    "host names": (lambda: plan(ns.Uts(["x"])), "text"),
    "a clock": (lambda: plan(ns.Time("5")), "did you mean 5"),
    "a bind's source": (lambda: plan(mounts.Bind(5)), "text"),
    "a bind's source in a mapping": (lambda: plan(mounts.Bind({"/a": "/b"})), "text"),
    "a bind's target": (lambda: plan(mounts.Bind("/srv", 5)), "text"),
    "a root": (lambda: plan(mounts.Root(5)), "text"),
    "a mode in text": (lambda: mounts.Tmpfs("/tmp", mode="755"), "did you mean 755"),
    "masks": (lambda: mounts.Masked("/proc/kcore"), "did you mean"),
    "read-only paths": (lambda: mounts.ReadOnly(5), "list of paths"),
    "a call by number": (lambda: ck.Seccomp.allow([5]), "name"),
    "credentials by name": (lambda: ck.Credentials("root", "root"), "uid"),
    "groups in text": (lambda: ck.Credentials(1, 1, "5"), "list of ids"),
    "groups by name": (lambda: ck.Credentials(1, 1, ["adm"]), "groups"),
    "a layer": (lambda: ck.LayerFS(5), "directory's path"),
    "no layer": (lambda: ck.LayerFS(None), "directory's path"),
    "layers in a list": (lambda: ck.LayerFS(["/tmp"]), r"\*layers"),
    "a class of layers": (lambda: ck.LayerFS(ck.Image), "directory's path"),
    "a directory for changes": (lambda: entered(directory=5), "directory wants a path"),
    "a directory for scratch": (lambda: entered(scratch=5), "scratch wants a path"),
    "a sandbox of nothing": (lambda: ck.sandbox(None), "directory's path"),
    "a process id in text": (lambda: ck.Namespace.of("self", "net"), "pid wants a whole number"),
    "a namespace's path": (lambda: ck.Namespace.at(None), "path"),
    "programs in a string": (lambda: ck.rootfs.from_programs("sh"), r"\['sh'\]"),
    "programs as a number": (lambda: ck.rootfs.from_programs(5), "list of names"),
    "a program that is None": (lambda: ck.rootfs.from_programs([None]), r"programs\[0\]"),
    "files in a string": (lambda: ck.rootfs.from_programs(["sh"], extra_files="/etc"), "list of paths"),
    "an image's path": (lambda: ck.Image.open(5), "path"),
    "an image's name": (lambda: ck.Image.pull(5), "name is text"),
    "a reference": (lambda: ck.Reference.parse(5), "name is text"),
    "a build's context": (lambda: ck.Image.build(5), "context"),
    "a build's Dockerfile": (lambda: build(dockerfile=5), "dockerfile"),
    "a build's arguments": (lambda: build(args=["A=b"]), "args wants a mapping"),
    "a build's tag": (lambda: build(tag=5), "name is text"),
    "a layer of an image": (lambda: image.append("layer"), r"Layer\.from_directory"),
    "a store": (lambda: ck.Store(5), "path"),
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINERKIT_STORE", str(tmp_path / "store"))


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("call", "words"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_a_plan_error_and_a_type_error(call: Callable[[], Any], words: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(ck.WrongType, match=words) as caught:
        call()
    assert isinstance(caught.value, ck.PlanError)
    assert isinstance(caught.value, TypeError)
    assert set(os.listdir("/proc/self/fd")) == before


WRONG_VALUES: dict[str, Callable[[], Any]] = {
    "no word": lambda: run([]),
    "an empty name": lambda: run([""]),
    "a NUL": lambda: run(["a\0b"]),
    "a timeout that is no number": lambda: run(TRUE, timeout=float("nan")),
    "a timeout without an end": lambda: run(TRUE, timeout=float("inf")),
    "a timeout that no clock counts": lambda: run(TRUE, timeout=10**400),
    "a variable without a name": lambda: run(TRUE, env={"": "x"}),
    "a variable with an equals sign": lambda: run(TRUE, env={"A=B": "x"}),
    "an empty directory": lambda: run(TRUE, cwd=""),
    "a negative user": lambda: ns.User(-1),
    "an id that is none": lambda: ck.Credentials(2**32 - 1, 0),
    "a mode too large": lambda: mounts.Tmpfs("/tmp", mode=0o10000),
    "a standard stream among the others": lambda: spawn(fds={2: 0}),
    "an empty path of an image": lambda: ck.Image.open(""),
}


@pytest.mark.parametrize("call", WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_a_wrong_value_is_a_plan_error(call: Callable[[], Any]) -> None:
    with pytest.raises(ck.PlanError) as caught:
        call()
    assert not isinstance(caught.value, TypeError)


def test_what_is_right_in_several_forms_is_taken() -> None:
    assert run([Path("/bin/echo"), b"a", "b"], env={"A": "b", b"C": Path("/d")}, cwd=Path("/"), input=bytearray(b"x")).text == "a b\n"
    assert run((word for word in TRUE), timeout=10, check=True).exit_code == 0
    assert run(["/bin/sh", "-c", "echo $C"], env={b"C": b"d"}).text == "d\n"


# Hints ----------------------------------------------------------------------------------------------------------


MISSPELT = ["memory-limit", "MemoryMax", "memory.limit", "CPUS", "memoryy", "memry", "memory_maximum", "memory_m"]


@pytest.mark.parametrize("word", [*MEANT, *MISSPELT])
def test_a_hint_never_leads_to_what_keeps_memory_instead_of_limiting_it(word: str) -> None:
    with pytest.raises(ck.PlanError, match="did you mean") as caught:
        parse({word: "64M"})
    advice = str(caught.value).partition("did you mean ")[2]
    if "reservation" not in word:
        assert advice.startswith("memory_max") or not KEEP & set(re.findall(r"\w+", advice))
    if word in MEANT:
        assert "memory_min" not in advice


@pytest.mark.parametrize(
    ("word", "limit"),
    [
        ("memory", "memory_max"), ("mem", "memory_max"), ("memory_limit", "memory_max"), ("cpus", "cpu_max"), ("cpu", "cpu_max"),
        ("pids", "pids_max"), ("pids_limit", "pids_max"), ("io", "io_max"), ("memory_swap", "memory_swap_max"),
        ("cpu_shares", "cpu_weight"),
        ("cpuset", "cpuset_cpus"), ("device_read_bps", "io_max"),
        ("cpu_quota", "cpu_max"), ("memory-max", "memory_max"),
        ("memory_reservation", "memory_low"), ("blkio_weight", "io_weight"),
    ],
)  # fmt: skip
def test_the_words_of_other_tools_lead_to_ours(word: str, limit: str) -> None:
    with pytest.raises(ck.PlanError, match=f"did you mean {limit}\\b"):
        ck.Cgroup("judge", **{word: 1})


@pytest.mark.parametrize("word", ELSEWHERE)
def test_what_is_no_limit_of_a_group_leads_to_where_it_is(word: str) -> None:
    with pytest.raises(ck.PlanError, match=r"Rlimits|timeout|Dev"):
        parse({word: 1})


def test_where_a_word_is_nearest_to_one_that_keeps_memory_the_limit_is_named_first() -> None:
    for word in ("memory_mim", "memory_lo"):
        with pytest.raises(ck.PlanError, match="did you mean memory_max, the limit, or memory_"):
            parse({word: 1})
    assert set(WORDS) >= KEEP
    assert not set(MEANT) & set(WORDS)
