"""The turns of a conversation, as the Messages API takes them."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire import history
from cliproxy.wire.anthropic import encode_request
from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Citation,
    Encoded,
    Json,
    Media,
    ModelFacts,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from tests.wire.anthropic.judge import faults

FACTS = ModelFacts("claude-test", max_output_tokens=64_000)
SIGNED = Carrier("anthropic", "signature", "c2ln")


def encoded(*turns: Turn, **more: Any) -> Encoded:
    request = Request(origin="openai-chat", model="m", turns=list(turns), **{"tools": [Tool("f")], **more})
    result = encode_request(request, FACTS)
    assert faults(result.body) == []
    return result


def messages(*turns: Turn, **more: Any) -> list[tuple[str, list[Json]]]:
    return [(message["role"], message["content"]) for message in encoded(*turns, **more).body["messages"]]


def user(*parts: Part) -> Turn:
    return Turn("user", list(parts))


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", list(parts))


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def test_roles_alternate_and_a_user_begins() -> None:
    found = messages(assistant(Text("Welcome!")), user(Text("Hi")), user(Text("There")))
    assert [role for role, _ in found] == ["user", "assistant", "user"]
    assert found[1:] == [("assistant", [text("Welcome!")]), ("user", [text("Hi"), text("There")])]


@pytest.mark.parametrize("turns", [[], [user(Text(""))], [assistant(Reasoning("only thought"))]])
def test_there_is_always_something_to_answer(turns: list[Turn]) -> None:
    """class 18: the API refuses an empty list of messages and empty texts."""
    assert [role for role, _ in messages(*turns, system=[Text("S")])] == ["user"]


def test_mid_conversation_instructions_become_reminders() -> None:
    found = messages(
        user(Text("Q")),
        assistant(Text("A")),
        Turn("system", [Text("In French", cache=CacheHint())]),
        user(Text("Q2")),
    )
    reminder = {
        **text("<system-reminder>\nIn French\n</system-reminder>"),
        "cache_control": {"type": "ephemeral"},
    }
    assert found[2] == ("user", [reminder, text("Q2")])


def test_results_come_first_in_their_turn() -> None:
    """class 2: a result must follow its call at once, whatever the user said besides."""
    found = messages(
        user(Text("Go")),
        assistant(ToolCall("c1", "f", '{"a":1}')),
        Turn("system", [Text("Note")]),
        user(Text("Here"), ToolResult("c1", [Text("out")])),
    )
    assert found[1:] == [
        ("assistant", [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "c1", "content": "out"},
                text("<system-reminder>\nNote\n</system-reminder>"),
                text("Here"),
            ],
        ),
    ]


def test_ids_become_legal_alike_in_call_and_result() -> None:
    """class 2: both ends of a pair change together."""
    id = "call:1/abc.def|x"
    found = messages(user(Text("Go")), assistant(ToolCall(id, "f", "{}")), user(ToolResult(id, [])))
    sent = found[1][1][0]["id"]
    assert sent.replace("_", "").isalnum() and sent == found[2][1][0]["tool_use_id"]


@pytest.mark.parametrize(
    ("arguments", "kind", "expected"),
    [
        ("", "function", {}),
        ('{"city":"Os', "function", {}),
        ("[1]", "function", {}),
        ('{"n":1e999}', "function", {"n": float("inf")}),
        ("roses are\nred", "custom", {"input": "roses are\nred"}),
    ],
)
def test_arguments_are_always_an_object(arguments: str, kind: Any, expected: Json) -> None:
    found = messages(user(Text("Go")), assistant(ToolCall("c1", "f", arguments, kind)), user(ToolResult("c1", [])))
    assert found[1][1][0]["input"] == expected


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ([], None),
        ([Text("")], None),
        ([Text("a")], "a"),
        ([Text("a", cache=CacheHint()), Text("b")], [text("a"), text("b")]),
        (
            [Text("a"), Media("image", "image/png", data="aWk=")],
            [
                text("a"),
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWk="}},
            ],
        ),
    ],
)
def test_results_of_each_shape(parts: list[Any], content: Any) -> None:
    """class 10: pictures stay inside the result."""
    result = ToolResult("c1", parts, is_error=True, cache=CacheHint("1h"))
    found = messages(user(Text("Go")), assistant(ToolCall("c1", "f", "{}")), user(result))
    expected: Json = {"type": "tool_result", "tool_use_id": "c1", "is_error": True}
    if content is not None:
        expected["content"] = content
    assert found[2][1] == [{**expected, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]


def test_calls_without_tools_get_declarations_that_cannot_be_called() -> None:
    body = encoded(user(Text("Go")), assistant(ToolCall("c1", "f", "{}")), user(ToolResult("c1", [])), tools=[]).body
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "none"}


MEDIA: list[tuple[Media, Json]] = [
    (
        Media("image", "image/jpg", data="aWk="),
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "aWk="}},
    ),
    (
        Media("image", url="https://x.test/i.png", cache=CacheHint()),
        {
            "type": "image",
            "source": {"type": "url", "url": "https://x.test/i.png"},
            "cache_control": {"type": "ephemeral"},
        },
    ),
    (
        Media("image", file_id="file_1", origin="anthropic"),
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ),
    (
        Media("document", data="JVA=", name="report.pdf"),
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVA="},
            "title": "report.pdf",
        },
    ),
    (
        Media("document", url="https://x.test/a.pdf"),
        {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
    ),
    (
        Media("document", text="words"),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
    ),
    (
        Media("document", "text/csv", data=base64.b64encode(b"a,b").decode()),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}},
    ),
]


@pytest.mark.parametrize(("part", "block"), MEDIA)
def test_media(part: Media, block: Json) -> None:
    """class 10: media of every form that the API has a block for."""
    assert messages(user(part, Text("Look"))) == [("user", [block, text("Look")])]


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", "audio/wav", data="UklG"),
        Media("video", "video/mp4", url="https://x.test/v.mp4"),
        Media("image", "image/heic", data="aWk="),
        Media("image", file_id="file-1", origin="openai-chat"),
        Media("image", url="gs://bucket/i.png"),
        Media("document", url="https://x.test/files/1", origin="gemini"),
        Media("document", "application/msword", data="aWk="),
        Media("document", "text/plain", data="/w=="),
    ],
)
def test_content_that_cannot_be_said_is_refused(part: Media) -> None:
    with pytest.raises(UnsupportedContent, match="to a Messages upstream") as caught:
        encoded(user(part))
    assert caught.value.status == 400


def test_pictures_that_a_user_cannot_have_sent_are_sent_by_the_user_all_the_same() -> None:
    """Instructions and answers may hold pictures elsewhere; here they go to the next thing that the user says."""
    picture = Media("image", url="https://x.test/i.png")
    block = {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}}
    found = messages(user(Text("Draw")), assistant(picture, Text("Here")), user(Text("Bluer")), system=[picture])
    assert found == [
        ("user", [block, text("Draw")]),
        ("assistant", [text("Here")]),
        ("user", [block, text("Bluer")]),
    ]
    assert messages(user(Text("Draw")), assistant(picture))[-1] == ("user", [text("Draw"), block])


def test_own_thinking_returns_as_it_was_and_foreign_thinking_does_not() -> None:
    """class 6: a signature goes to whom it came from and to nobody else."""
    own = [Reasoning("hm", SIGNED), Reasoning("", Carrier("anthropic", "redacted", "cmVk"))]
    foreign = [Reasoning("so", Carrier("gemini", "signature", "Zw==")), Reasoning("bare")]
    result = encoded(user(Text("Q")), assistant(*own, *foreign, Text("A")), user(Text("Go")))
    assert result.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "cmVk"},
        text("A"),
    ]
    assert result.dropped == ["reasoning: only signed thinking of its own can be returned to Anthropic"]


def test_what_ran_at_a_vendor_returns_to_that_vendor_alone() -> None:
    """class 25: a search of another vendor has no block that Anthropic would believe."""
    raw = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    location = {
        "type": "web_search_result_location",
        "url": "u",
        "title": None,
        "cited_text": "",
        "encrypted_index": "e",
    }
    result = encoded(
        user(Text("Q")),
        assistant(
            ServerCall("srvtoolu_1", "web_search", "anthropic", {}, raw),
            ServerCall("ws_1", "web_search", "openai-responses", {}, {"type": "web_search_call"}),
            ServerResult("ws_1", "web_search", "openai-responses"),
            Opaque("gemini", {"executableCode": {}}),
            Text("A", [Citation("u", raw=location), Citation("u", raw={"type": "url_citation"})]),
        ),
        user(Text("Go")),
    )
    assert result.body["messages"][1]["content"] == [raw, {**text("A"), "citations": [location]}]
    assert len(result.dropped) == 2


def test_refusals_are_the_assistants_words() -> None:
    assert messages(user(Text("Q")), assistant(Refusal("No")), user(Text("Why")))[1] == (
        "assistant",
        [text("No")],
    )


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([Text("The answer is ( \n")], [("assistant", [text("The answer is (")])]),
        ([Text("So"), Text("  \n")], [("assistant", [text("So")])]),
        ([Text(" \n")], []),
    ],
)
def test_words_put_in_the_models_mouth_do_not_end_in_whitespace(parts: list[Part], expected: Any) -> None:
    assert messages(user(Text("Q")), assistant(*parts))[1:] == expected


CARRIERS = st.sampled_from(
    [None, SIGNED, Carrier("anthropic", "redacted", "cmVk"), Carrier("gemini", "signature", "Zw==")]
)
WORDS = st.sampled_from(["", " ", "word", "line\n"])
HINTS = st.sampled_from([None, CacheHint(), CacheHint("1h")])
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, WORDS, cache=HINTS),
    st.builds(Reasoning, WORDS, CARRIERS),
    st.builds(Refusal, WORDS),
    st.builds(
        ToolCall,
        st.sampled_from(["", "a", "b:c"]),
        st.sampled_from(["f", "g.h"]),
        st.sampled_from(["", "{}", "[", '{"a":1}']),
        cache=HINTS,
    ),
    st.builds(
        lambda id, word, hint: ToolResult(id, [Text(word)], cache=hint),
        st.sampled_from(["a", "b:c", "z"]),
        WORDS,
        HINTS,
    ),
    st.sampled_from([Media("image", url="https://x.test/i.png"), Opaque("gemini", {"a": 1})]),
)
TURNS = st.lists(
    st.builds(Turn, st.sampled_from(["user", "assistant", "system"]), st.lists(PARTS, max_size=4)), max_size=6
)


@settings(max_examples=150)
@given(
    TURNS,
    st.lists(st.builds(Text, WORDS, cache=HINTS), max_size=2),
    st.booleans(),
    st.sampled_from([None, 900, 5000]),
)
def test_any_conversation_becomes_a_legal_one(
    turns: list[Turn], system: list[Any], tools: bool, limit: int | None
) -> None:
    """class 2: whatever the client made of its history."""
    repaired = history.repair(turns, [])
    request = Request(
        "openai-chat", "m", repaired, system, [Tool("f"), Tool("g.h", cache=CacheHint())] if tools else []
    )
    request.sampling.max_tokens = limit
    assert faults(encode_request(request, FACTS).body) == []
