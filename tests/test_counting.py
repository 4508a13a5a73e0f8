"""cliproxy.counting: which upstream counts tokens, what it is asked, and what it said."""

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.call import ClientCall, read_call
from cliproxy.counting import count_call, counted
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import ClientRequest, Headers, UpstreamResponse
from cliproxy.providers.call import Purpose
from cliproxy.routes import match
from cliproxy.wire.model import Format, ModelFacts

BODIES: dict[Format, tuple[str, dict[str, Any]]] = {
    "anthropic": (
        "/v1/messages/count_tokens",
        {
            "model": "client-m",
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "hello"}],
            "tools": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}],
        },
    ),
    "openai-responses": (
        "/v1/responses/input_tokens",
        {
            "model": "client-m",
            "instructions": "Be brief.",
            "input": "hello",
            "tools": [{"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}],
        },
    ),
    "gemini": (
        "/v1beta/models/client-m:countTokens",
        {
            "generateContentRequest": {
                "model": "models/client-m",
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
                "tools": [{"functionDeclarations": [{"name": "look", "description": "Looks."}]}],
            }
        },
    ),
}  # fmt: skip
CLIENTS = list(BODIES)


async def asked(format: Format) -> ClientCall:
    path, body = BODIES[format]
    request = ClientRequest("POST", path, "", Headers(), json.dumps(body, indent=1).encode())
    return await read_call(request, match("POST", path), 9999)


def candidate(*formats: Format) -> Candidate:
    return Candidate(Credential("p", formats, "https://upstream.test"), "upstream-m", ModelFacts("upstream-m"))


@pytest.mark.parametrize("format", CLIENTS)
async def test_an_upstream_of_the_same_format_is_asked_as_the_client_asked(format: Format) -> None:
    path, body = BODIES[format]
    headers = Headers({"X-Own": "1", "Content-Encoding": "gzip", "Content-Type": "text/plain"})
    call = count_call(await asked(format), candidate(format), headers)
    assert call
    assert (call.purpose, call.format, call.method) == (Purpose.COUNT_TOKENS, format, "POST")
    assert (call.path, call.action) == ((path, "") if format != "gemini" else ("/v1beta/models/", "countTokens"))
    assert isinstance(call.body, bytes)
    renamed = body if format == "gemini" else {**body, "model": "upstream-m"}
    assert json.loads(call.body) == renamed
    assert dict(call.headers) == {"X-Own": "1", "Content-Type": "application/json"}


@pytest.mark.parametrize("upstream", CLIENTS)
@pytest.mark.parametrize("format", CLIENTS)
async def test_an_upstream_of_another_format_is_asked_for_all_of_it(format: Format, upstream: Format) -> None:
    if format == upstream:
        return
    call = count_call(await asked(format), candidate(upstream), Headers({"X-Own": "1"}))
    assert call
    assert (call.purpose, call.format, call.path, call.query) == (Purpose.COUNT_TOKENS, upstream, "", "")
    assert "x-own" not in call.headers
    assert isinstance(call.body, bytes)
    body = json.loads(call.body)
    for words in ("Be brief.", "hello", "look"):
        assert words in json.dumps(body), f"{words} would not be counted"
    # A counter refuses what belongs to the asking only.
    assert not {"max_tokens", "stream", "temperature", "generationConfig", "max_output_tokens", "store"} & {*body}
    if upstream != "gemini":
        assert body["model"] == "upstream-m"


@pytest.mark.parametrize("format", CLIENTS)
async def test_chat_completions_have_no_counter(format: Format) -> None:
    assert count_call(await asked(format), candidate("openai-chat"), Headers()) is None


class Response:
    """As much of an upstream's response as is looked at."""

    def __init__(self, status: int) -> None:
        self.status = status


def said(format: Format, body: bytes, status: int = 200) -> int | None:
    return counted(format, cast(UpstreamResponse, Response(status)), body)


@pytest.mark.parametrize(
    ("format", "body", "count"),
    [
        ("anthropic", {"input_tokens": 7}, 7),
        ("openai-responses", {"object": "response.input_tokens", "input_tokens": 0}, 0),
        ("gemini", {"totalTokens": 7, "totalBillableCharacters": 9}, 7),
        ("gemini", {"input_tokens": 7}, None),
        ("anthropic", {"totalTokens": 7}, None),
        ("anthropic", {"input_tokens": True}, None),
        ("anthropic", {"input_tokens": "7"}, None),
        ("anthropic", {"input_tokens": 7.0}, None),
        ("anthropic", [7], None),
        ("anthropic", None, None),
    ],
)
def test_a_count_is_a_whole_number_where_the_format_has_it(format: Format, body: Any, count: int | None) -> None:
    assert said(format, json.dumps(body).encode()) == count
    assert said(format, json.dumps(body).encode(), status=404) is None


@given(st.binary(max_size=30))
@settings(deadline=None)
def test_any_bytes_are_a_count_or_none(body: bytes) -> None:
    assert said("anthropic", body) is None


def test_an_answer_that_nests_too_deeply_is_no_count() -> None:
    assert said("anthropic", b'{"a":' * 100_000) is None
