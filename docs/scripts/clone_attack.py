import ctypes
import sys

import containerkit as ck
from containerkit import ns
from containerkit.syscalls import CLONE, Bytes, Call, Fd, setns

SECRET = ctypes.create_string_buffer(b"the host's password")  # somewhere in this Python's memory

# Root in a user namespace.  It waits until somebody new comes in, and reads that process's memory.
ATTACKER = """
import os, sys

def inside(pid):
    try:
        return os.stat(f"/proc/{pid}/ns/user").st_ino == os.stat("/proc/self/ns/user").st_ino
    except OSError:
        return False

print("ready", flush=True)
while not (found := [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid() and inside(p)]):
    pass
try:
    with open(f"/proc/{found[0]}/mem", "rb", 0) as memory:
        memory.seek(int(sys.argv[1]))
        print("attacker read:", memory.read(19))
except OSError as error:
    print("attacker got:", error.strerror)
"""


class Careless:
    """Joins a user namespace the way one must not: by a child that still is the caller's memory."""

    def __init__(self, namespace: ck.Namespace) -> None:
        self.namespace = namespace

    def steps(self):
        yield ck.Step.child(ck.Phase.IDENTITY, setns(Fd("namespace", self.namespace), CLONE.NEWUSER), why="join, carelessly")


class Wait:
    """Gives the attacker a moment."""

    def steps(self):
        moment = Bytes((0).to_bytes(8, "little") + (300_000_000).to_bytes(8, "little"), "0.3s")
        yield ck.Step.child(ck.Phase.INSIDE, Call("ppoll", (None, 0, moment, None, 0)), why="wait a moment")


def attacked(join) -> None:
    argv = [sys.executable, "-c", ATTACKER, str(ctypes.addressof(SECRET))]
    with ck.plan(ns.User(), run=argv).spawn(stdout=ck.PIPE) as attacker:
        attacker.stdout.readline()
        with ck.Namespace.of(attacker.pid, "user") as namespace:
            ck.run(["sleep", "0.2"], join(namespace), Wait())
            attacker.signal(15)  # where nobody was to be seen it would wait for ever
        print("   ", attacker.stdout.readline().decode().strip() or "attacker saw nobody whom it may look at")


print("a child that shares memory joins:")
attacked(Careless)
print("a Namespace in a plan joins:")
attacked(lambda namespace: namespace)
