import os

import containerkit as ck
from containerkit import ns

before = os.uname().nodename
print("inside: ", ck.run(["uname", "-n"], ns.User(), ns.Uts("lesson")).text.strip())
print("outside:", "unchanged" if os.uname().nodename == before else "changed!")
