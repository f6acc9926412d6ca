"""What the tests beside other programs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from peertools import in_memory
from real_images import debian_tar


@pytest.fixture(scope="session")
def debian() -> Iterator[Path]:
    """A tar of a small Debian, made from packages: once, for it takes longer than all that is done with it."""
    with in_memory("debian") as directory:
        yield debian_tar(directory)
