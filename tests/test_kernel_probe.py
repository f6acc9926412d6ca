"""The features of the kernel, asked once."""

from __future__ import annotations

import os

import pytest

import containerkit as ck
from containerkit import kernel


def test_the_version() -> None:
    assert os.uname().release.startswith("{}.{}".format(*kernel.version()))
    assert kernel.version() >= kernel.FLOOR


@pytest.mark.parametrize("name", kernel.SINCE)
def test_each_call_of_the_version_exists(name: str) -> None:
    """Where a sandbox hides nothing, asking and knowing agree."""
    assert kernel.has(name) == (kernel.version() >= kernel.SINCE[name])


def test_a_call_can_be_declared_missing() -> None:
    with kernel.assume_missing("fsopen"), kernel.assume_missing("fsopen", "clone3"):
        assert not kernel.has("fsopen")
    assert kernel.has("fsopen")
    with pytest.raises(RuntimeError), kernel.assume_missing("fsopen"):
        raise RuntimeError
    assert kernel.has("fsopen")


def test_required() -> None:
    kernel.require("fsopen", "something")
    with kernel.assume_missing("mount_setattr"), pytest.raises(ck.Unavailable, match=r"a thing \(mount_setattr\)") as caught:
        kernel.require("mount_setattr", "a thing")
    assert "5.12" in caught.value.remedy
