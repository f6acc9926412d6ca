import threading
import time

import containerkit as ck
import psutil
from containerkit.syscalls import Bytes, Call


class Wait:
    """A step that takes a moment, so that there is time to look."""

    def steps(self):
        moment = Bytes((0).to_bytes(8, "little") + (300_000_000).to_bytes(8, "little"), "0.3s")
        yield ck.Step.child(ck.Phase.INSIDE, Call("ppoll", (None, 0, moment, None, 0)), why="wait a moment")


def look() -> None:
    while not (children := psutil.Process().children()):
        time.sleep(0.01)
    maps = [open(f"/proc/{who}/maps").read().split("\n") for who in ("self", children[0].pid)]
    same = len(set(maps[0]) & set(maps[1]))
    print(f"before exec: {same} of the child's {len(maps[1])} memory areas are at the same place as this Python's")
    print("its command line is still", children[0].cmdline()[-1].rpartition("/")[2])


looker = threading.Thread(target=look)
looker.start()
print("after exec: ", ck.run(["sh", "-c", "grep -c . /proc/self/maps"], Wait()).text.strip(), "areas, all of them its own")
looker.join()
