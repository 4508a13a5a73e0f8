"""cliproxy.wire.json: what the vendors' clients really send."""

import json as stdlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire import json

_scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
_values = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(_values)
def test_dumps_and_loads_are_inverse(value):
    # JSON has no infinities: null stands for them.
    finite = stdlib.loads(stdlib.dumps(value), parse_constant=lambda _: None)
    assert json.loads(json.dumps(value)) == finite


@given(_values)
def test_what_is_written_is_json_for_everybody(value):
    stdlib.loads(json.dumps(value), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud800"', "\ud800"),
        ('{"a": 1e999}', {"a": math.inf}),
        ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ('"a\u2028b\u0085c"', "a\u2028b\u0085c"),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_loads_takes_what_the_standard_library_takes(text, value):
    assert json.loads(text) == value
    assert json.loads(text.encode()) == value


def test_loads_takes_nan():
    assert math.isnan(json.loads("[NaN]")[0])


@pytest.mark.parametrize("data", [b"", b"{", b'{"a":1} x', b"\xff\xfe", b"nul", b'{"a":}', b"[" * 99_999])
def test_loads_raises_value_error_for_what_is_not_json(data):
    with pytest.raises(ValueError):
        json.loads(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_become_null(value):
    assert json.dumps({"a": value}) == b'{"a":null}'


def test_lone_surrogates_become_one_replacement_character_each():
    assert json.dumps({"\udc00": "x\ud800y\ud83d", "n": math.nan}).decode() == '{"\ufffd":"x\ufffdy\ufffd","n":null}'


def test_halves_side_by_side_are_the_character_they_mean():
    assert json.dumps(["\ud83d\ude00"]).decode() == '["\U0001f600"]'


def test_dumps_is_compact_utf8():
    assert json.dumps({"a": [1, "ä"]}) == '{"a":[1,"ä"]}'.encode()
    assert json.dumps_text({"a": "ä"}) == '{"a":"ä"}'


@pytest.mark.parametrize(("data", "kind"), [(b"[]", "list"), (b'"a"', "str"), (b"null", "NoneType"), (b"1", "int")])
def test_loads_object_names_what_is_no_object(data, kind):
    with pytest.raises(ValueError, match=f"the body must be a JSON object, not {kind}"):
        json.loads_object(data, "the body")


def test_loads_object_gives_objects():
    assert json.loads_object(b'{"a": 1}', "the body") == {"a": 1}
