"""The steps of a running build: numbered lines, as buildkit prints them; on a terminal the running steps with their last lines.

    with steps("auto") as progress:
        build(".", progress=progress)

All of it goes to standard error, since standard output is for the result.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..base import extras
from ..base.frozen import field, record
from ..errors import ContainerKitError
from ..image.picture import printable
from .progress import fancy

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..builder.progress import Event

__all__ = ["HOW", "Plain", "Terminal", "steps"]

HOW = ("auto", "plain", "tty", "quiet")
SHOWN = 6  # lines of output shown for a running step


@contextlib.contextmanager
def steps(how: str) -> Iterator[Callable[[Event], None] | None]:
    """Yield a progress callback for a build.

    :param how: "plain", "tty", "quiet"; "auto" is "tty" on a terminal, else "plain"
    :raises ContainerKitError: "tty" without a terminal, or without rich
    """
    able = fancy(sys.stderr)
    if how == "tty" and not able:
        raise ContainerKitError(f"--progress tty needs a terminal as standard error, and rich ({extras.command('top')})")
    if how == "quiet":
        yield None
    elif how == "plain" or not able:
        yield Plain()
    else:
        with Terminal() as terminal:
            yield terminal


def title(event: Event) -> str:
    """Return ``[base 2/3] RUN make``, on one line."""
    prefix = f"[{event.stage} {event.step}/{event.total}] " if event.total else f"[{event.stage}] " if event.stage else ""
    return printable(prefix + " ".join(event.name.split()))


class Plain:
    """Prints lines, each with the number of its step, as the output of several steps may be mixed.

    A program's output goes to a file unchanged; on a terminal control characters are replaced.
    """

    def __init__(self) -> None:
        self._tame = printable if sys.stderr.isatty() else str
        self._numbers: dict[tuple[str, int, str], int] = {}

    def __call__(self, event: Event) -> None:
        """Print one event."""
        key = (event.stage, event.step, event.name)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            self._say(self._numbers[key], title(event))
        for line in _lines(event):
            self._say(self._numbers[key], line)

    def _say(self, number: int, line: str) -> None:
        print(f"#{number} {self._tame(line)}", file=sys.stderr, flush=True)


def _lines(event: Event) -> list[str]:
    if event.state == "output":
        return [f"{event.seconds:.3f} {line}" for line in event.data.decode(errors="replace").splitlines()]
    said = {"cached": "CACHED", "done": f"DONE {event.seconds:.1f}s", "failed": f"ERROR: {event.text}", "warning": f"WARNING: {event.text}"}
    return [said[event.state]] if event.state in said else []


@record
class _Running:
    title: str
    began: float
    last: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN))


class Terminal:
    """Shows finished steps above, and running steps below with the last lines of their output."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(stderr=True, highlight=False, markup=False)
        self._running: dict[tuple[str, int, str], _Running] = {}
        self._live = Live(console=self._console, get_renderable=self._picture, transient=True, refresh_per_second=8)

    def __enter__(self) -> Terminal:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        key = (event.stage, event.step, event.name)
        if event.state == "started":
            self._running[key] = _Running(title(event), time.monotonic() - event.seconds)
        elif event.state == "output" and key in self._running:
            self._running[key].last.extend(map(printable, event.data.decode(errors="replace").splitlines()))
        elif event.state == "warning":
            self._print(f" ! {printable(event.text)}", "yellow")
        elif event.state in ("done", "cached", "failed"):
            self._running.pop(key, None)
            mark, style, tail = {"cached": ("CACHED", "cyan", ""), "failed": ("ERROR", "red", "")}.get(
                event.state, ("", "blue", f"  {event.seconds:.1f}s")
            )
            self._print(" => " + " ".join(filter(None, [mark, title(event)])) + tail, style)

    def _print(self, line: str, style: str) -> None:
        self._console.print(line, style=style, overflow="ellipsis", no_wrap=True)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        found: list[Any] = []
        for each in list(self._running.values()):
            seconds = f"  {time.monotonic() - each.began:.1f}s"
            found.append(Text(f" => {each.title}{seconds}", overflow="ellipsis", no_wrap=True))
            found += [Text(f" => => {line}", style="dim", overflow="ellipsis", no_wrap=True) for line in list(each.last)]
        return Group(*found)
