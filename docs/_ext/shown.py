"""Fails the build of the book when a public object is in no API reference.

Public is what stands in `__all__` of the package or of one of its public modules (those whose names begin with no `_`);
in a module without `__all__`, the classes and functions that it defines itself, unless their names begin with `_`.
A package inside the package that has an `__all__` shows what it lists there; its modules are its own business.  One without an
`__all__` is a room of public modules, and each of them is looked at.

An object counts as documented under the name it is listed by or under the one it was defined by, so a name that the
package only passes on needs no second entry.  Failing is a warning: build with `sphinx-build -W`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)


def public_modules(package: str) -> Iterator[ModuleType]:
    """Import the package and all its public modules, and return them.  An error of an import is passed on."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.iter_modules(root.__path__):
        if not found.name.startswith("_"):
            yield from _room(f"{package}.{found.name}")


def _room(name: str) -> Iterator[ModuleType]:
    """Yield a module, and the public modules in it if it is a package without `__all__`."""
    module = importlib.import_module(name)
    if not hasattr(module, "__path__") or hasattr(module, "__all__"):
        yield module
        return
    for found in pkgutil.iter_modules(module.__path__):
        if not found.name.startswith("_"):
            yield from _room(f"{name}.{found.name}")


def names_of(module: ModuleType, name: str) -> set[str]:
    """Return every full name under which `name` of `module` may be documented."""
    value = getattr(module, name)
    if isinstance(value, ModuleType):
        return {f"{value.__name__}:"}
    home = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return {f"{module.__name__}.{name}"} | ({".".join(map(str, home))} if all(home) else set())


def homes(modules: list[ModuleType], name: str, value: object) -> set[str]:
    """Return the names of the same object in all public modules, because a constant does not know its module."""
    return {f"{m.__name__}.{name}" for m in modules if vars(m).get(name) is value}


def public_names(module: ModuleType) -> list[str]:
    """Return the names in a module's `__all__`, or else those it defines."""

    def own(value: object) -> bool:
        made_here = inspect.isclass(value) or callable(getattr(value, "__wrapped__", None)) or inspect.isfunction(value)
        return made_here and getattr(value, "__module__", "") == module.__name__

    listed = getattr(module, "__all__", None)
    return list(listed) if listed is not None else [name for name, value in vars(module).items() if name[0] != "_" and own(value)]


def missing(modules: list[ModuleType], module: ModuleType, documented: set[str]) -> Iterator[str]:
    """Yield one line for each public name of `module` that is not among the `documented`."""
    for name in public_names(module):
        if not hasattr(module, name):
            yield f"{module.__name__}.__all__ names {name}, which does not exist"
        elif not documented & (names_of(module, name) | homes(modules, name, getattr(module, name))):
            yield f"public object {module.__name__}.{name} is in no API reference"


def undocumented(package: str, documented: set[str]) -> Iterator[str]:
    """One line for each public object and module that is not among the `documented`.

    :param documented: full names; that of a module ends in a colon, since a function may have the name of its module
    """
    modules = list(public_modules(package))
    for module in modules:
        if f"{module.__name__}:" not in documented:
            yield f"public module {module.__name__} is in no API reference"
        yield from missing(modules, module, documented)


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public object that no page documents."""
    objects = env.domains["py"].get_objects()
    documented = {name + (":" if kind == "module" else "") for name, _, kind, *_ in objects}
    for line in undocumented(app.config.shown_package, documented):
        logger.warning("%s", line, type="shown")


def load_all(app: Sphinx) -> None:
    """Load every public name: a package may load one when it is first used, and autodoc looks at the names that are there."""
    for module in public_modules(app.config.shown_package):
        for name in public_names(module):
            getattr(module, name, None)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the check.  Sphinx calls this."""
    app.add_config_value("shown_package", "containerkit", "env")
    app.connect("builder-inited", load_all)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
