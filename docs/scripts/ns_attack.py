import os
import sys

import containerkit as ck
from containerkit import ns

ATTEMPTS = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def attempt(what, act):
    try:
        if act() == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        print(f"{what:42} allowed")
    except OSError as error:
        print(f"{what:42} {error.strerror}")

print("capabilities:", open("/proc/self/status").read().split("CapEff:")[1].split()[0])
attempt("drop the groups that deny me access", lambda: os.setgroups([]))
attempt("become user 1000", lambda: os.setuid(1000))
attempt("give a file away", lambda: os.chown("mine", 1000, 1000))
attempt("make a device", lambda: os.mknod("sda", 0o60600, os.makedev(8, 0)))
attempt("rename the machine", lambda: libc.sethostname(b"mine", 4))
attempt("cover the machine's /proc", lambda: libc.mount(b"x", b"/proc", b"tmpfs", 0, None))
attempt("listen to the network", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("reboot the machine", lambda: libc.reboot(0))
attempt("become root of one more user namespace", lambda: libc.unshare(0x10000000))
"""
for name in ("mine", "theirs"):
    with open(name, "w"):
        pass
if os.geteuid() == 0:
    os.chown("theirs", 1000, 1000)
one = ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])
print(ck.run([sys.executable, "-c", ATTEMPTS], one, check=True).text)
print("the owners of two files, seen from inside:")
theirs = "theirs" if os.geteuid() == 0 else "/etc/passwd"
print(ck.run(["stat", "-c", "%n: %U, %u", "mine", theirs], one, check=True).text)
