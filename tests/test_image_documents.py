"""JSON is read strictly: a document that two readers could understand differently is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerkit.image.documents import DEPTH, LIMIT, Fields, dump, parse
from containerkit.image.errors import ImageError, InvalidDocument, LimitExceeded

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


@settings(deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_written_and_read(value: dict[str, Any]) -> None:
    assert parse(dump(value), "it") == value == parse(json.dumps(value, indent=3).encode(), "it")


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_every_document_parses_or_is_refused(data: bytes) -> None:
    with contextlib.suppress(ImageError):
        assert isinstance(parse(data, "it"), dict)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Expecting value"),
        (b"[]", "expected a JSON object, found a list"),
        (b'{"a":1,"b":2,"a":1}', "'a' is there twice"),
        (b'{"x":{"a":1,"\\u0061":2}}', "'a' is there twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":-Infinity}', "Infinity is not JSON"),
        (b'{"a":"\xff"}', "utf-8"),
        (b'\xef\xbb\xbf{"a":1}', "BOM"),
        (b'{"a":"\xed\xa0\x80"}', "utf-8"),
        (b'{"a":["\\ud800"]}', "half a surrogate"),
        (b'{"\\udfff":1}', "half a surrogate"),
        (b'{"a":1} x', "Extra data"),
        (b"{'a':1}", "property name"),
        (b'{"a":"\n"}', "control character"),
        (b'{"a":' + b"9" * 5000 + b"}", "digits"),
        ('{"a":1}'.encode("utf-16"), "utf-8"),
    ],
)
def test_ambiguous_documents_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidDocument, match=words):
        parse(data, "it")


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_depth(brackets: tuple[str, str]) -> None:
    def nested(depth: int) -> bytes:
        opening, closing = brackets
        return f'{{"a":{opening * depth}1{closing * depth}}}'.encode()

    parse(nested(DEPTH - 2), "it")
    for depth in (DEPTH - 1, 500, 5000, 200_000):
        with pytest.raises(LimitExceeded, match="levels"):
            parse(nested(depth), "it")


def test_size() -> None:
    parse(b'{"a":"' + b"x" * (LIMIT - 8) + b'"}', "it")
    with pytest.raises(LimitExceeded, match="4194304 bytes"):
        parse(b'{"a":"' + b"x" * (LIMIT - 7) + b'"}', "it")


@pytest.mark.parametrize(
    ("take", "words"),
    [
        (lambda fields: fields.text("n"), "it.n: expected a string, found a number"),
        (lambda fields: fields.text("none"), "it.none: missing"),
        (lambda fields: fields.text("null"), "it.null: missing"),
        (lambda fields: fields.number("t"), "it.t: expected a number, found true or false"),
        (lambda fields: fields.number("minus"), "it.minus: -1 is out of range"),
        (lambda fields: fields.number("big"), "it.big: .* is out of range"),
        (lambda fields: fields.number("f"), "it.f: expected a number, found a fraction"),
        (lambda fields: fields.texts("l"), "it.l: expected strings, found a number"),
        (lambda fields: fields.strings("o"), "it.o.x: expected a string, found a list"),
        (lambda fields: fields.objects("o"), "it.o: expected a list, found an object"),
    ],
)
def test_an_error_names_the_field(take: Any, words: str) -> None:
    value = {"n": 1, "null": None, "t": True, "minus": -1, "big": 1 << 63, "f": 1.5, "l": ["a", 1], "o": {"x": []}}
    with pytest.raises(InvalidDocument, match=words):
        take(Fields(value, "it"))


def test_unread_fields_are_kept_and_lookalikes_refused() -> None:
    fields = Fields({"size": 1, "other": [2]}, "it")
    assert fields.number("size") == 1
    assert fields.rest() == {"other": [2]}
    fields = Fields({"size": 1, "Size": 2}, "it")
    fields.number("size")
    with pytest.raises(InvalidDocument, match=r"it\.Size: looks like 'size'"):
        fields.rest()
