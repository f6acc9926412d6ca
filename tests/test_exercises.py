"""The exercises of the book: each check accepts the model solution, and refuses a wrong answer with a helpful text."""

# ruff: noqa: E501 - pieces of code, on one line each

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from containerkit.diagnose.leaks import leaks

EXERCISES = Path(__file__).resolve().parent.parent / "docs/exercises"
NAMES = sorted(path.stem for path in (EXERCISES / "checks").glob("*.py"))

# What an ordinary user can do only where a cgroup was delegated.
WANTS_GROUPS = {"judge"}

# A typical wrong answer: the exercise, what of the solution is replaced, by what, and a piece of what the check says.
WRONG = [
    ("ended", 'return f"exit {code}" if code >= 0 else f"signal {-code}"', 'code = code if code >= 0 else 128 - code\n    return f"signal {code - 128}" if code > 128 else f"exit {code}"', "a shell says 137 for signal 9 too"),
    ("ended", 'return "no interpreter" if os.path.exists(argv[0]) else "no program"', 'return "no program"', "both failures are ENOENT"),
    ("ended", "except ck.StepError:", "except ck.PlanError:", "your code raised StepError (line"),
    ("race", "stack.enter_context(ck.plan(run=argv).spawn())", "ck.plan(run=argv).spawn()", "3 processes are left"),
    ("race", "ready, _, _ = select.select([process.pidfd for process in started], [], [])", "ready = [started[0].wait() and 0 or started[0].pidfd]", "you waited for a loser"),
    ("limit", "self.count, self.count)", "self.count, resource.getrlimit(resource.RLIMIT_NOFILE)[1])", "set the hard limit too"),
    ("limit", "ck.Phase.DROP", "ck.Phase.IDENTITY", "belongs in DROP"),
    ("limit", "ck.Step.child", "ck.Step.parent", "it would limit this Python"),
    ("limit", "        call =", "        resource.setrlimit(resource.RLIMIT_NOFILE, (63, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n        call =", "your own limit changed"),
    ("enter", "if namespace not in ours", "if namespace not in ours and namespace.kind != 'pid'", "not in the container's pid namespace (the other processes)"),
    ("enter", "if namespace not in ours", "", "your code raised"),
    ("enter", "stack.enter_context(ck.Namespace.of(pid, kind))", "KEPT.setdefault((pid, kind), ck.Namespace.of(pid, kind))", "stay open after your function returned"),
    ("jail", 'mounts.Root(root, readonly=True)', "mounts.Root(root)", "the program could write to its root directory"),
    ("jail", 'mounts.Bind(data, "/data", readonly=True)', 'mounts.Bind(data, "/data")', "and so to the host's directory"),
    ("jail", ', size="1M"', "", "the program could write more than a megabyte to /tmp"),
    ("jail", "ns.Pid()]", "]", "/proc is empty"),
    ("jail", "ns.Pid()]", 'mounts.Bind("/proc")]', "some of them are the host's"),
    ("deleted", "if at != \"/\" and is_opaque(upper):", "if False:", "the new directory is opaque"),
    ("deleted", "if os.path.lexists(lower / name) else set()", "", "/mnt is not in `lower`"),
    ("judge", "if result.stopped_by:", "if result.stopped_by and result.stopped_by != 'signal':", "it killed itself with the signal that the OOM killer uses"),
    ("judge", "if result.stopped_by:", "if result.exit_code == 137:\n        return 'memory'\n    if result.stopped_by:", "but the program ended by itself"),
    ("judge", "timeout=0.5)", "timeout=0.5)\n        if group.stat().pids.refused:\n            return 'processes'", "it reached the limit and handled the error"),
    ("judge", 'with ck.Cgroup("judge", memory_max="32M", memory_swap_max=0, pids_max=8) as group:', 'group = ck.Cgroup("judge", memory_max="32M", memory_swap_max=0, pids_max=8).make()\n    if group:', "a group is left after ['true']: judge"),
    ("pod", '"M": 10**6', '"M": 2**20', "for Kubernetes \"M\" is a million"),
    ("pod", ', "memory_swap_max": 0', "", "swap is not limited to 0"),
    ("pod", "return ck.Cgroup(name, **asked)", "return ck.Cgroup(name, **asked).make()", "the group was made"),
    ("pod", 'if "memory" in limits:', 'limits = {"memory": "1Gi", **limits}\n    if "memory" in limits:', "a resource that is not named has no limit"),
    ("header", 'block[148:156] = b" " * 8\n', 'pass\n', "is the checksum that of the header with spaces in its field"),
    ("header", "b\"%011o", "b\"%011d", "Python's tarfile"),
    ("header", "len(encoded) > 100", "len(name) > 100", "51 characters that are 102 bytes"),
    ("header", "% (mode, 0, 0)", "% (mode & 0o777, 0, 0)", "header('bin/tool', 10, 0o4755) as"),
    ("header", 'b"ustar\\x0000"', 'b"ustar  \\x00"', "readers expect the older form"),
    ("header", 'block[156:157] = b"0"', 'block[156:157] = b"5"', "is no header of a file"),
    ("intact", "not path.is_file() or ", "", "your code raised FileNotFoundError"),
    ("intact", '[manifest["config"], *manifest["layers"]]', 'manifest["layers"]', "the config has one other bit"),
    ("intact", "            continue\n", "", "your code raised"),
    ("intact", 'found = hashlib.file_digest(file, "sha256")', "found = hashlib.sha256(file.read())", "read it in pieces"),
    ("intact", ' or path.stat().st_size != descriptor["size"]', "", "the manifest gives a layer another size"),
    ("seen", 'path == top or path.startswith(f"{top}/")', "path.startswith(top)", "etc/passwd only begins like etc/pass"),
    ("seen", "gone = {hidden_by(entry) for entry in layer}", 'gone = {hidden_by(entry) for entry in layer if ".wh." in entry}', "a file covers a directory"),
    ("seen", "found - directories | files", "found | files", "a directory covers a file"),
    ("seen", "if name == OPAQUE:", "if False:", ": d is opaque"),
    ("seen", "        found = found - directories | files\n", "        found = {path for path in found - directories | files if path not in gone - files | ({hidden_by(entry) for entry in layer if '.wh.' in entry})}\n", "this layer has a file of that name"),
    ("garbage", "yield from reached(layout, document[\"manifests\"])", "yield from (each['digest'] for each in document['manifests'])", "of which 4 are still needed"),
    ("garbage", "yield document[\"config\"][\"digest\"]", "pass", "nothing was removed: 0 blobs are garbage"),
    ("garbage", "raise LookupError(f\"{digest} is missing\")", "return {'config': {'digest': ''}, 'layers': [], 'manifests': []}", "its blobs cannot be known now"),
    ("garbage", "return blobs - needed", "for each in blobs - needed:\n        Path(layout, 'blobs', *each.split(':')).unlink()\n    return blobs - needed", "it should only return the digests"),
    ("named", 'or registry == "localhost"', "", "localhost is a registry without a dot"),
    ("named", "if not slash or", "if", "this is a repository"),
    ("named", 'if registry == "docker.io" and', "if", "\"library\" is only at docker.io"),
    ("named", 'or ":" in registry ', "", "this colon is before a port"),
    ("fetch", '            found = b""\n        while', "            pass\n        while", "the server knows no Range"),
    ("fetch", 'if found else {}', "if not found else {}", "name the first missing byte in the header Range"),
    ("fetch", 'if f"sha256:{hashlib.sha256(found).hexdigest()}" != digest:', "if False:", "one wrong byte"),
    ("fetch", "size + 1 - len(found)", "1 << 16", "sends bytes without end"),
    ("fetch", "size + 1 - len(found)", "size - len(found)", "one byte too many"),
    ("fetch", "raise LookupError(path)", "return found", "the answer is 404"),
    ("recipe", "COPY package.json install ./", "COPY . .", "the token is in layer 3"),
    ("recipe", "COPY package.json install ./", "COPY app.js package.json install ./", "instructions before it must not depend on app.js"),
    ("recipe", "COPY package.json install ./", "RUN echo a, b > package.json\nCOPY install ./", "package.json changed, and `install` was not run"),
    ("recipe", " && rm -r /tmp/rubbish", "\nRUN rm -r /tmp/rubbish", "remove it in the RUN that makes it"),
    ("recipe", "--mount=type=secret,id=token ", "", "the image cannot be built"),
    ("recipe", 'ENTRYPOINT ["cat", "/app/app.js"]', "ENTRYPOINT cat /app/app.js", "no shell runs"),
    ("recipe", "USER 1000\n", "", "the user is 'root'"),
    ("recipe", "WORKDIR /app\n", "", "/app/installed does not exist"),
]  # fmt: skip


def check(name: str, *answer: Path) -> tuple[int, str]:
    """Run the reader's command, which must leave nothing behind, and return its exit code and output."""
    command = [sys.executable, EXERCISES / "check.py", name, *answer]
    with leaks():
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_every_exercise_has_a_skeleton_a_check_a_solution_and_a_wrong_answer() -> None:
    assert NAMES
    assert [path.stem for path in sorted(EXERCISES.glob("*.py")) if path.stem != "check"] == NAMES
    assert [path.stem for path in sorted((EXERCISES / "solutions").glob("*.py"))] == NAMES
    assert sorted({name for name, *_ in WRONG}) == NAMES


def test_every_exercise_is_in_the_book() -> None:
    pages = "".join(page.read_text() for page in EXERCISES.parent.glob("*.md"))
    assert [name for name in NAMES if f"exercises/{name}.py" not in pages] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_is_right(name: str) -> None:
    assert check(name, EXERCISES / f"solutions/{name}.py") == (0, f"{name}: right\n")


@pytest.mark.parametrize("name", NAMES)
def test_the_skeleton_is_still_to_be_written(name: str) -> None:
    code, said = check(name)
    assert code == 1
    assert f"{name}.py is still to be written" in said


@pytest.mark.parametrize(("name", "old", "new", "helps"), WRONG, ids=[f"{w[0]}-{i}" for i, w in enumerate(WRONG)])
def test_a_wrong_answer_is_told_what_is_wrong(name: str, old: str, new: str, helps: str, tmp_path: Path) -> None:
    solution = (EXERCISES / f"solutions/{name}.py").read_text()
    assert old in solution
    answer = tmp_path / "answer.py"
    answer.write_text("KEPT = {}\n" + solution.replace(old, new))
    code, said = check(name, answer)
    assert code == 1
    assert helps in said


def test_an_answer_for_an_ordinary_user(as_user) -> None:  # type: ignore[no-untyped-def]
    for name in NAMES:
        done = as_user.run(sys.executable, EXERCISES / "check.py", name, EXERCISES / f"solutions/{name}.py")
        answers = {0: f"{name}: right\n"} | ({3: f"{name}: cannot be checked here\n"} if name in WANTS_GROUPS else {})
        assert done.stdout.endswith(answers.get(done.returncode, "?")), done.stdout + done.stderr


def test_an_unknown_exercise_is_answered_with_the_known_ones() -> None:
    code, said = check("none")
    assert code == 2
    assert "deleted, ended" in said
