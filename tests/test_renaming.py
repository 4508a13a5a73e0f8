"""cliproxy.renaming: one value of an answer changes, and not a byte besides."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cliproxy.renaming import Renamer
from cliproxy.wire.model import FORMATS
from tests import native
from tests.wire import vendors

SHOWN = 'mein "Modell"/ü\u2028'
FRAME_PATHS = {
    "openai-chat": ["model"],
    "openai-responses": ["response", "model"],
    "anthropic": ["message", "model"],
    "gemini": ["modelVersion"],
}
every_format = pytest.mark.parametrize("format", FORMATS)


def renamed(value, path):
    """The oracle: the same on decoded JSON."""
    [key, *rest] = path
    if not isinstance(value, dict) or key not in value:
        return value
    if rest:
        return {**value, key: renamed(value[key], rest)}
    return {**value, key: SHOWN} if isinstance(value[key], str) else value


# ---------------------------------------------------------------- as vendors answer


@every_format
@pytest.mark.parametrize("make", [native.text, native.tool_call])
def test_the_vendors_answers(format, make):
    renamer = Renamer(format, SHOWN)
    streamed, whole = make(format, stream=True).whole, make(format).whole
    name = json.dumps(SHOWN, ensure_ascii=False).encode()
    for raw, got in ((streamed, renamer.frames(streamed)), (whole, renamer.whole(whole))):
        assert got.replace(name, b'"test-model"') == raw
        understood = vendors.read(format, got, stream=raw is streamed)
        assert understood.model == SHOWN


@every_format
def test_frames_without_a_name_are_the_same_object(format):
    data = b'event: x\ndata: {"type":"x","delta":"no such thing"}\n\ndata: [DONE]\n\n'
    assert Renamer(format, SHOWN).frames(data) is data


# ---------------------------------------------------------------- what must not be touched

NESTED = [
    # Text and arguments that speak of models, escaped as JSON in JSON is.
    '{"choices":[{"delta":{"content":"\\"model\\":\\"x\\""}}],"model":"m"}',
    '{"choices":[{"delta":{"content":"{\\"model\\":\\"x\\"}"}}],"model":"m"}',
    '{"a":"\\\\","model":"m"}',
    '{"a":"\\\\\\"","model":"m"}',
    # Objects of their own.
    '{"tools":[{"model":"x"}],"metadata":{"model":"x"},"model":"m"}',
    '{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"modelVersion":"x"}}}]}}],"modelVersion":"m"}',
    '{"message":{"content":[{"input":{"model":"x","message":{"model":"x"}}}],"model":"m"},"model":"x"}',
    '{"response":{"tools":[{"model":"x"}],"metadata":{"model":"x"},"model":"m"},"model":"x"}',
    '{"item":{"response":{"model":"x"}},"response":"x","model":"x"}',
    '{"response":["model","x"],"message":[{"model":"x"}],"x":{"model":"x"}}',
    # Values that only look like keys, and keys that only end like ours.
    '{"a":"model","b":["model","x"],"my\\"model":"x"}',
    '{"model":null,"message":null,"response":{"model":null},"modelVersion":{"model":"x"}}',
    '{"response":{},"message":{"id":"m"},"x":{"model":"x"}}',
]


@every_format
@pytest.mark.parametrize("document", NESTED)
@pytest.mark.parametrize("indent", [None, 2], ids=["compact", "pretty"])
def test_only_the_answers_own_name_changes(format, document, indent):
    value = json.loads(document)
    check(format, value, lambda value: json.dumps(value, indent=indent))


def check(format, value, dumps):
    renamer = Renamer(format, SHOWN)
    keep = json.dumps(SHOWN, ensure_ascii=False)

    def due(path):
        mark = "\ue000"
        marked = dumps(renamed(value, path)).replace(json.dumps(SHOWN), mark).replace(keep, mark)
        return marked.replace(mark, keep).encode()

    whole = dumps(value).encode()
    assert renamer.whole(whole) == due(FRAME_PATHS[format][-1:])
    lines = whole.replace(b"\n", b"\ndata: ")
    wanted = due(FRAME_PATHS[format]).replace(b"\n", b"\ndata: ")
    frame = b"event: x\ndata: %b\n\n"
    assert renamer.frames(frame % lines) == frame % wanted
    assert renamer.frames(b": ping\n\n" + (frame % lines) * 2) == b": ping\n\n" + (frame % wanted) * 2
    crlf = (frame % lines).replace(b"\n", b"\r\n")
    assert renamer.frames(crlf * 2) == (frame % wanted).replace(b"\n", b"\r\n") * 2


_keys = st.sampled_from(["model", "modelVersion", "response", "message", "text", 'a"model', "\\", "model\\"]) | st.text(
    max_size=3
)
_words = st.sampled_from(['"model":"x"', "model", '\\"model\\":', "{[", "}]", '{"response":{"model":"x"}}']) | st.text(
    max_size=6
)
_values = st.recursive(
    _words | st.none() | st.integers(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@every_format
@given(
    st.dictionaries(_keys, _values, max_size=5),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "  :\t")]),
    st.booleans(),
)
@example({"response": {"a": [], "model": "m"}, "message": {"b": {}, "model": "m"}}, (",", ":"), False)
def test_it_is_what_a_json_parser_would_do(format, value, separators, ascii):
    check(format, value, lambda value: json.dumps(value, separators=separators, ensure_ascii=ascii))


@every_format
@given(st.binary(max_size=80) | st.text(alphabet='{}[]":,model\\ \n', max_size=80).map(str.encode))
def test_what_is_no_json_does_no_harm(format, data):
    renamer = Renamer(format, SHOWN)
    for got in (renamer.whole(data), renamer.frames(data)):
        assert got == data or json.dumps(SHOWN, ensure_ascii=False).encode() in got


def test_other_lines_of_a_frame_have_no_part_in_it():
    comment, data = b': { "model": [\nid: "\nevent: {\n', b'data: {"model":"m"}\n\n'
    assert Renamer("openai-chat", "s").frames(comment + data) == comment + data.replace(b'"m"', b'"s"')


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"' + b"\\\\x" * 200_000 + b'","model":1}',
        b'{"model' + b'"\\' * 200_000,
        b'"' + b"\\" * 400_001,
        b'{"model":' * 40_000,
    ],
    ids=["escapes", "no end", "backslashes", "depth"],
)
def test_time_grows_with_the_length_and_no_faster(data):
    renamer = Renamer("openai-chat", SHOWN)
    began = time.process_time()
    assert renamer.frames(b"data: " + data + b'"model"') == b"data: " + data + b'"model"'
    assert time.process_time() - began < 2
