import ctypes
import struct
import sys

import containerkit as ck
from containerkit import ns
from containerkit.syscalls import CLONE, Bytes, Call, Fd, setns

SECRET = ctypes.create_string_buffer(b"the host's password")  # somewhere in this Python's memory

# Root in a user namespace.  It waits until somebody new comes in, and reads from its memory.
ATTACKER = """
import os, sys

def inside(pid):
    try:
        return os.stat(f"/proc/{pid}/ns/user").st_ino == os.stat("/proc/self/ns/user").st_ino
    except OSError:
        return False

def others():
    return [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]

print("ready", flush=True)
while not (found := [p for p in others() if inside(p)]):
    pass
try:
    with open(f"/proc/{found[0]}/mem", "rb", 0) as memory:
        memory.seek(int(sys.argv[1]))
        print("attacker read:", memory.read(19))
except OSError as error:
    print("attacker got:", error.strerror)
"""


class Careless:
    """Joins a user namespace as one must not: the child still is the caller's memory."""

    def __init__(self, namespace: ck.Namespace) -> None:
        self.namespace = namespace

    def steps(self):
        call = setns(Fd("namespace", self.namespace), CLONE.NEWUSER)
        yield ck.Step.child(ck.Phase.IDENTITY, call, why="join, carelessly")


class Wait:
    """Gives the attacker a moment."""

    def steps(self):
        short = Bytes(struct.pack("qq", 0, 300_000_000), "0.3s")
        moment = Call("ppoll", (None, 0, short, None, 0))
        yield ck.Step.child(ck.Phase.INSIDE, moment, why="wait a moment")


def attacked(join) -> None:
    argv = [sys.executable, "-c", ATTACKER, str(ctypes.addressof(SECRET))]
    with ck.plan(ns.User(), run=argv).spawn(stdout=ck.PIPE) as attacker:
        attacker.stdout.readline()
        with ck.Namespace.of(attacker.pid, "user") as namespace:
            ck.run(["sleep", "0.2"], join(namespace), Wait())
            attacker.signal(15)  # where nobody was to be seen it would wait for ever
        print(
            "   ",
            attacker.stdout.readline().decode().strip()
            or "attacker saw nobody whom it may look at",
        )


print("a child that shares memory joins:")
attacked(Careless)
print("a Namespace in a plan joins:")
attacked(lambda namespace: namespace)
