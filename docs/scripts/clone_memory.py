import struct
import threading
import time
from pathlib import Path

import psutil

import containerkit as ck
from containerkit.linux.syscalls import Bytes, Call


class Wait:
    """A step that takes a moment, so that there is time to look."""

    def steps(self):
        short = Bytes(struct.pack("qq", 0, 300_000_000), "0.3s")
        moment = Call("ppoll", (None, 0, short, None, 0))
        yield ck.Step.child(ck.Phase.INSIDE, moment, why="wait a moment")


def look() -> None:
    while not (children := psutil.Process().children()):
        time.sleep(0.01)
    child = children[0]
    ours, theirs = (
        set(Path(f"/proc/{who}/maps").read_text().split("\n")) for who in ("self", child.pid)
    )
    print("before exec:", len(theirs), "areas of memory,", len(ours & theirs), "of them ours")
    print("             its command line is still", child.cmdline()[-1].rpartition("/")[2])


looker = threading.Thread(target=look)
looker.start()
areas = ck.run(["sh", "-c", "grep -c . /proc/self/maps"], Wait()).text.strip()
print("after exec: ", areas, "areas of memory, all of its own")
looker.join()
