"""Protocols of ours are protocols as `typing` defines them."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from containerkit.base import protocols


class Ours(protocols.Protocol):
    """With a method and an attribute."""

    name: str

    def steps(self) -> list[int]: ...


@typing.runtime_checkable
class Theirs(typing.Protocol):
    name: str

    def steps(self) -> list[int]: ...


class Both:
    name = "a"

    def steps(self) -> list[int]:
        return []


class OneOnly:
    def steps(self) -> list[int]:
        return []


class Named(Ours):
    """Says that it is one."""


class Instance:
    def __init__(self) -> None:
        self.name = "a"
        self.steps = list


@pytest.mark.parametrize("value", [Both(), OneOnly(), Instance(), 3, None, "steps", Both, object()])
def test_isinstance_says_the_same(value: Any) -> None:
    assert isinstance(value, Ours) == isinstance(value, Theirs)


def test_a_class_that_derives_from_a_protocol_is_a_class_like_any_other() -> None:
    assert isinstance(Named(), Ours) and issubclass(Named, Ours)  # noqa: PT018
    assert not isinstance(Both(), Named)
    assert not issubclass(OneOnly, Ours)
    assert issubclass(Both, Ours)
