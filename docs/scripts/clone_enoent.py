import tempfile
from pathlib import Path

import containerkit as ck

with tempfile.TemporaryDirectory() as directory:
    script = Path(directory, "report")
    script.write_text("#!/usr/bin/pythen\nprint('hello')\n")  # a typing error
    script.chmod(0o755)
    for program in ("/usr/bin/raport", str(script)):
        try:
            ck.run([program])
        except ck.StepError as error:
            print(str(error).replace(directory, "DIR"), end="\n\n")
