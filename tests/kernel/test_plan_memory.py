"""A plan that is made again meets a host that has changed: what runs is what would have run without a memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import containerkit as ck
from containerkit import mounts, ns
from containerkit.core import remembered

REPO = Path(__file__).resolve().parent.parent.parent


def read(root: Path, source: Path) -> str:
    parts = ns.User.same(), ns.Mount(), ns.Pid(), ck.LayerFS(root, readonly=True), mounts.Bind(source, "/srv/it")
    result = ck.run(["sh", "-c", "cat /srv/it || cat /srv/it/name"], *parts, stderr=ck.STDOUT)
    return result.text.splitlines()[-1]


def test_a_source_that_becomes_a_file_and_a_link(rootdir: Path, tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    for directory in (source, other):
        directory.mkdir()
        (directory / "name").write_text(f"{directory.name}\n")
    remembered.forget()
    assert [read(rootdir, source) for _ in range(2)] == ["source", "source"]
    (source / "name").unlink()
    source.rmdir()
    source.write_text("a file\n")
    assert read(rootdir, source) == "a file"
    source.unlink()
    source.symlink_to(other)
    assert read(rootdir, source) == "other"


CHANGES = {
    "nothing": "pass",
    "every descriptor is closed": "os.closerange(3, 256)",
    "the umask": "os.umask(0o777)",
    "the working directory": "os.chdir('/proc/self')",
    "fewer descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (90, 90))",
    "a fork": "child = os.fork(); child and os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
    "a thread": "run = in_a_thread(run)",
    "another environment": "os.environ.clear()",
    **({"another user": "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)",
        "another effective user": "os.setegid(65534); os.seteuid(65534)",
        "a mount namespace of its own": "os.unshare(0x20000) if hasattr(os, 'unshare') else None"} if os.geteuid() == 0 else {}),
}  # fmt: skip
SCRIPT = """
import os, resource, sys, threading
import containerkit as ck
from containerkit.core import remembered

def run():
    try:
        result = ck.run(["sh", "-c", "id -u; cat /proc/self/uid_map; ls /; pwd"], ck.sandbox(sys.argv[1]), stderr=ck.STDOUT)
        return f"{{result.exit_code}} {{result.text}}"
    except ck.ContainerKitError as error:
        return f"{{type(error).__name__}}: {{error}}"

def in_a_thread(run):
    def inside():
        said = []
        thread = threading.Thread(target=lambda: said.append(run()))
        thread.start()
        thread.join()
        return said[0]
    return inside

before = [run(), run()]
assert before[0] == before[1], before
{change}
warm = [run(), run()]
remembered.forget()
cold = run()
assert warm == [cold, cold], (warm, cold)
print("same as", "before" if cold == before[0] else "without")
"""


@pytest.mark.parametrize("name", CHANGES)
def test_what_runs_after_a_change_is_what_would_have_run(name: str, rootdir: Path) -> None:
    argv = [sys.executable, "-c", SCRIPT.format(change=CHANGES[name]), str(rootdir)]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("same as")
    if name == "another user":
        assert done.stdout == "same as without\n", "the change shows, or this test could not fail"
