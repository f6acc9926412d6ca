"""One container's life: what to run and as whom.

    ContainerSpec      what runs, in what root, as whom: a value, and a JSON document
    Profile            what a container is kept from
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
