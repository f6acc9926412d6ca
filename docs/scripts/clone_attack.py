import ctypes
import os
import struct
import sys

import containerkit as ck
from containerkit import ns
from containerkit.linux.syscalls import CLONE, Bytes, Call, Fd, setns

SAME = ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])  # root inside is us
SECRET = ctypes.create_string_buffer(b"the host's password")  # somewhere in this Python's memory

# Root in a user namespace.  It waits for a new process, and reads from its memory.
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
    """Join a user namespace in an unsafe way: the child still shares the caller's memory."""

    def __init__(self, namespace: ck.Namespace) -> None:
        self.namespace = namespace

    def steps(self):
        call = setns(Fd("namespace", self.namespace), CLONE.NEWUSER)
        yield ck.Step.child(ck.Phase.IDENTITY, call, why="join, unsafely")


class Wait:
    """Give the attacker a moment."""

    def steps(self):
        short = Bytes(struct.pack("qq", 1, 0), "1s")
        moment = Call("ppoll", (None, 0, short, None, 0))
        yield ck.Step.child(ck.Phase.INSIDE, moment, why="wait a moment")


def attacked(join) -> str:
    argv = [sys.executable, "-c", ATTACKER, str(ctypes.addressof(SECRET))]
    with ck.plan(SAME, run=argv).spawn(stdout=ck.PIPE) as attacker:
        attacker.stdout.readline()
        with ck.Namespace.of(attacker.pid, "user") as namespace:
            ck.run(["sleep", "0.2"], join(namespace), Wait())
            attacker.signal(15)  # without a readable process it would wait for ever
        said = attacker.stdout.readline().decode().strip()
        return said or "attacker saw no process that it may read"


careless, ours = attacked(Careless), attacked(lambda namespace: namespace)
print("a child that shares memory joins:", careless, sep="\n    ")
print("a Namespace in a plan joins:", ours, sep="\n    ")
assert "password" in careless
assert "password" not in ours
