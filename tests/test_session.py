"""cliproxy.session: which conversation a request belongs to."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.call import read_call
from cliproxy.exchange import ClientRequest, Headers
from cliproxy.routes import match
from cliproxy.session import session_of
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import FORMATS, Format

PATHS: Mapping[Format, str] = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
}
CLAUDE_USER = "user_0123_account__session_8c2f"


async def session(body: Any, headers: Mapping[str, str] | None = None, format: Format = "openai-chat") -> str:
    path = PATHS[format]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = ClientRequest("POST", path, "", Headers(headers or {}), raw)
    return session_of(request, await read_call(request, match("POST", path), 10**6))


def said(format: Format, system: str, *turns: str, **more: Any) -> dict[str, Any]:
    """A conversation: the user's and the assistant's words in turn."""
    roles = ("user", "assistant") if format != "gemini" else ("user", "model")
    spoken = [(roles[at % 2], words) for at, words in enumerate(turns)]
    match format:
        case "openai-chat":
            messages = [{"role": role, "content": words} for role, words in (("system", system), *spoken)]
            return {"model": "m", "messages": messages, **more}
        case "openai-responses":
            items = [{"role": role, "content": words} for role, words in spoken]
            return {"model": "m", "instructions": system, "input": items, **more}
        case "anthropic":
            messages = [{"role": role, "content": words} for role, words in spoken]
            return {"model": "m", "max_tokens": 9, "system": system, "messages": messages, **more}
        case "gemini":
            contents = [{"role": role, "parts": [{"text": words}]} for role, words in spoken]
            return {"systemInstruction": {"parts": [{"text": system}]}, "contents": contents, **more}


NAMED: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({"X-Claude-Code-Session-Id": "h0"}, {"metadata": {"user_id": CLAUDE_USER}}, "h0"),
    ({"session_id": "h1"}, {"metadata": {"user_id": CLAUDE_USER}}, "8c2f"),
    ({"session_id": "h1"}, {"metadata": {"user_id": json.dumps({"device_id": "d", "session_id": "8c2f"})}}, "8c2f"),
    ({"session_id": "h1"}, {"metadata": {"user_id": "someone"}, "session_id": "b1"}, "h1"),
    ({"Session-Id": "h1", "x-session-id": "h2"}, {}, "h1"),
    ({"x-session-id": "h2", "x-session-affinity": "h3"}, {}, "h2"),
    ({"x-session-affinity": "h3", "x-client-request-id": "h4"}, {}, "h3"),
    ({"x-client-request-id": "h4", "thread-id": "h5"}, {}, "h4"),
    ({"thread-id": "h5"}, {"session_id": "b1"}, "h5"),
    ({}, {"session_id": "b1", "sessionId": "b2"}, "b1"),
    ({}, {"sessionId": "b2", "prompt_cache_key": "b3"}, "b2"),
    ({}, {"prompt_cache_key": "b3", "conversation": {"id": "b4"}}, "b3"),
    ({}, {"conversation": {"id": "b4"}, "metadata": {"user_id": "b5"}}, "b4"),
    ({}, {"conversation": "b4"}, "b4"),
    ({}, {"metadata": {"user_id": "b5"}, "conversation_id": "b6"}, "b5"),
    ({}, {"conversation_id": "b6"}, "b6"),
]


@pytest.mark.parametrize(("headers", "body", "name"), NAMED)
async def test_a_client_names_its_conversation(headers: dict[str, str], body: dict[str, Any], name: str) -> None:
    assert await session(said("anthropic", "s", "hello", **body), headers, "anthropic") == name


@pytest.mark.parametrize(
    "odd", ["", 5, None, [], {"id": 5}, {"user_id": 5}, {"user_id": "{not json"}, {"user_id": "{}"}]
)
@pytest.mark.parametrize("field", ["metadata", "session_id", "prompt_cache_key", "conversation"])
async def test_a_name_of_another_type_is_none(field: str, odd: Any) -> None:
    opening = await session(said("anthropic", "s", "hello"), format="anthropic")
    named = await session(said("anthropic", "s", "hello", **{field: odd}), {"session_id": ""}, "anthropic")
    assert named in (opening, "", "{not json", "{}")


@pytest.mark.parametrize("format", FORMATS)
async def test_a_conversation_keeps_its_opening(format: Format) -> None:
    first = await session(said(format, "Be brief.", "hello"), format=format)
    assert len(first) == 16
    assert await session(said(format, "Be brief.", "hello", "hi", "more"), format=format) == first
    assert await session(said(format, "Be brief.", "hello", "hi", "more", "well"), format=format) == first
    assert await session(said(format, "Be brief.", "good day"), format=format) != first
    assert await session(said(format, "Be long.", "hello"), format=format) != first


async def test_only_the_beginning_of_an_opening_counts() -> None:
    long = "word " * 200
    assert await session(said("openai-chat", long + "a", "hi")) == await session(said("openai-chat", long + "b", "hi"))


async def test_no_words_make_no_conversation() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://host.test/a.png"}}
    assert await session({"model": "m", "messages": [{"role": "user", "content": [image]}]}) == ""


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("openai-chat", {"model": "m", "messages": [{"role": "oracle", "content": [{"type": "own"}]}]}),
        ("anthropic", {"model": "m", "messages": "hello"}),
        ("openai-responses", {"model": "m", "input": 5}),
        ("gemini", {"contents": 5}),
    ],
)
async def test_what_we_do_not_understand_is_for_the_upstream_to_judge(format: Format, body: Any) -> None:
    """A body that passes through need not be one that the codecs take."""
    assert await session(body, format=format) == ""


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "id"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_fields = st.dictionaries(
    st.sampled_from(["messages", "input", "system", "metadata", "conversation", "session_id", "tools"]),
    _json,
    max_size=4,
)


@given(_fields)
@settings(max_examples=60, deadline=None)
async def test_any_body_belongs_to_some_conversation_or_none(fields: dict[str, Any]) -> None:
    try:
        assert isinstance(await session({"model": "m", **fields}), str)
    except ClientFault as fault:
        raise AssertionError(f"refused: {fault}") from fault
