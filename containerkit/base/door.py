"""The door: verbs that a value offers, and that a room further down the table does.

A room imports only the rooms before it, yet people type ``Image.pull(...)``, ``image.push(...)`` and ``root.diff()``, and
what these do lives in `registry`, `store`, `builder` and `image`.  This module is the one place that names such verbs with
their modules.  A verb's module is loaded when the verb is called, so an `Image` in a script that only reads a layout loads
neither a registry client nor a builder.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["VERBS", "behind"]

#: Each verb, and the module and name of what does it.
VERBS = {
    "Image.pull": ("containerkit.registry.pull", "pull"),
    "Image.push": ("containerkit.registry.push", "push"),
    "Image.build": ("containerkit.builder.building", "build"),
    "Image.add": ("containerkit.builder.applying", "add"),
    "Image.run": ("containerkit.builder.applying", "run"),
    "Image.diff": ("containerkit.store.image_diff", "Comparison"),
    "Image.hold": ("containerkit.store.store", "Store"),
    "LayerFS.diff": ("containerkit.image.layer", "layer_of_changes"),
}


def behind(verb: str) -> Any:
    """Load what does `verb`.

    :param verb: the class and the method, as `VERBS` has them
    :return: the function or the class that the method calls
    """
    module, name = VERBS[verb]
    return getattr(import_module(module), name)
