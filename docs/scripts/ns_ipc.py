import ctypes

import containerkit as ck
from containerkit import ns

IPC_PRIVATE, IPC_RMID = 0, 0
libc = ctypes.CDLL(None)
segment = libc.shmget(IPC_PRIVATE, 4096, 0o600)  # any process of this user may attach it
try:
    count = ["sh", "-c", "tail -n +2 /proc/sysvipc/shm | wc -l"]
    print("outside: at least one segment:", int(ck.run(count).text) > 0)
    print("inside: ", ck.run(count, ns.User(), ns.Ipc()).text.strip())
finally:
    libc.shmctl(segment, IPC_RMID, None)
