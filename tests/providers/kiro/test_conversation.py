"""cliproxy.providers.kiro.conversation: bodies that the service takes, whatever conversation the client had."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.providers.kiro.conversation import encode_request
from cliproxy.wire.anthropic import decode_request
from cliproxy.wire.errors import ClientFault, UnsupportedContent
from cliproxy.wire.model import ModelFacts, ThinkingFacts
from tests.providers.kiro.service import PROFILE, check

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 degrees"}
TOOL = {"name": "get_weather", "description": "Tells.", "input_schema": {"type": "object", "properties": {}}}
LEVELS = ThinkingFacts(levels=("low", "medium", "high", "max"))


def encoded(
    *messages: Any,
    model: str = "claude-sonnet-4.5",
    session: str = "",
    profile_arn: str = "",
    **fields: Any,
) -> Any:
    """messages: of user and assistant by turns, or whole ones. The body is checked as the service would."""
    whole = [
        message
        if isinstance(message, dict) and "role" in message
        else {"role": ("user", "assistant")[index % 2], "content": message}
        for index, message in enumerate(messages)
    ]
    request = decode_request({"model": model, "max_tokens": 9, "messages": whole, **fields})
    body = encode_request(request, ModelFacts(model), origin="AI_EDITOR", profile_arn=profile_arn, session=session)
    check(body)
    return body


def current(body: Any) -> Any:
    return body["conversationState"]["currentMessage"]["userInputMessage"]


def history(body: Any) -> list[Any]:
    """The messages before the current one, without the names of their roles."""
    return [inner for message in body["conversationState"].get("history", []) for inner in message.values()]


def image(mime: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": mime, "data": PNG}}


def document(**source: str) -> dict[str, Any]:
    return {"type": "document", "title": "notes", "source": source}


# ---------------------------------------------------------------- the frame


def test_one_message() -> None:
    body = encoded("hello", profile_arn=PROFILE)
    assert body["profileArn"] == PROFILE
    assert current(body) == {"content": "hello", "origin": "AI_EDITOR", "modelId": "claude-sonnet-4.5"}
    assert history(body) == []
    assert "profileArn" not in encoded("hello")


def test_a_conversation() -> None:
    body = encoded("one", "two", "three", "four", "five")
    assert [message["content"] for message in [*history(body), current(body)]] == [
        "one",
        "two",
        "three",
        "four",
        "five",
    ]


def test_conversations_are_told_apart_and_stay_the_same() -> None:
    def id_of(session: str) -> str:
        return encoded("hello", session=session)["conversationState"]["conversationId"]

    assert id_of("a") == id_of("a") != id_of("b")
    assert id_of("") != id_of("")


def test_models() -> None:
    assert current(encoded("hello", model="claude-sonnet-4-5-20250929"))["modelId"] == "claude-sonnet-4.5"
    assert "modelId" not in current(encoded("hello", model="auto"))


# ---------------------------------------------------------------- instructions


def test_instructions_stand_before_the_users_first_words() -> None:
    body = encoded(
        "hello", "hi", "go", system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Or not."}]
    )
    assert history(body)[0]["content"] == "Be brief.\n\nOr not.\n\nhello"
    assert current(body)["content"] == "go"


def test_instructions_before_the_only_words() -> None:
    assert current(encoded("hello", system="Be brief."))["content"] == "Be brief.\n\nhello"
    assert current(encoded([image()], system="Be brief."))["content"] == "Be brief."


def test_instructions_in_mid_conversation_are_the_users() -> None:
    body = encoded("hello", "hi", {"role": "system", "content": "Be brief."}, {"role": "user", "content": "go"})
    assert current(body)["content"] == "<system-reminder>\nBe brief.\n</system-reminder>\n\ngo"


def test_a_demanded_format_is_asked_for_in_words() -> None:
    format = {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    assert "JSON Schema" in current(encoded("hello", output_config={"format": format}))["content"]


def test_long_descriptions_of_tools_go_on_in_the_instructions() -> None:
    body = encoded("hello", tools=[{**TOOL, "description": "x" * 20_000}])
    assert current(body)["content"].startswith("The description of the tool get_weather goes on: xxx")
    assert current(body)["content"].endswith("x\n\nhello")


# ---------------------------------------------------------------- turns


def test_the_last_message_is_the_users() -> None:
    body = encoded("hello", "I would say")
    assert [message["content"] for message in history(body)] == ["hello", "I would say"]
    assert current(body)["content"] == "Continue."


def test_the_first_message_is_the_users() -> None:
    body = encoded({"role": "assistant", "content": "Welcome!"}, {"role": "user", "content": "hello"})
    assert [message["content"] for message in history(body)] == [".", "Welcome!"]
    body = encoded(
        {"role": "assistant", "content": "Welcome!"}, {"role": "user", "content": "hello"}, system="Be brief."
    )
    assert history(body)[0]["content"] == "Be brief."


def test_neighbours_of_one_role_are_one_message() -> None:
    body = encoded(*({"role": "user", "content": word} for word in ("one", "two", "three")))
    assert (history(body), current(body)["content"]) == ([], "one\n\ntwo\n\nthree")


def test_reasoning_is_not_returned() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "test-signature"}
    body = encoded("hello", [thinking, {"type": "text", "text": "hi"}], "go")
    assert history(body)[1] == {"content": "hi"}
    assert history(encoded("hello", [thinking], "go"))[1] == {"content": "."}


# ---------------------------------------------------------------- calls and results


def test_a_call_and_its_result() -> None:
    body = encoded("How warm?", [{"type": "text", "text": "I look."}, USE], [RESULT], tools=[TOOL])
    assert history(body)[1] == {
        "content": "I look.",
        "toolUses": [{"toolUseId": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}],
    }
    context = current(body)["userInputMessageContext"]
    assert context["toolResults"] == [
        {"toolUseId": "toolu_1", "status": "success", "content": [{"text": "18 degrees"}]}
    ]
    assert [tool["toolSpecification"]["name"] for tool in context["tools"]] == ["get_weather"]


def test_results_and_words_in_one_message() -> None:
    body = encoded("How warm?", [USE], [RESULT, {"type": "text", "text": "And tomorrow?"}], tools=[TOOL])
    assert current(body)["content"] == "And tomorrow?"
    assert len(current(body)["userInputMessageContext"]["toolResults"]) == 1


def test_failed_and_empty_results() -> None:
    failed = {**RESULT, "is_error": True, "content": []}
    [result] = current(encoded("How warm?", [USE], [failed], tools=[TOOL]))["userInputMessageContext"]["toolResults"]
    assert result == {"toolUseId": "toolu_1", "status": "error", "content": [{"text": "."}]}


def test_an_image_of_a_result_is_attached() -> None:
    body = encoded("How warm?", [USE], [{**RESULT, "content": [image("image/jpeg")]}], tools=[TOOL])
    [result] = current(body)["userInputMessageContext"]["toolResults"]
    assert result["content"] == [{"text": "The result is attached to this message."}]
    assert current(body)["images"] == [{"format": "jpeg", "source": {"bytes": PNG}}]


def test_results_without_calls_and_calls_without_results() -> None:
    body = encoded("hello", "hi", [RESULT, {"type": "text", "text": "go"}], tools=[TOOL])
    assert "toolResults" not in current(body)["userInputMessageContext"]
    body = encoded("hello", [USE], "never mind", tools=[TOOL])
    [result] = current(body)["userInputMessageContext"]["toolResults"]
    assert (result["status"], result["toolUseId"]) == ("error", "toolu_1")
    # The result's turn is gone, so that the model's was the last one.
    assert current(encoded("hello", "hi", [RESULT]))["content"] == "Continue."


def test_calls_that_end_the_conversation() -> None:
    body = encoded("hello", [USE], tools=[TOOL])
    assert current(body)["content"] == "Continue."
    assert [result["status"] for result in current(body)["userInputMessageContext"]["toolResults"]] == ["error"]


def test_a_history_with_calls_and_a_request_without_tools() -> None:
    body = encoded("How warm?", [USE], [RESULT], "18 degrees.", "Summarise.")
    [tool] = current(body)["userInputMessageContext"]["tools"]
    assert tool["toolSpecification"]["name"] == "get_weather"


def test_ids_that_the_service_refuses() -> None:
    use, result = {**USE, "id": "call:1/ä" + "x" * 80}, {**RESULT, "tool_use_id": "call:1/ä" + "x" * 80}
    body = encoded("How warm?", [use], [result], tools=[TOOL])
    [sent] = history(body)[1]["toolUses"]
    assert len(sent["toolUseId"]) <= 64


# ---------------------------------------------------------------- media


def test_images() -> None:
    body = encoded([image("image/png"), image("image/webp"), {"type": "text", "text": "What is this?"}])
    assert current(body)["images"] == [
        {"format": "png", "source": {"bytes": PNG}},
        {"format": "webp", "source": {"bytes": PNG}},
    ]
    assert current(encoded([image()]))["content"] == "."


def test_documents() -> None:
    pdf = document(type="base64", media_type="application/pdf", data=PNG)
    plain = document(type="text", media_type="text/plain", data="plain words")
    csv = document(type="base64", media_type="text/csv", data=base64.b64encode(b"a,b").decode())
    body = encoded([pdf, plain, csv], "hi", [pdf])
    assert history(body)[0]["documents"] == [{"name": "document 1", "format": "pdf", "source": {"bytes": PNG}}]
    assert history(body)[0]["content"] == "notes\n\nplain words\n\nnotes\n\na,b"
    assert current(body)["documents"][0]["name"] == "document 2"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            "image content behind a URL",
        ),
        (
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            "image content that was uploaded elsewhere",
        ),
        (image("image/bmp"), "image/bmp"),
        (document(type="base64", media_type="application/msword", data=PNG), "application/msword"),
    ],
)
def test_what_cannot_be_sent_is_refused(block: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedContent, match=said):
        encoded([block])
    with pytest.raises(UnsupportedContent, match=said):
        encoded("How warm?", [USE], [{**RESULT, "content": [block]}])


def test_a_document_that_is_not_base64() -> None:
    with pytest.raises(ClientFault, match="base64"):
        encoded([document(type="base64", media_type="text/csv", data="a")])


def test_images_in_the_instructions_are_refused() -> None:
    with pytest.raises(UnsupportedContent, match="instructions"):
        encoded("hello", {"role": "assistant", "content": "hi"}, {"role": "system", "content": [image()]})


# ---------------------------------------------------------------- reasoning


def asked_to_think(model: str, facts: ThinkingFacts | None, *, known: bool = True, **fields: Any) -> Any:
    """What is asked of the model beside the conversation; fields: of the client's request."""
    asked = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "a"}], **fields}
    facts_of_model = ModelFacts(model, thinking=facts, known=known)
    body = encode_request(decode_request(asked), facts_of_model, origin="CLI", profile_arn="", session="")
    check(body)
    return body.get("additionalModelRequestFields")


def test_efforts_of_models_that_take_them() -> None:
    def asked(**fields: Any) -> Any:
        return asked_to_think("claude-opus-4-6", LEVELS, **fields)

    shown = {"type": "adaptive", "display": "summarized"}
    effort: dict[str, Any] = {"output_config": {"effort": "max"}}
    assert asked(thinking={"type": "adaptive"}, **effort) == {"thinking": shown, **effort}
    low = {"output_config": {"effort": "low"}}
    assert asked(thinking={"type": "enabled", "budget_tokens": 1024}) == {"thinking": shown, **low}
    hidden = {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}
    assert asked(thinking=hidden) == {"thinking": {"type": "adaptive"}, **low}
    assert asked(thinking={"type": "disabled"}) == {"thinking": {"type": "disabled"}}
    assert asked() is None


def test_efforts_of_other_vendors_models() -> None:
    levels = ThinkingFacts(levels=("none", "low", "high"))
    on: dict[str, Any] = {"thinking": {"type": "adaptive"}}
    off: dict[str, Any] = {"thinking": {"type": "disabled"}}
    assert asked_to_think("gpt-5.6-luna", levels, **on) == {"reasoning": {"effort": "high"}}
    assert asked_to_think("gpt-5.6-luna", levels, **off) == {"reasoning": {"effort": "none"}}
    assert asked_to_think("gpt-5.6-luna", LEVELS, **off) is None


def test_models_without_levels_are_asked_nothing() -> None:
    """They refuse the field whatever it says."""
    enabled: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
    for facts in (None, ThinkingFacts(min=1024, max=32000)):
        assert asked_to_think("claude-sonnet-4.5", facts, **enabled) is None
    assert asked_to_think("claude-sonnet-4.5", None, known=False, **enabled) is None


# ---------------------------------------------------------------- any conversation at all

_BLOCKS = st.sampled_from(
    [
        {"type": "text", "text": "words"},
        {"type": "text", "text": " "},
        {"type": "text", "text": ""},
        {"type": "thinking", "thinking": "hm", "signature": ""},
        USE,
        {**USE, "id": "toolu_2", "name": "other tool"},
        RESULT,
        {**RESULT, "tool_use_id": "toolu_2", "content": []},
        {**RESULT, "tool_use_id": "toolu_3"},
        image(),
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
    ]
)
_MESSAGES = st.lists(
    st.builds(
        lambda role, blocks: {"role": role, "content": [dict(block) for block in blocks]},
        st.sampled_from(["user", "assistant", "system"]),
        st.lists(_BLOCKS, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@given(_MESSAGES, st.booleans())
def test_every_conversation_becomes_one_that_the_service_takes(messages: list[Any], offers: bool) -> None:
    tools: dict[str, Any] = {"tools": [TOOL]} if offers else {}
    try:
        encoded(*messages, **tools)
    except UnsupportedContent as error:
        assert "instructions" in error.message
    except ClientFault as error:
        assert "at least one message" in error.message
