"""One stage: its instructions in order, each turning a state into the next.

`Image.add` and `Image.run` use the same functions, so there is one mechanism.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..base.frozen import frozen, replace
from ..dockerfile import instructions as dockerfile
from ..dockerfile.parser import ALONE
from ..dockerfile.predefined import PROXIES
from ..errors import ContainerKitError, DockerfileError, PlanError
from ..image.history import now
from ..layers.accounts import Account, account
from .cache import Record, key_of
from .copying import Copying
from .errors import BuildError, Exited, FailedStep
from .progress import Reporter
from .session import BuildSession
from .settings import absolute, setting
from .state import State
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..image.layer import Layer
    from ..parts.files import File
    from .mounting import Mounting

__all__ = ["perform", "reported", "steps"]

SCRIPTS = "/dev/pipes"  # the directory of a heredoc's script while it runs


def steps(
    works: BuildSession, instructions: Sequence[dockerfile.Instruction], state: State, reporter: Reporter, first: int, total: int
) -> State:
    """Return the state after all instructions.

    :param first: the number of the first instruction in its stage
    :param total: the number of instructions in the stage
    :raises FailedStep: an instruction failed
    :raises DockerfileError: an instruction is malformed after expansion
    """
    for number, instruction in enumerate(instructions, first):
        works.running.check()
        at = reporter.at(number, total, _title(instruction))
        state = reported(partial(_expanded, works, instruction, state, at), instruction, at)
    return state


def _expanded(works: BuildSession, instruction: dockerfile.Instruction, state: State, reporter: Reporter) -> State:
    return perform(works, instruction.expand(state.variables), state, reporter)


def reported(do: Callable[[], State], instruction: dockerfile.Instruction, at: Reporter) -> State:
    """Return the result of `do`.  A failure is reported, with the instruction's place in the Dockerfile.

    :raises FailedStep: `do` failed
    :raises DockerfileError: the instruction is malformed after expansion
    """
    try:
        return do()
    except FailedStep:
        raise  # a stage that this one waited for has reported it
    except DockerfileError as error:
        at.tell("failed", text=error.text)
        raise
    except (ContainerKitError, OSError, RecursionError) as error:  # RecursionError comes from directories nested without end
        at.tell("failed", text=str(error))
        raise _failed(error, instruction, at) from error


def perform(works: BuildSession, step: dockerfile.Instruction, state: State, reporter: Reporter) -> State:
    """Return the state after one instruction, whose variables are expanded already."""
    if isinstance(step, dockerfile.Arg):
        return _arg(works, step, state)
    if isinstance(step, dockerfile.Copy | dockerfile.Add):
        return _copy(works, step, state, reporter)
    if isinstance(step, dockerfile.Run):
        return _run(works, step, state, reporter)
    if isinstance(step, dockerfile.Workdir):
        return _workdir(works, step, state, reporter)
    found = setting(step, state)
    if found is None:
        raise BuildError(f"{step.keyword} is not known here")
    reporter.tell("done")
    return found


def _title(instruction: dockerfile.Instruction) -> str:
    return " ".join(str(instruction).split("\n")[0].split())


def _failed(error: Exception, instruction: dockerfile.Instruction, at: Reporter) -> FailedStep:
    code, output = (error.exit_code, error.output) if isinstance(error, Exited) else (None, b"")
    where = instruction.where
    place: dict[str, Any] = {"stage": at.stage, "step": at.step, "total": at.total, "name": where.name, "line": where.line}
    return FailedStep(str(error), **place, command=at.name, exit_code=code, output=output)


# --- ARG --------------------------------------------------------------------------------------------------------


def _arg(works: BuildSession, step: dockerfile.Arg, state: State) -> State:
    """Set variables.  A given argument takes precedence over the default, and the default over an ARG above the first FROM."""
    args = dict(state.args)
    for name, default in step.pairs:
        value = works.args.get(name, default if default is not None else works.outer.get(name))
        works.used.add(str(name))
        if value is not None:
            args[str(name)] = str(value)
    words = " ".join(name if name not in args else f"{name}={args[name]}" for name, _ in step.pairs)
    return replace(state.with_config(f"ARG {words}"), args=args)


# --- COPY, ADD, WORKDIR -----------------------------------------------------------------------------------------


def _copy(works: BuildSession, step: dockerfile.Copy | dockerfile.Add, state: State, reporter: Reporter) -> State:
    source = step.from_ if isinstance(step, dockerfile.Copy) else ""
    tree, owned = works.tree_of(source)
    with Copying(works.workshop, step, tree, state.directory, owned=owned) as copying:
        key = _key(works, None if copying.is_alone else state, step.keyword, **copying.key(works.digests))
        return _cached(works, state, key, _said(step), reporter, lambda: copying.layer(state.layers))


def _said(step: dockerfile.Copy | dockerfile.Add) -> str:
    """Return the instruction as the history records it."""
    options = [f"--{name}={value}" for name, value in (("chown", step.chown), ("chmod", step.chmod)) if value]
    options += ["--link"] if step.link else []
    names = [*step.sources, *(f"<<{each.name}" for each in step.heredocs)]
    return " ".join([step.keyword, *options, *names, step.dest, "#", "containerkit"])


def _workdir(works: BuildSession, step: dockerfile.Workdir, state: State, reporter: Reporter) -> State:
    path = absolute(step.path, state.directory)
    after = replace(state, config=state.config.with_(working_dir=path))
    key = _key(works, state, "WORKDIR", path=path, user=state.config.user)
    return _cached(works, after, key, f"WORKDIR {path}", reporter, lambda: _directory(works, path, state))


def _directory(works: BuildSession, path: str, state: State) -> Layer | None:
    """Make the directory of WORKDIR, owned by USER; None when it exists already."""
    with works.workshop.tree(state.layers) as below:
        from .laying import Laying

        there = below.follow(os.fsencode(path))
        node = below.get(there)
        if not there or (node and node.is_dir):
            return None
        who = _account(state.config.user, below)
        laying = Laying(below, works.workshop.form, owner=(who.uid, who.gid))
        laying.make(there)
        return works.workshop.layer(laying.write)


def _account(user: str, tree: Tree) -> Account:
    try:
        return account(user, lambda path: tree.read(os.fsencode(path)))
    except PlanError as error:
        raise BuildError(f"USER {user}: {error}" + (f"; {ALONE}" if " #" in user else "")) from error


# --- RUN --------------------------------------------------------------------------------------------------------


@frozen
class _Command:
    """The program that a RUN starts.

    :ivar files: a script in a heredoc, as a file for the plan
    """

    argv: tuple[str, ...]
    files: tuple[File, ...] = ()

    @classmethod
    def of(cls, step: dockerfile.Run, state: State) -> _Command:
        """Return the command of a RUN.  A heredoc that begins with #! is a program of its own."""
        if step.script is not None:
            from ..parts.files import File

            name = step.heredocs[0].name
            path = posixpath.join(SCRIPTS, name)
            return cls((path,), (File(path, step.script.encode(errors="surrogateescape"), 0o755),))
        return cls((*state.shell, step.line) if step.command.shell else step.command.words)


def _run(works: BuildSession, step: dockerfile.Run, state: State, reporter: Reporter) -> State:
    from .mounting import Mounting

    if step.security == "insecure":
        raise BuildError("--security=insecure: a RUN never gets more than a container")
    command = _Command.of(step, state)
    network = step.network if step.network != "default" else works.network
    if works.network == "none" != network:
        raise BuildError(f"--network={network}: this build has no network")
    with Mounting(works.workshop, works.secrets, works.tree_of, state.directory, works.digests, works.running.check) as mounting:
        for mount in step.mounts:
            mounting.add(mount)
        what = {"argv": command.argv, "env": state.environment, "user": state.config.user, "directory": state.directory}
        scripts = [[file.target, file.data.decode(errors="surrogateescape")] for file in command.files]
        key = _key(works, state, "RUN", **what, **_userns(works), network=network, mounts=mounting.key, scripts=scripts)
        return _cached(works, state, key, _ran(step, state), reporter, lambda: _layer(works, command, state, mounting, network, reporter))


def _userns(works: BuildSession) -> dict[str, str]:
    """Return the userns setting for the cache key: root of the machine may make files that another root may not."""
    return {"userns": works.workshop.userns} if works.workshop.userns else {}


def _layer(works: BuildSession, command: _Command, state: State, mounting: Mounting, network: str, reporter: Reporter) -> Layer | None:
    from .running import Job, run

    mounting.prepare()
    with works.workshop.tree(state.layers) as below:
        who = _account(state.config.user, below)
    environment = {**_proxies(works.args), **state.environment, **mounting.environment}
    files, binds, places = (*command.files, *mounting.files), tuple(mounting.binds), tuple(mounting.places)
    job = Job(command.argv, environment, state.directory, who, network, files, binds, places)
    return run(works.workshop, state.layers, job, reporter, works.running)


def _proxies(args: Mapping[str, str]) -> dict[str, str]:
    """Return the given proxy settings.  They need no ARG and are in no key and no history: the network path changes no result."""
    return {name: value for name, value in args.items() if name in PROXIES}


def _ran(step: dockerfile.Run, state: State) -> str:
    argv = step.command.argv(state.shell) if not step.heredocs else (*state.shell, step.line)
    args = [f"|{len(state.args)}", *(f"{name}={value}" for name, value in state.args.items())] if state.args else []
    return " ".join(["RUN", *args, *argv, "#", "containerkit"])


# --- the cache --------------------------------------------------------------------------------------------------


def _key(works: BuildSession, below: State | None, keyword: str, **what: Any) -> str:
    """Return the cache key of an instruction.  The form of layers is part of the key, because builds may use different forms."""
    form = {"epoch": works.workshop.form.epoch, "compression": works.workshop.compression}
    return key_of(keyword=keyword, below=below.chain if below else "any", **form, **what)


def _cached(works: BuildSession, state: State, key: str, created_by: str, reporter: Reporter, make: Callable[[], Layer | None]) -> State:
    """Return the state after an instruction that may change files, with a layer from the cache or a new one."""
    with works.once(key):
        record = works.cache.get(key) if works.use_cache else None
        layer = works.workshop.recall(record) if record and record.layer else None
        if record and (layer or not record.layer):
            reporter.tell("cached")
            works.keep(key, record)
            return state.with_layer(created_by, layer, record.created)
        reporter.tell("started")
        layer = make()
        record = Record((layer.descriptor, layer.diff_id) if layer else None, works.created or now())
        works.cache.put(key, record)
        works.keep(key, record)
    reporter.tell("done")
    return state.with_layer(created_by, layer, record.created)
