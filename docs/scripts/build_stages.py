import tempfile

import containerkit as ck
from containerkit.builder import Event
from img_kubia import base

DOCKERFILE = b"""ARG FROM=base

FROM $FROM AS compiler
RUN echo "a large compiler" > /compiler && cat /compiler > /program

FROM $FROM AS manual
RUN echo "how to use it" > /manual

FROM $FROM
COPY --from=compiler /program /bin/program
COPY --from=manual --chmod=444 /manual /usr/share/
ENTRYPOINT ["cat", "/bin/program"]
"""


def tell(event: Event) -> None:
    if event.state in ("started", "done"):
        print(f"{event.state:8} [{event.stage}] {event.name[:44]}")


with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as context:
    store = ck.Store(directory)
    store.put(base(), "base")
    image = ck.Image.build(context, dockerfile=DOCKERFILE, store=store, progress=tell)
    print(f"\n{image}")
