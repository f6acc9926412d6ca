import ctypes
import platform
import sys
import threading

import containerkit as ck
from containerkit import ns

ADD_KEY, KEYCTL = (248, 250) if platform.machine() == "x86_64" else (217, 219)
JOIN, SEARCH, READ, SESSION = 1, 10, 11, -3
PROGRAM = f"""
import ctypes
call = ctypes.CDLL(None).syscall
key = call({KEYCTL}, {SEARCH}, {SESSION}, b"user", b"lesson", 0)
text = ctypes.create_string_buffer(6)
if key > 0:
    call({KEYCTL}, {READ}, key, text, 6)
print("the program reads:", text.raw.decode() if key > 0 else "nothing, there is no such key")
"""


found: list[str] = []


def lesson() -> None:
    call = ctypes.CDLL(None).syscall
    if call(KEYCTL, JOIN, None) < 0:
        print("there are no keyrings here")
        return
    key = call(ADD_KEY, b"user", b"lesson", b"secret", 6, SESSION)
    call(KEYCTL, 5, key, 0x3F3F0000)  # KEYCTL_SETPERM: for all programs of this user too
    for keep in (True, False):
        plan = ck.plan(ns.User.same(), run=[sys.executable, "-c", PROGRAM], keep_keyring=keep)
        found.append(plan.run(check=True).text)
        print(f"keep_keyring={keep}:", found[-1], end="")


thread = threading.Thread(target=lesson)  # a thread has a session keyring of its own
thread.start()
thread.join()
assert not found or ("secret" in found[0]) > ("secret" in found[1])
