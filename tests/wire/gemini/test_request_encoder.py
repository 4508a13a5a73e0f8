"""cliproxy.wire.gemini.request_encoder: tools and settings, as Google's own types know them."""

from typing import Any

import pytest

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini import decode_request, encode_request
from cliproxy.wire.model import (
    CacheHint,
    Encoded,
    ModelFacts,
    OutputFormat,
    ReasoningIntent,
    Request,
    Sampling,
    ServerTool,
    Text,
    ThinkingFacts,
    Tool,
    ToolChoice,
    Turn,
)
from tests.wire.gemini.judge import check_request

PRO_25 = ModelFacts("gemini-2.5-pro", 65536, thinking=ThinkingFacts(128, 32768, zero_allowed=False), known=True)
FLASH_25 = ModelFacts("gemini-2.5-flash", 65536, thinking=ThinkingFacts(0, 24576), known=True)
PRO_3 = ModelFacts("gemini-3-pro-preview", thinking=ThinkingFacts(levels=("low", "high")), known=True)
OLD = ModelFacts("gemini-2.5-flash")
NEW = ModelFacts("gemini-3-flash-preview")
UNNAMED = ModelFacts("house-model")

SEARCH = ServerTool("web_search", "anthropic", {"type": "web_search_20250305"})


def write(facts: ModelFacts = OLD, **fields: Any) -> Encoded:
    fields = {"origin": "openai-chat", "model": "m", "turns": [Turn("user", [Text("hi")])]} | fields
    encoded = encode_request(Request(**fields), facts)
    check_request(encoded.body)
    return encoded


def dropped(encoded: Encoded, *fields: str) -> bool:
    return sorted(line.partition(":")[0] for line in encoded.dropped) == sorted(fields)


def test_the_path_says_the_model_and_the_stream() -> None:
    assert write(stream=True).body == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


RICH = {
    "systemInstruction": {"parts": [{"text": "Be kind"}, {"text": "Be brief"}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "a"},
                {"text": "b"},
                {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.test/a.pdf"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "files/x"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                {"text": "hm hm", "thought": True},
                {"text": "Let me look", "thoughtSignature": "c2ln"},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                {
                    "functionCall": {"id": "1", "name": "f", "args": {"a": [1, None]}},
                    "thoughtSignature": "c2ln",
                },
                {"functionCall": {"id": "2", "name": "fs.read", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "1", "name": "f", "response": {"a": {"b": 1}, "c": 2}}},
                {"functionResponse": {"id": "2", "name": "fs.read", "response": {"error": "gone"}}},
                {"text": "and now?"},
            ],
        },
    ],
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "description": "d",
                    "parametersJsonSchema": {"type": "object", "properties": {}},
                },
                {"name": "fs.read"},
            ]
        },
        {"googleSearch": {}},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "fs.read"]},
        "retrievalConfig": {"languageCode": "no"},
    },
    "generationConfig": {
        "maxOutputTokens": 777,
        "temperature": 0,
        "topP": 0.5,
        "topK": 5,
        "stopSequences": ["x"],
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 3,
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
        "responseModalities": ["TEXT", "IMAGE"],
        "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True},
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "speechConfig": {"languageCode": "no"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    "cachedContent": "cachedContents/1",
    "labels": {"team": "a"},
    "serviceTier": "flex",
}


def test_what_gemini_says_comes_out_as_it_went_in() -> None:
    encoded = encode_request(decode_request(RICH, model="m"), NEW)
    check_request(encoded.body)
    assert encoded == Encoded(RICH)


# ---------------------------------------------------------------- tools


def test_schemas_go_as_json_schema() -> None:
    """class 11: number enums, null types, references and a property named like a keyword all stay."""
    schema = {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"]},
            "level": {"type": "integer", "enum": [1, 2]},
            "at": {"$ref": "#/$defs/Point"},
        },
        "$defs": {"Point": {"type": "object", "additionalProperties": False}},
    }
    (entry,) = write(tools=[Tool("f", "d", schema), Tool("g")]).body["tools"]
    assert entry["functionDeclarations"] == [
        {"name": "f", "description": "d", "parametersJsonSchema": schema},
        {"name": "g"},
    ]


def test_a_union_at_the_root_becomes_an_object() -> None:
    schema = {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"properties": {"b": {}}}]}
    (entry,) = write(tools=[Tool("f", schema=schema)]).body["tools"]
    sent = entry["functionDeclarations"][0]["parametersJsonSchema"]
    assert (sent["type"], set(sent["properties"])) == ("object", {"a", "b"})
    assert "anyOf" not in sent


def test_names_are_made_legal_and_can_be_restored() -> None:
    long = "mcp__server__" + "x" * 80
    choice = ToolChoice("named", ["a b"])
    encoded = write(tools=[Tool("a b"), Tool("9x"), Tool(long), Tool("fs.read-it:now")], tool_choice=choice)
    names = [declared["name"] for declared in encoded.body["tools"][0]["functionDeclarations"]]
    assert names[:2] + names[3:] == ["a_b", "_9x", "fs.read-it:now"]
    assert len(names[2]) <= 64
    assert encoded.names == {"a_b": "a b", "_9x": "9x", names[2]: long}
    assert encoded.body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["a_b"]


def test_a_custom_tool_is_a_function_of_one_string() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    (entry,) = write(tools=[Tool("exec", "Runs code", kind="custom", grammar=grammar)]).body["tools"]
    (declared,) = entry["functionDeclarations"]
    assert declared["parametersJsonSchema"]["required"] == ["input"]
    assert declared["description"].startswith("Runs code\n")
    assert declared["description"].endswith("start: /x/")


def test_two_tools_of_one_name_are_declared_once() -> None:
    encoded = write(tools=[Tool("f", "one"), Tool("f", "two")])
    assert [d["description"] for d in encoded.body["tools"][0]["functionDeclarations"]] == ["one"]
    assert dropped(encoded, "tools.f")


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("named", ["f"]), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            ToolChoice("allowed", ["f", "g"], required=True),
            {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
        ),
        (ToolChoice("named", ["web_search"]), None),
    ],
)
def test_tool_choice(choice: ToolChoice | None, config: Any) -> None:
    body = write(tools=[Tool("f"), Tool("g")], tool_choice=choice).body
    assert body.get("toolConfig", {}).get("functionCallingConfig") == config


def test_a_free_choice_among_some_declares_only_those() -> None:
    body = write(tools=[Tool("f"), Tool("g"), Tool("h")], tool_choice=ToolChoice("allowed", ["f", "h"])).body
    assert [declared["name"] for declared in body["tools"][0]["functionDeclarations"]] == ["f", "h"]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}


def test_a_choice_without_functions_is_not_sent() -> None:
    assert "toolConfig" not in write(tool_choice=ToolChoice("required")).body


@pytest.mark.parametrize(
    ("name", "entry"),
    [("web_search", "googleSearch"), ("web_fetch", "urlContext"), ("code_execution", "codeExecution")],
)
def test_server_tools(name: str, entry: str) -> None:
    encoded = write(tools=[ServerTool(name, "openai-responses", {"type": name})])
    assert encoded.body["tools"] == [{entry: {}}]
    assert not encoded.dropped


@pytest.mark.parametrize("facts", [OLD, NEW])
def test_a_search_beside_functions_gives_way(facts: ModelFacts) -> None:
    """class 25: old models refuse the mix, new ones want back parts that other clients cannot hold."""
    encoded = write(facts, tools=[SEARCH, Tool("f")])
    assert encoded.body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert dropped(encoded, "tools.web_search")


def test_limits_of_a_search_are_recorded() -> None:
    tool = ServerTool("web_search", "anthropic", {}, ["a.test"], ["b.test"], {"city": "Oslo"}, 3)
    fields = ("allowed_domains", "blocked_domains", "user_location", "max_uses")
    assert dropped(write(tools=[tool]), *(f"tools.web_search.{field}" for field in fields))


def test_a_tool_of_another_vendor_is_recorded() -> None:
    encoded = write(tools=[ServerTool("bash", "anthropic", {"type": "bash_20250124"}), Tool("f")])
    assert encoded.body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert dropped(encoded, "tools.bash")


# ---------------------------------------------------------------- settings


def test_sampling() -> None:
    sampling = Sampling(100_000, 0, 0.9, 40, [*"abcdef", ""], 2**31 + 5, 0.5, -0.5, 1, True, 5)
    encoded = write(PRO_25, sampling=sampling)
    assert encoded.body["generationConfig"] == {
        "maxOutputTokens": 65536,
        "temperature": 0,
        "topP": 0.9,
        "topK": 40,
        "stopSequences": ["a", "b", "c", "d", "e"],
        "seed": 5,
        "presencePenalty": 0.5,
        "frequencyPenalty": -0.5,
    }
    assert dropped(encoded, "max_tokens", "stop", "logprobs")


THINKING: list[tuple[ModelFacts, ReasoningIntent, Any]] = [
    (PRO_25, ReasoningIntent("low"), {"thinkingBudget": 1024, "includeThoughts": True}),
    (PRO_25, ReasoningIntent("max"), {"thinkingBudget": 32768, "includeThoughts": True}),
    (PRO_25, ReasoningIntent("none"), {"thinkingBudget": 128, "includeThoughts": False}),
    (PRO_25, ReasoningIntent(adaptive=True), {"thinkingBudget": -1, "includeThoughts": True}),
    (FLASH_25, ReasoningIntent(budget=0), {"thinkingBudget": 0}),
    (FLASH_25, ReasoningIntent("high", visible=False), {"thinkingBudget": 24576, "includeThoughts": False}),
    (FLASH_25, ReasoningIntent(visible=True), {"includeThoughts": True}),
    (FLASH_25, ReasoningIntent(), None),
    (PRO_3, ReasoningIntent("medium"), {"thinkingLevel": "LOW", "includeThoughts": True}),
    (PRO_3, ReasoningIntent("xhigh"), {"thinkingLevel": "HIGH", "includeThoughts": True}),
    (PRO_3, ReasoningIntent(budget=20000, visible=True), {"thinkingLevel": "HIGH", "includeThoughts": True}),
    (PRO_3, ReasoningIntent("none"), {"thinkingLevel": "LOW"}),
    (NEW, ReasoningIntent("minimal"), {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
    (NEW, ReasoningIntent("max"), {"thinkingLevel": "HIGH", "includeThoughts": True}),
    (NEW, ReasoningIntent("none"), {"thinkingLevel": "LOW"}),
    (OLD, ReasoningIntent("high"), {"thinkingBudget": 24576, "includeThoughts": True}),
    (OLD, ReasoningIntent("none"), {"thinkingBudget": 0}),
    (UNNAMED, ReasoningIntent(adaptive=True), {"thinkingBudget": -1, "includeThoughts": True}),
    (ModelFacts("gemini-2.0-flash", known=True), ReasoningIntent("high"), None),
]


@pytest.mark.parametrize(("facts", "intent", "config"), THINKING)
def test_thinking(facts: ModelFacts, intent: ReasoningIntent, config: Any) -> None:
    """class 3: a budget for models of budgets, a level for models of levels, never both."""
    body = write(facts, reasoning=intent).body
    assert body.get("generationConfig", {}).get("thinkingConfig") == config


def test_a_level_above_high_is_sent_where_the_model_has_it() -> None:
    facts = ModelFacts("gemini-9-pro", thinking=ThinkingFacts(levels=("low", "high", "xhigh")), known=True)
    body = write(facts, reasoning=ReasoningIntent("xhigh")).body
    assert body["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "XHIGH"


def test_a_gemini_client_is_told_of_a_budget_out_of_range() -> None:
    with pytest.raises(ClientFault, match="128 to 32768"):
        write(PRO_25, origin="gemini", reasoning=ReasoningIntent(budget=99999))


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("output", "config"),
    [
        (OutputFormat("text"), {}),
        (OutputFormat("json_object"), {"responseMimeType": "application/json"}),
        (
            OutputFormat("json_schema", "n", schema=SCHEMA),
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
    ],
)
def test_output_format(output: OutputFormat, config: Any) -> None:
    assert write(output=output).body.get("generationConfig", {}) == config


def test_json_beside_functions_is_an_instruction_to_old_models() -> None:
    output = OutputFormat("json_schema", schema=SCHEMA)
    encoded = write(OLD, output=output, tools=[Tool("f")], system=[Text("Be kind")])
    said, instruction = (part["text"] for part in encoded.body["systemInstruction"]["parts"])
    assert said == "Be kind"
    assert '"a":{"type":"string"}' in instruction
    assert "generationConfig" not in encoded.body
    assert dropped(encoded, "response_format")
    assert "responseJsonSchema" in write(NEW, output=output, tools=[Tool("f")]).body["generationConfig"]


@pytest.mark.parametrize(("words", "sent"), [(["text"], None), (["text", "image"], ["TEXT", "IMAGE"])])
def test_modalities(words: list[str], sent: Any) -> None:
    assert write(modalities=words).body.get("generationConfig", {}).get("responseModalities") == sent


@pytest.mark.parametrize(
    ("tier", "sent", "lost"),
    [
        ("flex", "flex", ()),
        ("priority", "priority", ()),
        ("auto", None, ()),
        ("scale", None, ("service_tier",)),
    ],
)
def test_service_tier(tier: str, sent: str | None, lost: tuple[str, ...]) -> None:
    encoded = write(service_tier=tier)
    assert encoded.body.get("serviceTier") == sent
    assert dropped(encoded, *lost)


def test_what_gemini_cannot_say_is_recorded_once() -> None:
    encoded = write(
        user="u",
        metadata={"a": "b"},
        verbosity="low",
        cache_key="k",
        store=True,
        parallel_calls=False,
        extras={"top_a": 1},
        system=[Text("a", cache=CacheHint()), Text("b", cache=CacheHint())],
        tools=[Tool("f", strict=True, cache=CacheHint()), Tool("g", strict=True)],
    )
    assert dropped(
        encoded,
        "user",
        "metadata",
        "verbosity",
        "prompt_cache_key",
        "store",
        "parallel_tool_calls",
        "top_a",
        "cache_control",
        "tools.strict",
    )
