import sys

import containerkit as ck
from containerkit import ns

TRY = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def attempt(what, act):
    try:
        if act() == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        print(f"  {what:20} allowed")
    except OSError as error:
        print(f"  {what:20} {error.strerror}")

attempt("chroot('/')", lambda: libc.chroot(b"/"))
attempt("ptrace(TRACEME)", lambda: libc.ptrace(0, 0, None, None))
attempt("socket(AF_ALG)", lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).close())
attempt("unshare(NEWUSER)", lambda: libc.unshare(0x10000000))
"""
for kept in ([], ["CAP_SYS_CHROOT"]):
    parts = [ns.User(), ck.NoNewPrivileges(), ck.Seccomp.default(kept)]
    text = ck.run([sys.executable, "-c", TRY], *parts, check=True).text
    print(f"Seccomp.default({kept}):\n{text}", end="")
    assert ("chroot('/')          allowed" in text) == bool(kept)
