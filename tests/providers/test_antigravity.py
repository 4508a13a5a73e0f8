"""cliproxy.providers.antigravity: Gemini and Claude models behind it, each by its own rules."""

import json
from typing import Any

import pytest

from cliproxy.exchange import Headers
from cliproxy.providers.antigravity import BASE_URL, SECOND_URL, VENDOR, Antigravity, variants
from cliproxy.providers.vendor import Place
from cliproxy.wire.model import ModelFacts
from tests import native
from tests.features.gateways import MODEL, Clients
from tests.features.test_tool_loop import LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import gateway
from tests.providers.google import antigravity, call, candidate, credential, enveloped
from tests.upstream import Upstream

DIALECT = Antigravity()
CLAUDE, GEMINI = "claude-sonnet-4-5-thinking", "gemini-3-pro-high"
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
EMPTY_TOOL = {"functionDeclarations": [{"name": "list", "description": "Lists."}]}


def envelope(model: str, body: dict[str, Any], *, session: str = "", limit: int | None = None) -> dict[str, Any]:
    facts = ModelFacts(model, max_output_tokens=limit)
    request = DIALECT.request(
        candidate("antigravity", model, facts), call({"contents": CONTENTS, **body}, session=session)
    )
    assert isinstance(request.body, bytes)
    return json.loads(request.body)


def asked(model: str, limit: int | None = None, **body: Any) -> dict[str, Any]:
    """The request in the envelope."""
    return envelope(model, body, limit=limit)["request"]


# ---------------------------------------------------------------- from every format


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_tools_round_from_clients_of_every_format(format: Format, model: str) -> None:
    async with Upstream(judge=antigravity) as google, gateway(credential("antigravity", google.url, model)) as serving:
        go_through, _ = LOOPS[format]
        loop = await go_through(Clients(serving, "sk-test-client"))
        assert (loop.name, loop.arguments, loop.text) == ("get_weather", {"city": "Paris"}, "hello from upstream")
        assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
        assert [received.json["model"] for received in google.requests] == [model] * 2


@pytest.mark.parametrize("format", ["gemini", "openai-chat"])
async def test_whole_answers_are_put_together_from_streams(format: Format) -> None:
    async with Upstream(judge=antigravity) as google, gateway(credential("antigravity", google.url, GEMINI)) as serving:
        clients = Clients(serving, "sk-test-client")
        if format == "gemini":
            answer = await clients.google.models.generate_content(model=MODEL, contents="hello")
            assert (answer.text, answer.usage_metadata.candidates_token_count) == (
                "hello from upstream",
                native.OUTPUT_TOKENS,
            )
        else:
            hello: Any = [{"role": "user", "content": "hello"}]
            chat = await clients.openai.chat.completions.create(model=MODEL, messages=hello)
            assert chat.choices[0].message.content == "hello from upstream"
        [received] = google.requests
        assert (received.path, received.query) == ("/v1internal:streamGenerateContent", "alt=sse")


async def test_a_gemini_client_with_a_history_that_is_out_of_order() -> None:
    """Its calls have no ids, its results come in another order, and one of them has forgotten its name."""
    history = [
        *CONTENTS,
        {"role": "model", "parts": [{"function_call": {"name": name, "args": {}}} for name in ("a", "b")]},
        {"parts": [{"functionResponse": {"name": name, "response": {}}} for name in ("b", "unknown")]},
    ]
    tools = [{"functionDeclarations": [{"name": "a", "parametersJsonSchema": {"type": "object"}}, {"name": "b"}]}]
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    async with Upstream(judge=antigravity) as google, gateway(credential("antigravity", google.url, CLAUDE)) as serving:
        path = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
        body = {"contents": history, "tools": tools, "safety_settings": safety}
        reply = await Clients(serving, "sk-test-client").http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        answers = [part["functionResponse"] for part in google.requests[0].json["request"]["contents"][2]["parts"]]
        assert [(answer["id"], answer["name"]) for answer in answers] == [("call_1", "a"), ("call_2", "b")]


# ---------------------------------------------------------------- the envelope


def test_the_envelope_says_who_we_are() -> None:
    first, second = (envelope(GEMINI, {}, session="session-1") for _ in range(2))
    assert first["requestId"] != second["requestId"]
    assert (first["project"], first["userAgent"], first["request"]["sessionId"]) == (
        "test-project-1",
        "cliproxy",
        "session-1",
    )
    assert first.keys() == {"model", "project", "requestId", "requestType", "userAgent", "request"}


@pytest.mark.parametrize(
    ("model", "tools", "kind"),
    [
        (GEMINI, [], "agent"),
        ("gemini-3-pro-image", [], "image_gen"),
        ("gemini-2.5-flash", [{"google_search": {}}], "web_search"),
    ],
)
def test_the_envelope_says_what_is_wanted(model: str, tools: list[Any], kind: str) -> None:
    assert envelope(model, {"tools": tools})["requestType"] == kind


def test_safety_and_limits_are_googles_own_here_and_their_loss_is_told() -> None:
    asking = call({"contents": CONTENTS, "safety_settings": [{}], "generationConfig": {"maxOutputTokens": 9}})
    request = DIALECT.request(candidate("antigravity", GEMINI, ModelFacts(GEMINI)), asking)
    assert isinstance(request.body, bytes)
    assert json.loads(request.body)["request"].keys() == {"contents", "generationConfig"}
    assert asking.dropped == [
        "safetySettings: Antigravity does not take them",
        "maxOutputTokens: Antigravity sets its own",
    ]


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize("field", ["parameters", "parametersJsonSchema", "parameters_json_schema"])
def test_schemas_are_cleaned(field: str) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"kind": {"const": "a"}, "pattern": {"type": ["string", "null"], "pattern": "^a"}},
        "required": ["kind"],
        "additionalProperties": False,
    }
    [tool] = asked(GEMINI, tools=[{"functionDeclarations": [{"name": "f", field: schema}]}])["tools"]
    [declaration] = tool["functionDeclarations"]
    assert declaration.keys() == {"name", "parameters"}
    assert declaration["parameters"]["properties"]["kind"]["enum"] == ["a"]
    assert declaration["parameters"]["properties"]["pattern"]["type"] == "string"
    assert "additionalProperties" not in declaration["parameters"]


def test_gemini_models_keep_their_choice_of_tools_and_take_no_limit() -> None:
    choice = {"functionCallingConfig": {"mode": "ANY"}}
    request = asked(GEMINI, tools=[EMPTY_TOOL], toolConfig=choice, generationConfig={"max_output_tokens": 9, "topK": 1})
    assert (request["toolConfig"], request["generationConfig"]) == (choice, {"topK": 1})
    assert request["tools"][0]["functionDeclarations"][0]["parameters"] == {"type": "object", "properties": {}}


def test_a_limit_alone_is_left_out_too() -> None:
    assert asked(GEMINI, generationConfig={"maxOutputTokens": 9})["generationConfig"] == {}


def test_claude_must_keep_to_the_schemas() -> None:
    choice = {"function_calling_config": {"mode": "ANY", "allowedFunctionNames": ["list"]}}
    assert asked(CLAUDE, tools=[EMPTY_TOOL], tool_config=choice)["toolConfig"] == {
        "functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["list"]}
    }
    assert "toolConfig" not in asked(CLAUDE)


def test_claude_may_be_told_to_call_nothing() -> None:
    choice = {"functionCallingConfig": {"mode": "NONE"}}
    assert asked(CLAUDE, tools=[EMPTY_TOOL], toolConfig=choice)["toolConfig"] == choice


def test_every_object_requires_something_of_claude() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"one": inner, "many": {"type": "array", "items": inner}, "either": {"anyOf": [inner, inner]}},
        "required": ["one"],
    }
    [tool] = asked(CLAUDE, tools=[{"functionDeclarations": [{"name": "f", "parameters": schema}]}])["tools"]
    parameters = tool["functionDeclarations"][0]["parameters"]
    assert parameters["required"] == ["one"]
    one, many, either = (parameters["properties"][name] for name in ("one", "many", "either"))
    for each in (one, many["items"], either):
        assert (each["required"], set(each["properties"])) == (["_placeholder"], {"x", "_placeholder"})


@pytest.mark.parametrize("stream", [False, True])
def test_what_claude_was_made_to_say_is_not_said_to_the_client(stream: bool) -> None:
    arguments = {"_placeholder": True, "deep": [{"_placeholder": True, "x": "_placeholder"}]}
    body = enveloped(native.tool_call("gemini", "list", arguments, stream=True)).whole
    action = "streamGenerateContent" if stream else "generateContent"
    reader = DIALECT.reader(
        candidate("antigravity", CLAUDE), call({}, stream=stream, action=action, query="alt=sse"), Headers()
    )
    assert reader
    answer = json.loads((reader.feed(body) + reader.finish()).strip().removeprefix(b"data: "))
    [part] = answer["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["args"] == {"deep": [{"x": "_placeholder"}]}


# ---------------------------------------------------------------- Claude's limits and thoughts


@pytest.mark.parametrize(
    ("limit", "settings", "expected"),
    [
        (None, {}, {"maxOutputTokens": 64_000}),
        (32_000, {}, {"maxOutputTokens": 32_000}),
        (32_000, {"maxOutputTokens": 50_000}, {"maxOutputTokens": 32_000}),
        (
            32_000,
            {"max_output_tokens": 4000, "thinking_config": {"thinking_budget": 8000, "include_thoughts": True}},
            {"maxOutputTokens": 4000, "thinkingConfig": {"thinkingBudget": 3999, "includeThoughts": True}},
        ),
        (
            32_000,
            {"maxOutputTokens": 9000, "thinkingConfig": {"thinkingBudget": 8000}},
            {"maxOutputTokens": 9000, "thinkingConfig": {"thinkingBudget": 8000}},
        ),
        (
            32_000,
            {"maxOutputTokens": 1000, "thinkingConfig": {"thinkingBudget": 8000}, "topK": 1},
            {"maxOutputTokens": 1000, "topK": 1},
        ),
    ],
)
def test_claudes_limits(limit: int | None, settings: dict[str, Any], expected: dict[str, Any]) -> None:
    assert asked(CLAUDE, limit, generationConfig=settings)["generationConfig"] == expected


def test_claude_takes_back_only_thoughts_that_it_signed() -> None:
    thoughts = [
        {"text": "unsigned", "thought": True},
        {"text": "filled in", "thought": True, "thoughtSignature": "skip_thought_signature_validator"},
        {"text": "signed", "thought": True, "thoughtSignature": "RXhhbXBsZQ=="},
    ]
    contents = [*CONTENTS, {"role": "model", "parts": [*thoughts, {"text": "hi"}]}]
    assert [part["text"] for part in asked(CLAUDE, contents=contents)["contents"][1]["parts"]] == ["signed", "hi"]
    assert len(asked(GEMINI, contents=contents)["contents"][1]["parts"]) == 4


# ---------------------------------------------------------------- the account


def test_the_second_host_is_for_when_the_first_cannot() -> None:
    assert variants({}, Place(BASE_URL)) == ({}, {"base_url": SECOND_URL})
    for fields, place in (({"base_url": "http://own.test"}, Place(BASE_URL)), ({}, Place("http://own.test"))):
        assert variants(fields, place) == ({},)


def test_no_client_is_registered_for_the_user() -> None:
    registration = VENDOR.registration
    assert registration
    assert (registration.client_id, registration.client_secret) == ("", "")
    assert registration.redirect_uri == "http://localhost:51121/oauth-callback"
    assert [scope.rpartition("/")[2] for scope in registration.scopes] == [
        "cloud-platform",
        "userinfo.email",
        "userinfo.profile",
        "cclog",
        "experimentsandconfigs",
    ]
