"""cliproxy.providers.aistudio: what a page of AI Studio is asked."""

import json
from typing import Any

import pytest

from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers import VENDORS
from cliproxy.providers.aistudio import AiStudio
from cliproxy.providers.call import Purpose, UpstreamCall
from tests.providers.google import call, candidate

CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
MODELS = "https://host.test/v1beta/models"


def asked(called: UpstreamCall) -> UpstreamRequest:
    called.headers = Headers({"user-agent": "client", "x-goog-api-client": "client", "content-type": "text/plain"})
    return AiStudio().request(candidate("aistudio", "gemini-3"), called)


def body(**fields: Any) -> Any:
    request = asked(call({"contents": CONTENTS, **fields}))
    assert isinstance(request.body, bytes)
    return json.loads(request.body)


def test_it_is_a_vendor_without_a_login_of_its_own() -> None:
    vendor = VENDORS["aistudio"]
    assert (vendor.formats, vendor.flows, vendor.registration) == (("gemini",), (), None)


@pytest.mark.parametrize(
    ("called", "path"),
    [
        (call({}), "gemini-3:generateContent"),
        (call({}, stream=True), "gemini-3:streamGenerateContent?alt=sse"),
        (call({}, Purpose.COUNT_TOKENS), "gemini-3:countTokens"),
    ],
)
def test_the_gemini_apis_url_is_relayed(called: UpstreamCall, path: str) -> None:
    assert asked(called).url == f"{MODELS}/{path}"


def test_the_browser_adds_the_headers() -> None:
    assert dict(asked(call({})).headers) == {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "settings",
    [
        {"maxOutputTokens": 5, "responseMimeType": "application/json", "responseJsonSchema": {}, "temperature": 1},
        {"max_output_tokens": 5, "response_mime_type": "application/json", "temperature": 1},
    ],
)
@pytest.mark.parametrize("name", ["generationConfig", "generation_config"])
def test_settings_that_pages_refuse_are_left_out(name: str, settings: Any) -> None:
    assert body(**{name: settings}) == {"contents": CONTENTS, "generationConfig": {"temperature": 1}}


def test_other_bodies_stay_as_they_are() -> None:
    fields = {"tools": [{"google_search": {}}], "labels": {"a_b": "c"}}
    assert body(**fields) == {"contents": CONTENTS, **fields}


def test_levels_of_thinking_are_upper_case() -> None:
    assert body(generationConfig={"thinking_config": {"thinking_level": "low", "includeThoughts": True}}) == {
        "contents": CONTENTS,
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}},
    }


@pytest.mark.parametrize(("query", "is_array"), [("", True), ("alt=sse", False)])
def test_a_client_gets_its_own_framing(query: str, is_array: bool) -> None:
    called = call({}, stream=True, action="streamGenerateContent", query=query)
    called.path = "/v1beta/models/"
    assert asked(called).url == f"{MODELS}/gemini-3:streamGenerateContent?alt=sse"
    reader = AiStudio().reader(candidate("aistudio", "gemini-3"), called, Headers())
    assert (reader is not None) == is_array
    if reader:
        assert reader.content_type == "application/json"
        assert json.loads(reader.feed(b'data: {"a": 1}\n\ndata: {"b": 2}\n\n') + reader.finish()) == [
            {"a": 1},
            {"b": 2},
        ]
