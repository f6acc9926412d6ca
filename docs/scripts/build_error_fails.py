import sys
import tempfile

import containerkit as ck

DOCKERFILE = b"""FROM node
ADD app.js /app.js
COPY --chwon=root app.js /copy.js
ENTRYPOINT ["node", "app.js"]
"""
with tempfile.TemporaryDirectory() as directory:
    try:
        ck.Image.build(directory, dockerfile=DOCKERFILE, store=ck.Store(directory + "/store"))
    except ck.DockerfileError as error:
        sys.exit(str(error))
