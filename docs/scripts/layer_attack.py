import os
import stat

import containerkit as ck
from containerkit import ns

base = ck.rootfs.from_programs(["sh", "cp", "chmod"])
with ck.LayerFS(base) as root:
    # A container leaves a shell for its accomplice on the host: whoever runs it becomes the file's owner.
    ck.run(["sh", "-c", "cp /bin/sh /gift; chmod 4755 /gift"], ns.User(), ns.Mount(), root, check=True)
    gift = root.upper / "gift"
    print("the gift:        ", stat.filemode(gift.stat().st_mode))
    print("the way there:   ", stat.filemode(root.upper.parent.stat().st_mode), root.upper.parent.stat().st_uid == os.geteuid())
    if os.geteuid() == 0:
        accomplice = ns.User(uid=1000, gid=1000, uids=[(0, 0, 1), (1000, 1000, 1)], gids=[(0, 0, 1), (1000, 1000, 1)])
        try:
            ck.run([gift, "-c", "id"], accomplice)
        except ck.StepError as error:
            print("the accomplice:  ", error.strerror)
