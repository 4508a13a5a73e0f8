"""cliproxy.wire.openai_chat.conversation_encoder: turns as messages that strict servers take."""

import pytest

from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Citation,
    Format,
    Media,
    ModelFacts,
    Opaque,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_chat import encode_request

OWN = Carrier("openai-chat", "signature", "reasoning_content")
FOREIGN = Carrier("anthropic", "signature", "c2ln")
PNG = Media("image", "image/png", data="QUJD")
FACTS = ModelFacts("up")


def encoded(*turns, system=(), origin: Format = "anthropic", facts=FACTS):
    return encode_request(Request(origin, "m", list(turns), list(system)), facts)


def messages(*turns, **more):
    return encoded(*turns, **more).body["messages"]


def user(*parts):
    return Turn("user", list(parts))


def assistant(*parts):
    return Turn("assistant", list(parts))


def content(*parts, **more):
    [message] = messages(user(*parts), **more)
    return message["content"]


# ---------------------------------------------------------------- shapes


def test_a_single_text_is_a_string_and_several_are_parts():
    """Every server takes a string; the order of several texts is kept."""
    assert messages(user(Text("b")), system=[Text("a")]) == [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "b"},
    ]
    assert messages(user(Text("c")), system=[Text("a"), Text("b")])[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_system_turns_stay_in_their_place():
    turns = [user(Text("a")), Turn("system", [Text("b")]), user(Text("c"))]
    assert [(message["role"], message["content"]) for message in messages(*turns)] == [
        ("user", "a"),
        ("system", "b"),
        ("user", "c"),
    ]


def test_an_empty_user_turn_stays_one():
    """class 18: a conversation of only a system prompt keeps its one user message."""
    assert messages(user(Text("")), system=[Text("s")])[1] == {"role": "user", "content": ""}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([Text("a")], {"role": "assistant", "content": "a"}),
        (
            [ToolCall("x", "f", '{"a":1}')],
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
        ),
        (
            [Text("a"), ToolCall("x", "f", "")],
            {
                "role": "assistant",
                "content": "a",
                "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
        ),
        (
            [ToolCall("x", "exec", 'say "hi"', "custom")],
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "x",
                        "type": "function",
                        "function": {"name": "exec", "arguments": '{"input":"say \\"hi\\""}'},
                    }
                ],
            },
        ),
        ([Refusal("No.")], {"role": "assistant", "content": "No."}),
    ],
)
def test_assistant_messages(parts, message):
    assert messages(assistant(*parts)) == [message]


def test_an_assistant_turn_without_words_or_calls_is_left_out():
    """class 2: no empty assistant message."""
    request = encoded(user(Text("a")), assistant(Reasoning("hm", OWN)), user(Text("b")))
    assert [message["role"] for message in request.body["messages"]] == ["user", "user"]
    assert request.dropped == ["assistant turn: it holds nothing but reasoning"]


def test_long_ids_change_alike():
    """class 2: OpenAI takes ids of 40 characters; call and result change together."""
    [call, result] = messages(assistant(ToolCall("x" * 64, "f", "{}")), user(ToolResult("x" * 64, [Text("r")])))
    assert len(call["tool_calls"][0]["id"]) == 40
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]


# ---------------------------------------------------------------- tool results


def test_results_come_right_after_their_calls_and_their_media_after_all_of_them():
    """class 2, class 10: no message stands between tool messages; media move to the user message behind them."""
    turn = user(ToolResult("x", [Text("one"), PNG]), ToolResult("y", [PNG]), Text("go on"))
    calls = assistant(ToolCall("x", "f", "{}"), ToolCall("y", "f", "{}"))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert messages(calls, turn)[1:] == [
        {"role": "tool", "tool_call_id": "x", "content": "one"},
        {"role": "tool", "tool_call_id": "y", "content": "The result is attached to the next user message."},
        {"role": "user", "content": [image, image, {"type": "text", "text": "go on"}]},
    ]


def test_results_alone_make_no_user_message():
    assert [message["role"] for message in messages(user(ToolResult("x", [Text("r")])))] == ["tool"]


def test_an_empty_result_is_an_empty_string():
    assert messages(user(ToolResult("x", [])))[0]["content"] == ""


def test_a_model_without_eyes_gets_a_note():
    """class 10: an image in a tool result does not make a text model refuse the conversation."""
    facts = ModelFacts("up", input_modalities=("text",))
    request = encoded(user(ToolResult("x", [PNG])), facts=facts)
    assert request.body["messages"] == [
        {"role": "tool", "tool_call_id": "x", "content": "[image left out: up takes none]"}
    ]
    assert request.dropped == ["image in a tool result: up takes none"]


def test_a_failed_result_is_recorded():
    assert encoded(user(ToolResult("x", [Text("r")], is_error=True))).dropped == [
        "is_error: a tool message has no place for it"
    ]


# ---------------------------------------------------------------- reasoning


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ([Reasoning("hm", OWN), Text("a")], {"reasoning_content": "hm"}),
        ([Reasoning("hm", Carrier("openai-chat", "signature", "reasoning")), Text("a")], {"reasoning": "hm"}),
        (
            [
                Reasoning("hm", Carrier("openai-chat", "signature", '[{"type":"reasoning.text","text":"hm"}]')),
                Text("a"),
            ],
            {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        ),
        ([Reasoning("one", OWN), Text("a"), Reasoning("two", OWN)], {"reasoning_content": "one\n\ntwo"}),
        ([Reasoning("hm", FOREIGN), Text("a")], {}),
        ([Reasoning("hm"), Text("a")], {}),
        ([Reasoning("hm", FOREIGN), Text("a"), ToolCall("x", "f", "{}")], {"reasoning_content": "hm"}),
        ([Reasoning("", FOREIGN), Text("a"), ToolCall("x", "f", "{}")], {}),
    ],
)
def test_whose_reasoning_goes_back(parts, fields):
    """class 6, class 19: a server's own reasoning returns in its own field; another's only with calls, unsigned."""
    [message] = messages(assistant(*parts))
    assert {key: value for key, value in message.items() if key.startswith("reasoning")} == fields
    assert "c2ln" not in str(message)


def test_dropped_reasoning_is_recorded():
    assert encoded(assistant(Reasoning("hm", FOREIGN), Text("a"))).dropped == ["reasoning: made by another vendor"]


@pytest.mark.parametrize(
    ("carrier", "origin", "sent"),
    [
        (Carrier("openai-chat", "signature", "c2ln"), "anthropic", True),
        (Carrier("gemini", "signature", "c2ln"), "openai-chat", True),
        (Carrier("gemini", "signature", "c2ln"), "gemini", False),
        (FOREIGN, "anthropic", False),
    ],
)
def test_signatures_of_calls(carrier, origin, sent):
    """class 6: a signature goes to the compatibility layer that gave it, and to nobody else."""
    request = encoded(assistant(ToolCall("x", "f", "{}", carrier=carrier)), origin=origin)
    [call] = request.body["messages"][0]["tool_calls"]
    assert call.get("extra_content") == ({"google": {"thought_signature": "c2ln"}} if sent else None)
    assert bool(request.dropped) is not sent


# ---------------------------------------------------------------- media


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        (PNG, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}),
        (
            Media("image", url="https://a.test/b", detail="low"),
            {"type": "image_url", "image_url": {"url": "https://a.test/b", "detail": "low"}},
        ),
        (
            Media("document", "application/pdf", data="QUJD", name="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        ),
        (
            Media("document", "application/pdf", data="QUJD"),
            {
                "type": "file",
                "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QUJD"},
            },
        ),
        (
            Media("audio", "audio/mpeg", data="QUJD"),
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
        ),
    ],
)
def test_media(part, entry):
    """class 10: pictures, documents and sound keep their type, name and data."""
    assert content(part) == [entry]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Media("document", text="Cats purr"), "Cats purr"),
        (Media("document", text="Cats purr", name="cats.txt"), "cats.txt\n\nCats purr"),
        (Media("document", "text/markdown", data="Q2F0cyBwdXJy"), "Cats purr"),
    ],
)
def test_plain_text_documents_are_text(part, text):
    assert content(part) == text


def test_what_is_called_text_and_is_none_stays_a_file():
    [entry] = content(Media("document", "text/plain", data="//79"))
    assert entry["type"] == "file"


@pytest.mark.parametrize(
    ("part", "origin", "message"),
    [
        (Media("document", file_id="file_1", origin="anthropic"), "anthropic", "the uploaded file file_1"),
        (
            Media("image", file_id="file-1", origin="openai-responses"),
            "openai-responses",
            "the uploaded file file-1",
        ),
        (Media("image", url="gs://x", origin="gemini"), "gemini", "an image that only gemini can fetch, gs://x,"),
        (Media("document", url="https://a.test/b.pdf"), "anthropic", "a document behind a URL"),
        (Media("audio", url="https://a.test/b.wav"), "gemini", "audio behind a URL"),
        (Media("video", "video/mp4", data="QUJD"), "gemini", "video"),
    ],
)
def test_what_chat_cannot_say_is_refused(part, origin, message):
    with pytest.raises(UnsupportedContent) as raised:
        messages(user(part), origin=origin)
    assert raised.value.status == 400
    assert raised.value.message == f"{message} cannot be sent to a Chat Completions upstream"


def test_what_the_model_cannot_take_is_refused():
    with pytest.raises(UnsupportedContent, match="audio cannot be sent to a up upstream"):
        messages(user(Media("audio", data="QUJD")), facts=ModelFacts("up", input_modalities=("text", "image")))
    with pytest.raises(UnsupportedContent, match="image content in the system prompt"):
        messages(user(Text("a")), system=[PNG])


def test_film_for_models_that_are_said_to_take_it():
    facts = ModelFacts("up", input_modalities=("TEXT", "VIDEO"))
    assert content(Media("video", url="https://a.test/b.mp4"), facts=facts) == [
        {"type": "video_url", "video_url": {"url": "https://a.test/b.mp4"}}
    ]


# ---------------------------------------------------------------- what has no place


@pytest.mark.parametrize(
    ("part", "dropped"),
    [
        (Opaque("anthropic", {"type": "tool_reference"}), "tool_reference: only anthropic knows it"),
        (ServerCall("s", "web_search", "anthropic"), "web_search in the history: it ran at anthropic"),
    ],
)
def test_foreign_parts_are_left_out_and_recorded(part, dropped):
    request = encoded(assistant(part, Text("a")))
    assert request.body["messages"] == [{"role": "assistant", "content": "a"}]
    assert request.dropped == [dropped]


def test_citations_and_cache_hints_are_left_out_and_recorded():
    request = encoded(user(Text("a", [Citation("https://a.test")], cache=CacheHint("1h"))))
    assert request.body["messages"] == [{"role": "user", "content": "a"}]
    assert [line.partition(":")[0] for line in request.dropped] == ["citations", "cache_control"]
