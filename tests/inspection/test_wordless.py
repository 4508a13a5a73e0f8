"""cliproxy.inspection.wordless: the form of a body without its words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.inspection.wordless import wordless
from tests import native
from tests.native import FORMATS, Format
from tests.wire.conversations import CONVERSATIONS

SAID = ("Be brief.", "Weather?", "Let me look.", "Oslo", "rain", "And now?", "AAEC")


@pytest.mark.parametrize("format", FORMATS)
def test_of_a_request_its_form_is_left(format: Format) -> None:
    before = CONVERSATIONS[format]
    after: Any = json.loads(wordless(json.dumps(before).encode(), "application/json"))
    text = json.dumps(after)
    assert not [word for word in SAID if word in text]
    assert "get_weather" in text
    assert after.keys() == before.keys()
    for name in ("model", "max_tokens", "stream"):
        assert after.get(name) == before.get(name)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_of_an_answer_its_form_is_left(format: Format, stream: bool) -> None:
    answer = native.text(format, stream=stream)
    kind = answer.headers["content-type"].partition(";")[0]
    clean = wordless(answer.whole, kind).decode()
    for word in native.WORDS:
        assert word.strip() not in clean
    if stream:
        assert clean.count("data:") == answer.whole.decode().count("data:")
        assert clean.count("event:") == answer.whole.decode().count("event:")
        assert ("[DONE]" in clean) is (b"[DONE]" in answer.whole)


def test_names_that_somebody_chose_go_too() -> None:
    body = {
        "metadata": {"secret project": "x"},
        "tools": [{"name": "t", "input_schema": {"properties": {"secret field": {}}}}],
        "content": [{"type": "tool_use", "input": {"secret field": 1}}],
        "input": [{"type": "function_call", "arguments": '{"secret field":1}'}],
        "role": "a sentence, not a role",
    }
    clean = wordless(json.dumps(body).encode(), "application/json").decode()
    assert "secret" not in clean
    assert "sentence" not in clean
    assert '"metadata":"(1 members)"' in clean


def test_what_is_no_json_is_a_number_of_bytes() -> None:
    assert wordless(b"<html>words</html>", "text/html") == b"(18 bytes)"
    assert wordless(b"", "application/json") == b""


@given(
    st.text(alphabet=st.characters(categories=["L"]), min_size=6), st.sampled_from(["text", "content", "message", "x"])
)
def test_no_text_comes_through(said: str, name: str) -> None:
    for body in ({name: said}, {name: [said]}, {name: [{name: said}]}, [said], said):
        assert said not in wordless(json.dumps(body, ensure_ascii=False).encode(), "application/json").decode()
