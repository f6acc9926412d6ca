import sys
import tempfile

import containerkit as ck
from img_kubia import base

DOCKERFILE = b"""FROM base
RUN mkdir /app
RUN cat /app/config > /copy
"""
with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as context:
    store = ck.Store(directory)
    store.put(base(), "base")
    try:
        ck.Image.build(context, dockerfile=DOCKERFILE, tag="app", store=store)
    except ck.BuildError as error:
        named = [name for stored in store.images() for name in stored.familiar]
        sys.exit(f"{error}\nimages with a name: {named}")
