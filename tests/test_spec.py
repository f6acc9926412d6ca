"""A container's spec: a value, a document, and errors that name the field."""

from __future__ import annotations

import builtins
import copy
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import containerkit as ck
from containerkit import mounts
from containerkit.container import ContainerSpec, Namespaces, Profile, SpecError
from containerkit.container.signals import signal_number
from containerkit.errors import PlanError, WrongType
from containerkit.image import ImageConfig
from containerkit.parts.capabilities import NAMES
from containerkit.parts.rlimits import RESOURCES
from containerkit.parts.seccomp import Rule, Where

# --- values that a spec can have --------------------------------------------------------------------------------

WORDS = st.binary(max_size=8).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
FULL = WORDS.filter(bool)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PATHS = st.lists(FULL.filter(lambda word: "/" not in word and word not in (".", "..")), min_size=1, max_size=3).map(
    lambda words: "/" + "/".join(words)
)
IDS = st.integers(0, 2**32 - 2)
SIZES = st.one_of(st.integers(0, 2**40), st.sampled_from(["64M", "50%", "1g"]))
LIMIT = st.one_of(st.just("unlimited"), st.integers(0, 2**40))
CHOICE = st.one_of(st.sampled_from(["new", "host"]), PATHS)
MOUNT = st.one_of(
    st.builds(
        mounts.Bind, PATHS, PATHS, st.booleans(), st.booleans(), st.lists(st.sampled_from(["nodev", "noexec"])).map(tuple),
        st.sampled_from([None, True, False]), st.sampled_from([None, True, False]),
    ),
    st.builds(mounts.Tmpfs, PATHS, st.one_of(st.none(), SIZES), st.integers(0, 0o7777)),
    st.builds(mounts.Dev, SIZES),
    st.builds(mounts.Sysfs, PATHS, st.booleans()),
    st.builds(mounts.Proc, PATHS, st.sampled_from([None, "invisible"])),
    st.builds(mounts.Mqueue, PATHS),
    st.builds(mounts.Devpts, PATHS, st.one_of(st.none(), IDS)),
)  # fmt: skip
FILTER = st.sampled_from([
    "default", None, ck.Seccomp.default(), ck.Seccomp.log(), ck.Seccomp.allow(["execve", "read"], otherwise="kill"),
    ck.Seccomp((Rule("socket", (Where(0, 16, 0xFF),), "ENOSYS"), Rule("read")), "log"),
])  # fmt: skip
PROFILE = st.builds(
    Profile, st.lists(PATHS).map(tuple), st.lists(PATHS).map(tuple), st.one_of(st.none(), st.frozensets(st.sampled_from(NAMES))),
    FILTER, st.booleans(),
)  # fmt: skip
RLIMITS = st.dictionaries(st.sampled_from(sorted(RESOURCES)), LIMIT, max_size=3).map(lambda found: ck.Rlimits(**found))
DATA = st.recursive(
    st.one_of(TEXT, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXT, inner, max_size=2)),
    max_leaves=4,
)
RANGES = st.sampled_from([(), ((0, 1000, 1),), ((0, 100000, 65536), (65536, 7, 1))])
ENV = st.dictionaries(FULL.filter(lambda name: "=" not in name), WORDS, max_size=3)


@st.composite
def specs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> ContainerSpec:
    ranges = draw(RANGES)
    fields = {
        "env": ENV, "cwd": st.one_of(st.none(), FULL), "image": TEXT, "read_only": st.booleans(), "user": st.one_of(st.none(), TEXT),
        "groups": st.lists(IDS).map(tuple), "set_home": st.booleans(), "ids": st.sampled_from(["own", "single", "subids", "host"]),
        "namespaces": st.builds(Namespaces, st.just("host"), CHOICE, CHOICE, CHOICE, CHOICE, CHOICE),
        "hostname": st.one_of(st.none(), FULL), "mounts": st.lists(MOUNT, max_size=3), "directories": st.lists(PATHS, max_size=2),
        "name_files": st.booleans(), "umask": st.one_of(st.none(), st.integers(0, 0o777)), "profile": PROFILE,
        "limits": st.dictionaries(st.sampled_from(["pids_max", "io_max", "cpu_max", "devices"]), DATA, max_size=2), "rlimits": RLIMITS,
        "init": st.booleans(), "terminal": st.booleans(), "interactive": st.booleans(),
        "stop_signal": st.sampled_from([*map(int, signal.Signals), "SIGQUIT", "RTMIN+3"]),
        "stop_timeout": st.one_of(st.none(), st.floats(0, 1e6), st.integers(0, 100)),
        "labels": st.dictionaries(TEXT, TEXT, max_size=2), "annotations": st.dictionaries(TEXT, TEXT, max_size=2),
    }  # fmt: skip
    values = {name: draw(strategy) for name, strategy in fields.items()}
    rootfs = [] if values["image"] else draw(st.lists(PATHS, max_size=2))
    return ContainerSpec(draw(st.lists(WORDS, max_size=3)), rootfs=rootfs, uids=ranges, gids=ranges, **values)


@given(specs())
@settings(max_examples=150, deadline=None)
def test_a_document_says_all_that_a_spec_is(spec: ContainerSpec) -> None:
    again = ContainerSpec.parse(spec.dump())
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.dump() == spec.dump()
    assert ContainerSpec.from_json(spec.to_json()) == spec


@given(specs())
@settings(max_examples=30, deadline=None)
def test_a_spec_crosses_to_another_process(spec: ContainerSpec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert copy.deepcopy(spec) == spec


def test_every_field_is_in_the_document() -> None:
    document = ContainerSpec().to_json()
    assert document.pop("version") == 1
    assert sorted(document) == sorted(ContainerSpec.__dataclass_fields__)


def test_bytes_that_are_not_utf8_survive() -> None:
    spec = ContainerSpec([b"sh", b"\xff\xfe"], env={"A": b"caf\xe9"})  # type: ignore[dict-item]
    assert spec.to_json()["argv"] == ["sh", {"base64": "//4="}]
    again = ContainerSpec.parse(spec.dump())
    assert [os.fsencode(word) for word in again.argv] == [b"sh", b"\xff\xfe"]
    assert os.fsencode(again.env["A"]) == b"caf\xe9"


def test_two_ways_to_write_the_same_bytes_are_equal() -> None:
    assert ContainerSpec(["é"]) == ContainerSpec(["é".encode()]) == ContainerSpec(["\udcc3\udca9"])
    assert ContainerSpec(mounts=[mounts.Bind(Path("/a"))]) == ContainerSpec(mounts=[mounts.Bind("/a")])


def test_a_spec_does_not_change() -> None:
    words, env = ["sh"], {"A": "b"}
    spec = ContainerSpec(words, env=env)
    words.append("-c")
    env["B"] = "c"
    assert spec == ContainerSpec(["sh"], env={"A": "b"})
    with pytest.raises(AttributeError):
        spec.argv = ()  # type: ignore[misc]
    assert spec.with_(hostname="x") != spec
    assert spec.with_(hostname="x").with_(hostname=None) == spec


def test_making_one_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does reading one: paths that are not there, users that nobody knows and limits of other machines are no errors yet."""

    def touched(*args: object, **more: object) -> None:
        raise AssertionError(f"touched {args}")

    made = ContainerSpec(["sh"], limits={"cpuset_cpus": "0-9999", "io_max": {"/nowhere": {"rbps": "1M"}}})
    data = made.dump()
    with monkeypatch.context() as patched:
        for where, names in ((builtins, ["open"]), (os, ["open", "stat", "lstat", "listdir", "geteuid", "readlink", "getxattr"])):
            for name in names:
                patched.setattr(where, name, touched)
        again = ContainerSpec.parse(data)
        other = again.with_(
            user="nosuch", rootfs=["/nowhere"], mounts=[mounts.Dev(), mounts.Bind("/nowhere")], namespaces=Namespaces(net="/nowhere")
        )
        repr(other), hash(other)
    assert again == made


def test_a_spec_shows_what_is_not_as_usual_and_no_secret() -> None:
    shown = repr(ContainerSpec(["sh"], env={"PASSWORD": "hunter2"}, profile=Profile.bare()))
    assert shown == ("ContainerSpec(argv=('sh',), env=<1 of them>, profile=Profile(capabilities=frozenset(), no_new_privileges=True))")


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "text"),
    [
        ({"argv": "ls -l"}, "argv", "did you mean ['ls', '-l']"),
        ({"argv": ["ls", 3]}, "argv[1]", "3 (int)"),
        ({"argv": ["a\0b"]}, "argv[0]", "NUL"),
        ({"argv": ["\ud800"]}, "argv[0]", "surrogates"),
        ({"env": ["A=b"]}, "env", "did you mean {'A': 'b'}"),
        ({"env": {"A=": "b"}}, "env", "not a name"),
        ({"cwd": ""}, "cwd", "empty"),
        ({"rootfs": ["relative"]}, "rootfs[0]", "absolute"),
        ({"rootfs": ["/a"], "image": "b"}, "rootfs", "not both"),
        ({"read_only": "yes"}, "read_only", "True or False"),
        ({"user": 33}, "user", "did you mean '33'"),
        ({"groups": [-1]}, "groups", "-1"),
        ({"ids": "mine"}, "ids", "'own', 'single', 'subids' or 'host'"),
        ({"uids": [(0, 1, 1)]}, "gids", "both"),
        ({"uids": [(0, 1, 0)], "gids": [(0, 1, 1)]}, "uids", "range"),
        ({"namespaces": {"net": "host"}}, "namespaces", "a Namespaces"),
        ({"namespaces": Namespaces(net="host")}, "mounts", "sysfs"),
        ({"hostname": "x" * 65}, "hostname", "64 bytes"),
        ({"mounts": [mounts.Masked()]}, "mounts[0]", "Bind, Tmpfs"),
        ({"mounts": [mounts.Bind("/a", idmap=open(os.devnull))]}, "mounts[0]", "idmap"),  # noqa: SIM115
        ({"directories": ["/a/../b"]}, "directories[0]", "'..'"),
        ({"umask": 0o1000}, "umask", "0o1000"),
        ({"profile": None}, "profile", "a Profile"),
        ({"limits": {"memory": "1G"}}, "limits", "did you mean memory_max"),
        ({"limits": {"pids_max": float("nan")}}, "limits", "nan"),
        ({"rlimits": {"nofile": 3}}, "rlimits", "a Rlimits"),
        ({"stop_signal": "SIGNO"}, "stop_signal", "SIGNO"),
        ({"stop_signal": 0}, "stop_signal", "'0'"),
        ({"stop_timeout": -1}, "stop_timeout", "None for ever"),
        ({"labels": {"a": 1}}, "labels", "text"),
    ],
)
def test_an_error_names_the_field(fields: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        ContainerSpec(**fields)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert text in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).field == field


def test_a_wrong_type_is_a_type_error_too() -> None:
    with pytest.raises(WrongType):
        ContainerSpec(argv="ls")
    with pytest.raises(TypeError):
        ContainerSpec(user=33)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Profile(capabilities=["CAP_NO"]), "capabilities"),  # type: ignore[arg-type]
        (lambda: Profile(seccomp="none"), "seccomp"),  # type: ignore[arg-type]
        (lambda: Profile(masked=("proc",)), "masked[0]"),
        (lambda: Namespaces(net="none"), "net"),
        (lambda: ContainerSpec().with_(hostnam="x"), "hostnam"),
    ],
)
def test_so_do_those_of_its_parts(make: Callable[[], object], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"version": 2}, "version", "another version"),
        ({"version": True}, "version", "expected 1"),
        ({"argvv": []}, "argvv", "did you mean argv"),
        ({"argv": "sh"}, "argv", "expected a list, found text"),
        ({"argv": [3]}, "argv[0]", "found a whole number"),
        ({"argv": [{"base64": "?"}]}, "argv[0].base64", "base64"),
        ({"argv": [{"hex": "00"}]}, "argv[0]", "base64"),
        ({"argv": [{"base64": "AA=="}]}, "argv[0]", "NUL"),
        ({"env": ["A"]}, "env[0]", "NAME=value"),
        ({"env": ["A=b", "A=c"]}, "env[1]", "twice"),
        ({"user": 33}, "user", "whole number"),
        ({"init": 1}, "init", "true or false"),
        ({"umask": False}, "umask", "true or false"),
        ({"uids": [[0, 1]], "gids": [[0, 1, 1]]}, "uids", "range"),
        ({"namespaces": {"net": 3}}, "namespaces.net", "text"),
        ({"namespaces": {"net": "none"}}, "namespaces.net", '"new", "host"'),
        ({"namespaces": {"ned": "new"}}, "namespaces.ned", "did you mean net"),
        ({"mounts": [{"type": "nfs"}]}, "mounts[0].type", "'nfs'"),
        ({"mounts": [{"source": "/"}]}, "mounts[0].type", "null"),
        ({"mounts": [{"type": "bind", "target": "/a"}]}, "mounts[0].source", "missing"),
        ({"mounts": [{"type": "bind", "source": "a"}]}, "mounts[0]", "absolute"),
        ({"mounts": [{"type": "tmpfs", "target": "/a", "size": 1.5}]}, "mounts[0].size", "a number"),
        ({"profile": {"masked": ["proc"]}}, "profile.masked[0]", "absolute"),
        ({"profile": {"seccomp": "none"}}, "profile.seccomp", "'default'"),
        ({"profile": {"seccomp": {"rules": [{"name": "reed"}]}}}, "profile.seccomp.rules[0]", "did you mean read"),
        ({"profile": {"seccomp": {"rules": [], "otherwise": "allow"}}}, "profile.seccomp", "none"),
        ({"limits": {"memory": 1}}, "limits", "memory_max"),
        ({"rlimits": {"nofile": 3}}, "rlimits.nofile", "[soft, hard]"),
        ({"rlimits": {"no": [1, 2]}}, "rlimits", "no such resource limit"),
        ({"stop_timeout": "10"}, "stop_timeout", "found text"),
        ({"labels": []}, "labels", "an object"),
        ({"labels": {"a": 3}}, "labels", "text"),
    ],
)
def test_so_does_one_of_a_document(changes: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        ContainerSpec.from_json(ContainerSpec(["sh"]).to_json() | changes)
    assert caught.value.field == field
    assert text in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"version": 1, "version": 1}', b'{"version": 1, "argv": ["\\ud800"]}', b"nul"])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(SpecError) as caught:
        ContainerSpec.parse(data)
    assert caught.value.field == "document"


def test_a_field_that_is_missing_has_its_default() -> None:
    assert ContainerSpec.from_json({"version": 1, "argv": ["sh"]}) == ContainerSpec(["sh"])
    with pytest.raises(SpecError, match="version: expected 1"):
        ContainerSpec.from_json({"argv": ["sh"]})


# --- from an image ----------------------------------------------------------------------------------------------

CONFIG = ImageConfig(
    entrypoint=("httpd",), cmd=("-p", "80"), user="web", working_dir="/srv", volumes=("/data",), stop_signal="SIGQUIT",
    env=("PATH=/bin", "LANG=C"), labels={"made": "here"},
)  # fmt: skip


def test_what_an_image_says() -> None:
    spec = ContainerSpec.from_image(CONFIG, image="web:1", term="xterm")
    assert spec.argv == ("httpd", "-p", "80")
    assert dict(spec.env) == {"PATH": "/bin", "TERM": "xterm", "HOSTNAME": "container", "LANG": "C"}
    assert (spec.user, spec.cwd, spec.directories, spec.stop_signal) == ("web", "/srv", ("/srv", "/data"), signal.SIGQUIT)
    assert (spec.image, spec.set_home, spec.name_files, dict(spec.labels)) == ("web:1", True, True, {"made": "here"})


def test_what_the_caller_says_counts_first() -> None:
    spec = ContainerSpec.from_image(
        CONFIG, ["-x"], env={"LANG": "de", "TERM": "vt100"}, term="xterm", user="", cwd="/w", stop_signal="15", hostname="box"
    )
    assert spec.argv == ("httpd", "-x")
    assert (spec.env["LANG"], spec.env["TERM"], spec.env["HOSTNAME"]) == ("de", "vt100", "box")
    assert (spec.user, spec.cwd, spec.stop_signal, spec.directories) == ("", "/w", signal.SIGTERM, ("/w", "/data"))


@pytest.mark.parametrize(
    ("entrypoint", "words", "argv"),
    [("sh", [], ("sh",)), ("sh", ["-c", "id"], ("sh", "-c", "id")), ("", ["id"], ("id",)), (None, ["id"], ("httpd", "id"))],
)
def test_another_entrypoint_takes_the_arguments_with_it(entrypoint: str | None, words: list[str], argv: tuple[str, ...]) -> None:
    assert ContainerSpec.from_image(CONFIG, words, entrypoint=entrypoint).argv == argv


def test_an_image_without_a_program() -> None:
    with pytest.raises(SpecError, match="argv: base:1 says no program to run"):
        ContainerSpec.from_image(ImageConfig(), image="base:1")
    with pytest.raises(SpecError, match="says no program to run"):
        ContainerSpec.from_image(CONFIG, entrypoint="")
    with pytest.raises(SpecError, match="stop_signal: no such signal: 'SIGNO'"):
        ContainerSpec.from_image(CONFIG.with_(stop_signal="SIGNO"))


# --- the profile ------------------------------------------------------------------------------------------------


def test_the_default_profile() -> None:
    kept = ck.Capabilities.default()
    usual = [mounts.Masked(), mounts.ReadOnly(), kept]
    assert [*Profile().parts()] == [*usual, ck.Seccomp.default(kept.names).before_capabilities()]
    assert [*Profile(no_new_privileges=True).parts()] == [*usual, ck.NoNewPrivileges(), ck.Seccomp.default(kept.names)]
    assert [*Profile.bare().parts()][2:] == [ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default()]
    assert [*Profile.privileged().parts()] == []
    assert mounts.ReadOnly() not in [*Profile().parts(proc=False)]


def test_the_filter_goes_with_the_capabilities() -> None:
    less = Profile().dropping("CAP_SYS_CHROOT")
    assert [*less.parts()][3] == ck.Seccomp.default(less.capabilities or ()).before_capabilities()
    assert less.adding("CAP_SYS_CHROOT") == Profile()
    assert Profile.privileged().dropping("CAP_SYS_ADMIN").capabilities == frozenset(NAMES) - {"CAP_SYS_ADMIN"}
    with pytest.raises(PlanError, match="no such capability"):
        Profile().adding("CAP_NOPE")


# --- plans ------------------------------------------------------------------------------------------------------


def test_a_plan_for_a_root_that_takes_changes_wants_one_that_was_entered(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="read_only: a root that takes changes"):
        ContainerSpec(["sh"]).plan(tmp_path)
    with ck.LayerFS(tmp_path) as root, pytest.raises(SpecError, match="read_only: nothing in the root is to change"):
        ContainerSpec(["sh"], read_only=True).plan(root)


def test_limits_want_a_group_that_has_them(tmp_path: Path) -> None:
    spec = ContainerSpec(["sh"], read_only=True, limits={"pids_max": 32, "memory_max": "64M"})
    with pytest.raises(SpecError, match=r"limits: limits are those of a group: give the plan a Cgroup"):
        spec.plan(tmp_path)
    with pytest.raises(SpecError, match=r"limits.memory_max: the spec has 67108864, the group no such limit"):
        spec.plan(tmp_path, ck.Cgroup(pids_max=32))
    with pytest.raises(SpecError, match=r"limits.pids_max: the spec has 32, the group 64"):
        spec.plan(tmp_path, ck.Cgroup(pids_max=64, memory_max="64M"))


def test_a_user_is_looked_up_in_the_root(tmp_path: Path) -> None:
    spec = ContainerSpec(["sh"], read_only=True, user="web", set_home=True)
    with pytest.raises(SpecError, match="user: the root has no user 'web'") as caught:
        spec.plan(tmp_path)
    assert caught.value.field == "user"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("web:x:33:34::/var/www:/bin/sh\n")
    for root in (tmp_path, mounts.Root(tmp_path, readonly=True)):
        assert spec.plan(root).options.env == {"HOME": "/var/www"}
    assert spec.with_(env={"HOME": "/mine"}).plan(tmp_path).options.env == {"HOME": "/mine"}


@pytest.mark.parametrize(
    ("path", "text"), [("/nowhere", "No such file"), ("/dev/null", "no namespace"), ("/proc/self/ns/ipc", "of another kind: ipc")]
)
def test_a_namespace_to_join_is_looked_for_when_the_plan_is_made(tmp_path: Path, path: str, text: str) -> None:
    spec = ContainerSpec(["sh"], read_only=True, namespaces=Namespaces(net=path), mounts=())
    with pytest.raises(SpecError, match=text) as caught:
        spec.plan(tmp_path)
    assert caught.value.field == "namespaces.net"


def test_a_plan_of_no_program_is_a_part(tmp_path: Path) -> None:
    part = ContainerSpec(read_only=True).plan(tmp_path)
    assert ck.plan(part, run=["sh"]).argv == (b"sh",)


# --- signals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 15), ("9", 9), ("SIGHUP", 1), ("hup", 1), ("RTMIN+3", signal.SIGRTMIN + 3), ("SIGRTMAX-1", signal.SIGRTMAX - 1)],
)
def test_a_signal_by_name_or_number(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["NO", "0", "65", "-1", "²", "SIGSIGHUP", "RTMIN+99", "1.5", " 9"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(PlanError, match="no such signal"):
        signal_number(text)
