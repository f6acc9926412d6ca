import sys
import tempfile

import containerkit as ck

with tempfile.TemporaryDirectory() as directory:
    store = ck.Store(directory)
    try:
        store.get("kubia:1")
    except LookupError as error:
        sys.exit(f"{type(error).__name__}: {error}")
