"""Progress of a transfer: bars on a terminal if rich is installed, else a line for each event.

with transfer(verb="pull", quiet=False) as progress:
    pull(reference, store, progress=progress)
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from ..image.descriptor import Descriptor
from ..image.picture import printable

if TYPE_CHECKING:
    from ..registry.progress import Progress

__all__ = ["Bars", "Lines", "fancy", "transfer"]

WORDS = {
    "pull": {
        "waiting": "Waiting", "downloading": "Downloading", "exists": "Already exists", "unpacking": "Extracting", "done": "Pull complete",
    },
    "push": {
        "waiting": "Preparing", "uploading": "Pushing", "exists": "Layer already exists", "mounted": "Mounted", "done": "Pushed",
    },
}  # fmt: skip
QUIET = {"waiting"}  # states that only bars show


def fancy(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor, and rich is installed."""
    if not stream.isatty():
        return False
    try:
        from rich.console import Console
    except ImportError:
        return False
    return not Console(file=stream).is_dumb_terminal


@contextlib.contextmanager
def transfer(verb: str, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Callable[[Progress], None] | None]:
    """Yield a progress callback; None for no output.

    :param verb: "pull" or "push"
    :param stream: the output; standard output unless given
    """
    stream = stream or sys.stdout
    if quiet:
        yield None
    elif fancy(stream):
        with Bars(verb, stream) as bars:
            yield bars
    else:
        yield Lines(verb, stream)


class Lines:
    """Prints a line when a blob's transfer begins and when it ends, as docker prints to a file."""

    def __init__(self, verb: str, stream: TextIO) -> None:
        self._words, self._stream, self._last = WORDS[verb], stream, dict[str, str]()

    def __call__(self, event: Progress) -> None:
        """Print one event."""
        if not isinstance(event.what, Descriptor) or event.state in QUIET or self._last.get(event.what.digest) == event.state:
            return
        self._last[event.what.digest] = event.state
        print(f"{event.what.digest.short}: {self._words.get(event.state, event.state)}", file=self._stream, flush=True)


class Bars:
    """Shows a bar for each blob."""

    def __init__(self, verb: str, stream: TextIO) -> None:
        from rich import progress
        from rich.console import Console

        self._words, self._tasks = WORDS[verb], dict[str, Any]()
        text = progress.TextColumn("{task.description}: {task.fields[state]:<20}", markup=False)
        columns = (text, progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
        self._bars = progress.Progress(*columns, console=Console(file=stream))

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(self, event: Progress) -> None:
        """Show one event."""
        if not isinstance(event.what, Descriptor):
            return
        if event.what.digest not in self._tasks:
            self._tasks[event.what.digest] = self._bars.add_task(event.what.digest.short, total=event.what.size or None, state="")
        self._bars.update(self._tasks[event.what.digest], completed=event.done, state=printable(self._words.get(event.state, event.state)))
