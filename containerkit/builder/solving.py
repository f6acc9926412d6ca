"""The order of the stages: only the stages that the target needs are built, each once, as soon as its own needs are built."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ..base.frozen import replace
from ..core.standard_steps import DEFAULT_PATH
from ..dockerfile import Dockerfile, Stage, parse_trigger
from ..dockerfile import instructions as dockerfile
from ..dockerfile.predefined import PROXIES, platform_values
from ..errors import ContainerKitError, DockerfileError
from ..image.config import ImageConfig
from ..image.history import matched
from ..image.image import Image
from ..image.platform import Platform
from .context import Context, ignore_of
from .errors import BuildError, FailedStep
from .progress import Progress, Reporter
from .promise import Promise
from .session import BuildSession
from .stage import steps
from .state import State
from .tree import Tree

__all__ = ["Solver", "state_of"]

SCRATCH = "scratch"
IMAGE = "docker-image://"
Named = str | os.PathLike[str] | Image


def state_of(image: Image) -> State:
    """Return the state that a build on top of an image begins with."""
    config = image.config
    history = tuple(entry for entry, _ in matched(config.history, len(config.diff_ids)))
    return State(config.with_(history=history), image.layers, created=config.created)


class Solver:
    """The stages of one build.

    :param resolve: returns the image of a reference for a platform
    :param target: the stage to build; the last one unless given
    :param contexts: by name
    :raises BuildError: the Dockerfile has no such stage
    """

    def __init__(
        self, parsed: Dockerfile, context: Context, resolve: Callable[[str, Platform | None], Image], platform: Platform | None,
        target: str | None, contexts: Mapping[str, Named], progress: Progress | None,
    ) -> None:  # fmt: skip
        self._parsed, self._context, self._resolve, self._platform = parsed, context, resolve, platform
        self._contexts, self._reporter = contexts, Reporter(progress, threading.Lock())
        found = parsed.stage(target) if target is not None else parsed.stages[-1]
        if found is None:
            names = ", ".join(stage.name or str(stage.index) for stage in parsed.stages)
            raise BuildError(f"there is no stage {target!r}; the stages are {names}")
        self.target = found
        self._lock = threading.Lock()
        self._states: dict[int, Promise[State]] = {}
        self._trees: dict[str, Promise[tuple[Tree, bool]]] = {}
        self._opened = ExitStack()

    def nothing(self, reference: str) -> tuple[Tree, bool]:
        """Refuse a --from outside of any stage."""
        raise BuildError(f"--from={reference}: only a stage can use it")

    def outer(self, args: Mapping[str, str]) -> dict[str, str]:
        """Return the values of the ARGs above the first FROM, and of the platform arguments."""
        here = Platform.here()
        predefined = platform_values(self._platform or here, here, stage=self.target.name or "default")
        return self._parsed.global_values(args, predefined)

    def warn(self, works: BuildSession) -> None:
        """Report everything that is allowed but likely a mistake."""
        for remark in self._parsed.warnings:
            self._reporter.at(0, 0, f"{self._parsed.name}:{remark.line}:{remark.column}").tell("warning", text=remark.text)
        known = {*works.used, *PROXIES, *works.outer, "SOURCE_DATE_EPOCH"}
        for name in sorted({*works.args} - known):
            self._reporter.at(0, 0, "build argument").tell("warning", text=f"{name} is not declared by an ARG in any stage that was built")

    # --- dependencies between stages ------------------------------------------------------------------------------

    def solve(self, works: BuildSession) -> State:
        """Build the stages, and return the state of the target.

        :raises BuildError: the Dockerfile asks for something that cannot be done
        """
        with self._opened, ExitStack() as threads:
            try:
                for index in sorted(self._needed(works)):
                    self._states[index] = Promise()
                for index, future in sorted(self._states.items()):
                    thread = threading.Thread(
                        target=self._fill, args=(future, works, self._parsed.stages[index]), name="containerkit-build"
                    )
                    threads.callback(thread.join)
                    thread.start()
                return self._states[self.target.index].result()
            except BaseException:
                works.running.stop()
                raise

    def _fill(self, future: Promise[State], works: BuildSession, stage: Stage) -> None:
        """Build a stage.  Its failure stops all other stages, and becomes the error of the whole build."""
        try:
            state = self._stage(works, stage)
        except BaseException as error:
            works.running.stop()
            with self._lock:
                for each in (future, self._states[self.target.index]):
                    if not each.done():
                        each.set_exception(error)
            return
        with self._lock:
            if not future.done():
                future.set_result(state)

    def _state(self, works: BuildSession, stage: Stage) -> State:
        """Return the state of another stage, built now if only a base's ONBUILD refers to it."""
        with self._lock:
            mine = stage.index not in self._states
            future = self._states.setdefault(stage.index, Promise())
        if mine:
            self._fill(future, works, stage)
        return future.result()

    def _needed(self, works: BuildSession) -> set[int]:
        needed, left = set[int](), [self.target]
        while left:
            stage = left.pop()
            if stage.index not in needed:
                needed.add(stage.index)
                left += self._below(stage, works)
        return needed

    def _below(self, stage: Stage, works: BuildSession) -> Iterator[Stage]:
        """Yield the stages that a stage refers to."""
        names = [str(stage.start.expand(works.outer).image)]
        for step in stage.instructions:
            if isinstance(step, dockerfile.Copy):
                names.append(step.from_)
            elif isinstance(step, dockerfile.Run):
                names += [mount.from_ for mount in step.mounts if isinstance(mount, dockerfile.Bind | dockerfile.Cache)]
        for place, name in enumerate(names):
            found = self._named(name, stage, number=place > 0)
            if found is not None:
                yield found

    def _named(self, name: str, stage: Stage, *, number: bool) -> Stage | None:
        """Return the earlier stage with a name.  A number may name a stage in --from, but not in FROM."""
        if not name or name in self._contexts:
            return None
        return self._parsed.stage(name, stage.index) if number else self._parsed.named(name, stage.index)

    # --- states and trees ----------------------------------------------------------------------------------------

    def _stage(self, works: BuildSession, stage: Stage) -> State:
        reporter = replace(self._reporter, stage=stage.name or str(stage.index))
        start = stage.start.expand(works.outer)
        at = reporter.at(1, 1 + len(stage.instructions), f"FROM {start.image}")
        try:
            state = self._base(works, start, stage)
        except (FailedStep, DockerfileError):
            raise
        except (ContainerKitError, OSError) as error:
            at.tell("failed", text=str(error))
            where = stage.where
            raise FailedStep(
                str(error), stage=at.stage, step=1, total=at.total, name=where.name, line=where.line, command=at.name
            ) from error
        at.tell("done")
        triggers = [parse_trigger(text) for text in state.config.on_build]
        state = replace(state, config=state.config.with_(on_build=()), args={}, has_cmd=False)
        instructions = [*triggers, *stage.instructions]
        own = replace(works, tree_of=partial(self._tree_of, works, stage))
        return steps(own, instructions, state, reporter, 2, 1 + len(instructions))

    def _base(self, works: BuildSession, start: dockerfile.From, stage: Stage) -> State:
        name = str(start.image)
        platform = Platform.parse(start.platform) if start.platform else self._platform
        below = self._named(name, stage, number=False)
        if below is not None:
            return self._state(works, below)
        if name == SCRATCH and name not in self._contexts:
            return State(ImageConfig(platform=platform or Platform.here(), env=(f"PATH={DEFAULT_PATH}",)))
        return state_of(self._image(works, name, platform))

    def _image(self, works: BuildSession, name: str, platform: Platform | None) -> Image:
        given = self._contexts.get(name, name)
        image = given if isinstance(given, Image) else self._resolve(os.fspath(given).removeprefix(IMAGE), platform)
        works.workshop.hold([image.digest, image.id, *(layer.digest for layer in image.layers)])
        return image

    def _tree_of(self, works: BuildSession, stage: Stage, reference: str) -> tuple[Tree, bool]:
        """Return the tree that a --from names.  Each tree is opened once."""
        if not reference:
            return self._context.tree, False
        below = self._named(reference, stage, number=True)
        key = str(below.index) if below is not None else reference
        with self._lock:
            mine = key not in self._trees
            future = self._trees.setdefault(key, Promise())
        if mine:
            try:
                future.set_result(self._open(works, below, reference))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _open(self, works: BuildSession, below: Stage | None, reference: str) -> tuple[Tree, bool]:
        given = self._contexts.get(reference)
        if isinstance(given, str | os.PathLike) and not os.fspath(given).startswith(IMAGE):
            context = Context(Path(given).resolve(), ignore_of(Path(given).resolve(), None))
            self._opened.callback(context.close)
            return context.tree, False
        layers = self._state(works, below).layers if below is not None else self._image(works, reference, self._platform).layers
        if not layers:
            return self._opened.enter_context(Tree(works.workshop.directory(), overlay=False)), True
        return self._opened.enter_context(works.workshop.tree(layers)), True
