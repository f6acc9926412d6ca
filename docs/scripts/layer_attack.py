import os
import stat

import containerkit as ck
from containerkit import ns

base = ck.rootfs.from_programs(["sh", "cp", "chmod"])
with ck.LayerFS(base) as root:
    # A program that is started from the gift runs as the gift's owner.
    wrap = ["sh", "-c", "cp /bin/sh /gift; chmod 4755 /gift"]
    ck.run(wrap, ns.User(), ns.Mount(), root, check=True)
    gift, above = root.upper / "gift", root.upper.parent
    print("the gift:           ", stat.filemode(gift.stat().st_mode))
    print("the directory above:", stat.filemode(above.stat().st_mode))
    if os.geteuid() == 0:  # only root can play another user
        ids = [(0, 0, 1), (1000, 1000, 1)]
        try:
            ck.run([gift, "-c", "id"], ns.User(uid=1000, gid=1000, uids=ids, gids=ids))
        except ck.StepError as error:
            print("the accomplice got: ", error.strerror)
