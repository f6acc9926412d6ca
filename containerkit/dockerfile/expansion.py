"""Variables, as buildkit's lexer expands them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .words import Warn, Where

__all__ = ["Expansion"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """How the words of one instruction are expanded."""

    lookup: Mapping[str, str]
    escape: str = "\\"
    warn: Warn | None = None

    def document(self, text: str, where: Where) -> str:
        """A heredoc's text."""
        raise NotImplementedError
