"""cliproxy.wire.openai_chat.completions: the older format on top of chat."""

import json

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.errors import ClientFault, UnsupportedContent
from cliproxy.wire.fold import unfold
from cliproxy.wire.model import (
    Answer,
    ModelFacts,
    PartStart,
    Reasoning,
    Start,
    Text,
    ToolCall,
    Turn,
    Usage,
)
from cliproxy.wire.openai_chat import encode_request
from cliproxy.wire.openai_chat.completions import (
    CompletionEncoder,
    decode_completion_request,
    encode_completion,
)
from tests.wire.openai_chat.judge import DONE, errors_of, text_completions

BODY = {"model": "m", "prompt": "Once"}
ANSWER = Answer("chatcmpl-1", "up", 7, [Reasoning("hm"), Text("upon"), Text(" a time")], Usage(5, output=2), "length")


def written(answer, request):
    encoder = CompletionEncoder(request, "alias")
    return b"".join(map(encoder.push, unfold(answer))) + encoder.finish()


def test_a_prompt_is_one_user_message():
    request = decode_completion_request(
        {**BODY, "max_tokens": 9, "temperature": 0.5, "stop": "x", "logprobs": 2, "best_of": 1}
    )
    assert request.turns == [Turn("user", [Text("Once")])]
    assert request.raw["prompt"] == "Once"
    body = encode_request(request, ModelFacts("up")).body
    assert body == {
        "model": "up",
        "messages": [{"role": "user", "content": "Once"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "stop": ["x"],
        "logprobs": True,
        "top_logprobs": 2,
        "stream": False,
    }


def test_a_prompt_may_be_a_list_of_one():
    assert decode_completion_request({"model": "m", "prompt": ["Once"]}).turns == [Turn("user", [Text("Once")])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": None}, "prompt is required"),
        ({"prompt": ["a", "b"]}, "several cannot be answered"),
        ({"prompt": [1, 2]}, "prompt must be a single text"),
        ({"prompt": [[1]]}, r"prompt\[0\] must be a string, not a list"),
        ({"prompt": 5}, "prompt must be a string or a list, not an integer"),
        ({"n": 2}, "n must be 1"),
        ({"model": 5}, "model must be a string"),
        ({"logprobs": "x"}, "logprobs must be an integer"),
    ],
)
def test_what_is_no_completion_request(change, message):
    with pytest.raises(ClientFault, match=message):
        decode_completion_request({**BODY, **change})


def test_a_suffix_is_refused():
    with pytest.raises(UnsupportedContent):
        decode_completion_request({**BODY, "suffix": "the end"})


def test_a_whole_text_completion():
    body = encode_completion(ANSWER, decode_completion_request(BODY), "alias")
    openai.types.Completion.model_validate(body)
    assert (body["object"], body["model"], body["id"]) == ("text_completion", "alias", "cmpl-chatcmpl-1")
    assert body["choices"] == [{"text": "upon a time", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert body["usage"]["total_tokens"] == 7


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_streamed_text_completion(include_usage):
    request = decode_completion_request({**BODY, "stream": True, "stream_options": {"include_usage": include_usage}})
    chunks = text_completions(written(ANSWER, request))
    assert {(chunk.id, chunk.object, chunk.model) for chunk in chunks} == {
        ("cmpl-chatcmpl-1", "text_completion", "alias")
    }
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert [(choice.text, choice.finish_reason) for choice in choices] == [
        ("upon", None),
        (" a time", None),
        ("", "length"),
    ]
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([7] if include_usage else [])


def test_echo_puts_the_prompt_before_the_answer():
    request = decode_completion_request({**BODY, "echo": True, "stream": True})
    assert encode_completion(ANSWER, request, "alias")["choices"][0]["text"] == "Onceupon a time"
    assert text_completions(written(ANSWER, request))[0].choices[0].text == "Once"


def test_calls_have_no_place():
    answer = Answer(parts=[Text("a"), ToolCall("x", "f", "{}")], finish="tool")
    body = encode_completion(answer, decode_completion_request(BODY), "alias")
    assert body["choices"][0] == {"text": "a", "index": 0, "logprobs": None, "finish_reason": "stop"}


def test_a_cut_stream_ends_in_an_error():
    """class 1: a cut stream never looks like success."""
    encoder = CompletionEncoder(decode_completion_request({**BODY, "stream": True}), "alias")
    raw = encoder.push(Start("x")) + encoder.push(PartStart(0, Text("a"))) + encoder.ping() + encoder.finish()
    assert DONE not in raw
    assert "ended before its end" in str(errors_of(raw))
    assert (encoder.finish(), encoder.ping()) == (b"", b"")


@given(
    st.dictionaries(
        st.sampled_from([*BODY, "stream", "echo", "logprobs", "stop", "n"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2),
    )
)
def test_any_body_is_a_request_or_the_clients_fault(body):
    try:
        request = decode_completion_request(body)
    except ClientFault:
        return
    json.dumps(encode_request(request, ModelFacts("up")).body)
