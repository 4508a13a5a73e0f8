"""cliproxy.wire.gemini.framing: objects out of an array, however it is cut and laid out."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.gemini import framing
from cliproxy.wire.gemini.framing import ArrayParser

_values = st.recursive(
    st.sampled_from(["", "}", "{", '"', "\\", '\\"}', "[,]", "ä"]) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", '"}', "\\"]), inner, max_size=3),
    max_leaves=8,
)
_objects = st.lists(st.dictionaries(st.sampled_from(["a", "{"]), _values, max_size=3), max_size=4)


@given(_objects, st.lists(st.integers(0, 300)), st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=100)
def test_any_cut_of_an_array_gives_its_objects(
    objects: list[Any], cuts: list[int], indent: int | None, ascii: bool
) -> None:
    raw = json.dumps(objects, indent=indent, ensure_ascii=ascii).encode()
    parser = ArrayParser()
    edges = [0, *sorted(cut for cut in cuts if cut <= len(raw)), len(raw)]
    found = [data for start, end in pairwise(edges) for data in parser.feed(raw[start:end])]
    assert [json.loads(data) for data in found] == objects


def test_objects_come_as_soon_as_they_are_complete() -> None:
    parser = ArrayParser()
    assert parser.feed(b'[{"a":1') == []
    assert parser.feed(b"}") == [b'{"a":1}']
    assert parser.feed(b',\r\n{"b":"\\') == []
    assert parser.feed(b'""},{}]') == [b'{"b":"\\""}', b"{}"]


def test_a_lone_object_is_found_too() -> None:
    assert ArrayParser().feed(b' {"a":[1]} ') == [b'{"a":[1]}']


def test_an_endless_object_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_EVENT_BYTES", 100)
    parser = ArrayParser()
    for _ in range(50):
        parser.feed(b'{"a":"bbbbb"},')
    parser.feed(b'{"a":"')
    with pytest.raises(UpstreamGarbled, match="100 bytes"):
        for _ in range(50):
            parser.feed(b"bbbbb")
