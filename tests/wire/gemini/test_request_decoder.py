"""cliproxy.wire.gemini.request_decoder: tools and settings in either spelling, and what of them is a fault."""

import json
import re
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini import decode_request
from cliproxy.wire.model import (
    Carrier,
    Media,
    OutputFormat,
    ReasoningIntent,
    Request,
    Sampling,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)


def read(**fields: Any) -> Request:
    fields.setdefault("contents", "hi")
    return decode_request(fields, model="gemini-2.5-pro", stream=True)


def test_model_and_stream_are_those_of_the_path() -> None:
    request = read()
    assert (request.origin, request.model, request.stream) == ("gemini", "gemini-2.5-pro", True)
    request = decode_request({"model": "models/x", "contents": "hi"})
    assert (request.model, request.stream) == ("x", False)
    with pytest.raises(ClientFault, match="model is missing"):
        decode_request({"contents": "hi"})


def test_functions_in_both_kinds_of_schema() -> None:
    declarations = [
        {
            "name": "a",
            "description": "d",
            "parameters": {"type": "OBJECT", "properties": {"TYPE": {"type": "STRING"}}},
        },
        {"name": "b", "parameters_json_schema": {"type": "object", "additionalProperties": False}},
        {"name": "c"},
    ]
    assert read(tools=[{"function_declarations": declarations}]).tools == [
        Tool("a", "d", {"type": "object", "properties": {"TYPE": {"type": "string"}}}),
        Tool("b", None, {"type": "object", "additionalProperties": False}),
        Tool("c"),
    ]


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"googleSearch": {}}, "web_search"),
        ({"google_search": {}}, "web_search"),
        ({"googleSearchRetrieval": {}}, "web_search"),
        ({"codeExecution": {}}, "code_execution"),
        ({"urlContext": {}}, "web_fetch"),
        ({"fileSearch": {"fileSearchStoreNames": ["s"]}}, "fileSearch"),
        ({"computerUse": {}}, "computerUse"),
    ],
)
def test_server_tools(entry: dict[str, Any], name: str) -> None:
    (tool,) = read(tools=entry).tools
    assert isinstance(tool, ServerTool)
    assert (tool.name, tool.origin) == (name, "gemini")


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "auto"}, ToolChoice("auto")),
        ({"mode": "VALIDATED"}, ToolChoice("auto")),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["a"]}, ToolChoice("allowed", ["a"])),
        ({"mode": "ANY"}, ToolChoice("required")),
        ({"mode": "ANY", "allowed_function_names": ["a"]}, ToolChoice("named", ["a"])),
        (
            {"mode": "ANY", "allowedFunctionNames": ["a", "b"]},
            ToolChoice("allowed", ["a", "b"], required=True),
        ),
        ({"mode": "NONE"}, ToolChoice("none")),
        ({"mode": "MODE_UNSPECIFIED"}, None),
        ({}, None),
    ],
)
def test_tool_choice(config: dict[str, Any], choice: ToolChoice | None) -> None:
    assert read(tool_config={"function_calling_config": config}).tool_choice == choice


def test_generation_config() -> None:
    request = read(
        generation_config={
            "maxOutputTokens": 5.0,
            "temperature": 0,
            "top_p": 0.5,
            "topK": 3,
            "stop_sequences": ["x"],
            "seed": 1,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "candidateCount": 2,
            "responseLogprobs": True,
            "logprobs": 4,
            "responseModalities": ["TEXT", "IMAGE"],
        }
    )
    assert request.sampling == Sampling(5, 0, 0.5, 3, ["x"], 1, 0.1, 0.2, 2, True, 4)
    assert request.modalities == ["text", "image"]
    assert request.extras == {}


@pytest.mark.parametrize(
    ("config", "intent"),
    [
        ({"thinkingBudget": 0}, ReasoningIntent(budget=0)),
        ({"thinking_budget": -1, "include_thoughts": True}, ReasoningIntent(budget=-1, visible=True)),
        ({"thinkingLevel": "HIGH", "includeThoughts": False}, ReasoningIntent("high", visible=False)),
        ({"thinkingLevel": "low"}, ReasoningIntent("low")),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, ReasoningIntent()),
    ],
)
def test_thinking_config(config: dict[str, Any], intent: ReasoningIntent) -> None:
    assert read(generationConfig={"thinkingConfig": config}).reasoning == intent


@pytest.mark.parametrize(
    ("config", "output"),
    [
        ({"responseMimeType": "text/plain"}, OutputFormat("text")),
        ({"response_mime_type": "application/json"}, OutputFormat("json_object")),
        (
            {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT", "nullable": True}},
            OutputFormat("json_schema", schema={"type": ["object", "null"]}),
        ),
        ({"responseJsonSchema": {"type": "OBJECT"}}, OutputFormat("json_schema", schema={"type": "object"})),
        ({"_responseJsonSchema": {"type": "object"}}, OutputFormat("json_schema", schema={"type": "object"})),
    ],
)
def test_output_format(config: dict[str, Any], output: OutputFormat) -> None:
    request = read(generationConfig=config)
    assert (request.output, request.extras) == (output, {})


def test_what_has_no_typed_place_is_kept_by_its_path() -> None:
    request = read(
        safetySettings=[{"category": "X"}],
        cached_content="cachedContents/1",
        labels={"a": "b"},
        toolConfig={"retrievalConfig": {"languageCode": "no"}},
        generationConfig={
            "speechConfig": {"a": 1},
            "mediaResolution": "LOW",
            "responseMimeType": "text/x.enum",
        },
        serviceTier="flex",
        nothing=None,
    )
    assert request.service_tier == "flex"
    assert request.extras == {
        "safetySettings": [{"category": "X"}],
        "cachedContent": "cachedContents/1",
        "labels": {"a": "b"},
        "toolConfig.retrievalConfig": {"languageCode": "no"},
        "generationConfig.speechConfig": {"a": 1},
        "generationConfig.mediaResolution": "LOW",
        "generationConfig.responseMimeType": "text/x.enum",
    }


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": 5}, "contents[0]"),
        ({"contents": [5]}, "contents[0]"),
        ({"contents": [{"role": "wizard"}]}, "contents[0].role"),
        ({"contents": [{"role": 5}]}, "contents[0].role"),
        ({"contents": [{"parts": 5}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"inlineData": {}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [{"parts": [{"fileData": {}}]}]}, "contents[0].parts[0].fileData.fileUri"),
        ({"contents": [{"parts": [{"functionCall": {"name": "f"}}]}]}, "contents[0]"),
        (
            {"contents": [{"role": "model", "parts": [{"functionCall": {}}]}]},
            "contents[0].parts[0].functionCall.name",
        ),
        (
            {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": "x"}}]}]},
            "contents[0].parts[0].functionCall.args",
        ),
        (
            {"contents": [{"role": "model", "parts": [{"text": "a"}, {"functionResponse": {"name": "f"}}]}]},
            "contents[0]",
        ),
        ({"contents": "x", "systemInstruction": 5}, "systemInstruction[0]"),
        (
            {"contents": "x", "systemInstruction": {"parts": [{"functionCall": {"name": "f"}}]}},
            "systemInstruction.parts[0]",
        ),
        ({"contents": "x", "tools": [None]}, "tools[0]"),
        (
            {"contents": "x", "tools": [{"functionDeclarations": [{}]}]},
            "tools[0].functionDeclarations[0].name",
        ),
        (
            {"contents": "x", "tools": [{"functionDeclarations": [{"name": "f", "parameters": 5}]}]},
            "tools[0].functionDeclarations[0].parameters",
        ),
        (
            {"contents": "x", "toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}},
            "toolConfig.functionCallingConfig.mode",
        ),
        ({"contents": "x", "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": "x", "generationConfig": {"topK": True}}, "generationConfig.topK"),
        ({"contents": "x", "generationConfig": {"stopSequences": [1]}}, "generationConfig.stopSequences[0]"),
        (
            {"contents": "x", "generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}},
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
    ],
)
def test_a_fault_names_its_place(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientFault, match=re.escape(param)) as raised:
        decode_request(body, model="m")
    assert (raised.value.status, raised.value.param) == (400, param)


_keys = st.sampled_from([
    "contents", "parts", "role", "text", "thought", "thoughtSignature", "functionCall", "function_response", "name", "id",
    "args", "response", "inlineData", "data", "mimeType", "fileData", "fileUri", "executableCode", "systemInstruction",
    "tools", "functionDeclarations", "parameters", "type", "properties", "items", "anyOf", "googleSearch",
    "excludeDomains", "toolConfig", "functionCallingConfig", "mode", "allowedFunctionNames", "generationConfig",
    "thinkingConfig", "thinkingLevel", "thinkingBudget", "topK", "stopSequences", "responseSchema", "responseMimeType",
])  # fmt: skip
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["user", "model", "x", "ANY", "OBJECT", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_keys, _json, max_size=5))
@settings(max_examples=200)
def test_any_object_is_a_request_or_a_clients_fault(body: dict[str, Any]) -> None:
    before = json.dumps(body)
    try:
        request = decode_request(body, model="m")
    except ClientFault:
        pass
    else:
        assert request.turns
    assert json.dumps(body) == before


# ---------------------------------------------------------------- real clients


def test_what_the_python_sdk_sends() -> None:
    """clients.md finding 19: google-genai mixes both spellings."""
    sent: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(
            200, json={"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
        )

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    sdk = genai.Client(api_key="test-key", http_options=types.HttpOptions(base_url="http://x.test", httpx_client=http))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    sdk.models.generate_content(
        model="gemini-3-pro",
        contents=[
            types.Content(
                role="user",
                parts=[types.Part(text="hi"), types.Part.from_bytes(data=b"\x89P", mime_type="image/png")],
            ),
            types.Content(
                role="model",
                parts=[
                    types.Part(
                        function_call=types.FunctionCall(id="1", name="f", args={"a": 1}),
                        thought_signature=b"sig",
                    )
                ],
            ),
            types.Content(
                role="user",
                parts=[
                    types.Part(function_response=types.FunctionResponse(id="1", name="f", response={"output": "ok"}))
                ],
            ),
        ],
        config=types.GenerateContentConfig(
            system_instruction="Be kind",
            tools=[
                types.Tool(
                    function_declarations=[
                        types.FunctionDeclaration(name="f", parameters_json_schema=schema),
                        types.FunctionDeclaration(
                            name="g",
                            parameters=types.Schema(
                                type=types.Type.OBJECT, properties={"a": types.Schema(type=types.Type.STRING)}
                            ),
                        ),
                    ]
                )
            ],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
            ),
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.HIGH),
            max_output_tokens=9,
            response_modalities=["TEXT"],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        ),
    )
    request = decode_request(sent[0], model="gemini-3-pro")
    assert request.turns == [
        Turn("user", [Text("hi"), Media("image", "image/png", data="iVA=")]),
        Turn("assistant", [ToolCall("1", "f", '{"a":1}', carrier=Carrier("gemini", "signature", "c2ln"))]),
        Turn("user", [ToolResult("1", [Text("ok")], name="f")]),
    ]
    assert request.system == [Text("Be kind")]
    assert request.tools == [
        Tool("f", schema=schema),
        Tool("g", schema={"type": "object", "properties": {"a": {"type": "string"}}}),
    ]
    assert request.tool_choice == ToolChoice("required")
    assert request.reasoning == ReasoningIntent("high", visible=True)
    assert request.sampling == Sampling(max_tokens=9)
    assert request.extras == {}
