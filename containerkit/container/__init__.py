"""One container's life: its spec, its isolation and its end.

    ContainerSpec      the program, its root and its user: a value, and a JSON document
    Profile            the capabilities, calls and paths that a container is denied
    Namespaces         which namespaces are new, the caller's, or joined

The command line, RUN of a build and `ck.sandbox` make their plans from such a spec.
"""

from ..base.late import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import SpecError
    from .namespaces import Namespaces
    from .profile import Profile
    from .spec import ContainerSpec

_NAMES = {"errors": "SpecError", "namespaces": "Namespaces", "profile": "Profile", "spec": "ContainerSpec"}

if not TYPE_CHECKING:
    __getattr__ = names(__name__, _NAMES)

__all__ = ["ContainerSpec", "Namespaces", "Profile", "SpecError"]
