"""cliproxy.routing.listing: model lists as the vendors' own SDKs read them."""

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import types

from cliproxy.routing.catalogue import ListedModel
from cliproxy.routing.listing import get_model, list_models
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import FORMATS, Format, ModelFacts

MODELS = [
    ListedModel("opus-9", "Opus 9", "claude", ModelFacts("opus-9", max_output_tokens=64_000, context_tokens=1_000_000)),
    ListedModel("team/gpt-9", "GPT-9", "codex", ModelFacts("gpt-9")),
    ListedModel("demo/echo", "Demo", "demo", ModelFacts("echo")),
]


def http(body: Any) -> Any:
    answer = httpx2.Response(200, headers={"content-type": "application/json"}, content=json.dumps(body).encode())
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))


def openais(body: Any) -> Any:
    return openai.OpenAI(api_key="sk-test", base_url="http://gateway.test/v1", http_client=http(body)).models


def anthropics(body: Any) -> Any:
    return anthropic.Anthropic(api_key="sk-test", base_url="http://gateway.test", http_client=http(body)).models


def geminis(body: Any) -> Any:
    options = types.HttpOptions(base_url="http://gateway.test", httpx_client=http(body))
    return genai.Client(api_key="sk-test", http_options=options).models


@pytest.mark.parametrize("format", ["openai-chat", "openai-responses"])
def test_openais_list(format: Format) -> None:
    body = list_models(MODELS, format)
    assert body["object"] == "list"
    listed = list(openais(body).list())
    assert [(model.id, model.object, model.owned_by) for model in listed] == [
        ("opus-9", "model", "claude"),
        ("team/gpt-9", "model", "codex"),
        ("demo/echo", "model", "demo"),
    ]
    assert all(model.created > 0 for model in listed)
    assert (listed[0].context_length, listed[0].max_completion_tokens) == (1_000_000, 64_000)
    assert "context_length" not in body["data"][1]
    assert openais(get_model(MODELS, "team/gpt-9", format)).retrieve("team/gpt-9").id == "team/gpt-9"


def test_anthropics_list_is_sorted_by_display_name() -> None:
    body = list_models(MODELS, "anthropic")
    page = anthropics(body).list()
    assert [(model.id, model.type, model.display_name) for model in page] == [
        ("demo/echo", "model", "Demo"),
        ("team/gpt-9", "model", "GPT-9"),
        ("opus-9", "model", "Opus 9"),
    ]
    assert (page.has_more, page.first_id, page.last_id) == (False, "demo/echo", "opus-9")
    assert page.data[0].created_at.year >= 2020
    assert [(m["max_input_tokens"], m["max_tokens"]) for m in body["data"]] == [
        (200_000, 64_000),
        (200_000, 64_000),
        (1_000_000, 64_000),
    ]
    assert anthropics(get_model(MODELS, "opus-9", "anthropic")).retrieve("opus-9").display_name == "Opus 9"


def test_geminis_list() -> None:
    listed = list(geminis(list_models(MODELS, "gemini")).list())
    assert [(model.name, model.display_name) for model in listed] == [
        ("models/opus-9", "Opus 9"),
        ("models/team/gpt-9", "GPT-9"),
        ("models/demo/echo", "Demo"),
    ]
    assert (listed[0].input_token_limit, listed[0].output_token_limit) == (1_000_000, 64_000)
    assert listed[1].input_token_limit is None
    assert "generateContent" in listed[0].supported_actions
    one = geminis(get_model(MODELS, "opus-9", "gemini")).get(model="opus-9")
    assert (one.name, one.version) == ("models/opus-9", "001")


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_list_is_a_list(format: Format) -> None:
    body = list_models([], format)
    match format:
        case "anthropic":
            page = anthropics(body).list()
            assert (list(page), page.first_id, page.last_id) == ([], None, None)
        case "gemini":
            assert list(geminis(body).list()) == []
        case _:
            assert list(openais(body).list()) == []


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["unknown", "opus", "gpt-9", ""])
def test_an_unknown_model_is_not_found(format: Format, name: str) -> None:
    with pytest.raises(ClientFault, match="unknown model") as caught:
        get_model(MODELS, name, format)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
