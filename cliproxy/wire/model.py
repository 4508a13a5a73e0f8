"""The one model between the four formats: types only, no logic.

It is shaped as the union of what the formats can say. A request is instructions, turns of ordered parts,
tools and settings; an answer is a sequence of events, or the parts that those events add up to. Whatever
has no typed place here travels as `Opaque` with its origin, and is written again only to that origin.

None always means "not said": an encoder then says nothing either, unless its format demands a value.
"""

from typing import Any, Literal

from msgspec import Struct, field

from cliproxy.wire.errors import GatewayError

Format = Literal["openai-chat", "openai-responses", "anthropic", "gemini"]
FORMATS: tuple[Format, ...] = ("openai-chat", "openai-responses", "anthropic", "gemini")

Json = dict[str, Any]
"""A JSON object as decoded: str keys; values are None, bool, int, float, str, list, dict."""

# ---------------------------------------------------------------- parts of a turn


class CacheHint(Struct):
    """Asks to cache the prompt up to here (Anthropic `cache_control`)."""

    ttl: str | None = None
    """`5m`, `1h`, or None for the vendor's default."""


class Carrier(Struct, frozen=True):
    """An opaque token that only its origin understands, to be returned to it byte for byte."""

    origin: Format
    kind: Literal["signature", "redacted", "encrypted"]
    """`signature`: belongs to visible content. `redacted`/`encrypted`: stands for content that is not visible."""
    data: str
    id: str | None = None
    """The item id that must go with it (Responses `rs_…`)."""


class Citation(Struct):
    """A source of a stretch of text."""

    url: str | None = None
    title: str | None = None
    quote: str | None = None
    """The cited text of the source."""
    start: int | None = None
    end: int | None = None
    """Where it applies: indexes of characters in the text of the part it belongs to."""
    raw: Json | None = None
    """As the origin said it, for that origin only."""


class Text(Struct):
    text: str
    citations: list[Citation] = field(default_factory=list)
    carrier: Carrier | None = None
    cache: CacheHint | None = None


class Refusal(Struct):
    """The model's own words of refusal."""

    text: str


class Media(Struct):
    """An image, document, sound or film; exactly one of data, url, file_id, text is given."""

    kind: Literal["image", "document", "audio", "video"]
    mime: str | None = None
    data: str | None = None
    """Base64, without a `data:` prefix."""
    url: str | None = None
    file_id: str | None = None
    """An upload at the origin's provider; means nothing elsewhere."""
    text: str | None = None
    """A plain-text document's content."""
    name: str | None = None
    """File name or title."""
    detail: str | None = None
    """OpenAI's resolution hint."""
    origin: Format | None = None
    """Set when `file_id` or `url` is only understood there."""
    cache: CacheHint | None = None


class ToolCall(Struct):
    """The model calls a tool of the client."""

    id: str
    """May be empty where the origin gives none (Gemini); history repair fills it in."""
    name: str
    arguments: str
    """JSON text of an object for a function; the raw input for a custom (freeform) tool."""
    kind: Literal["function", "custom"] = "function"
    namespace: str | None = None
    carrier: Carrier | None = None
    cache: CacheHint | None = None


class ToolResult(Struct):
    """What came of a call: text and media parts."""

    id: str
    parts: list["Text | Media | Opaque"]
    name: str | None = None
    is_error: bool = False
    kind: Literal["function", "custom"] = "function"
    cache: CacheHint | None = None


class Reasoning(Struct):
    """The model's reasoning: visible text, the token that proves or encrypts it, or both."""

    text: str = ""
    carrier: Carrier | None = None


class ServerCall(Struct):
    """A tool that ran at the vendor (web search, code execution …); the client has nothing to do."""

    id: str
    name: str
    """Canonical: `web_search`, `web_fetch`, `code_execution`, else the origin's own word."""
    origin: Format
    input: Json = field(default_factory=dict)
    raw: Json | None = None


class ServerResult(Struct):
    """What a vendor-side tool found."""

    id: str
    name: str
    origin: Format
    sources: list[Citation] = field(default_factory=list)
    raw: Json | None = None


class Opaque(Struct):
    """Anything without a typed place; written only to its origin."""

    origin: Format
    raw: Json


Part = Text | Refusal | Media | ToolCall | ToolResult | Reasoning | ServerCall | ServerResult | Opaque

# ---------------------------------------------------------------- request

Role = Literal["user", "assistant", "system"]


class Turn(Struct):
    """One speaker's consecutive parts. `system` turns stand where the client put them, after the first turn."""

    role: Role
    parts: list[Part]


class Tool(Struct):
    """A tool that the client runs."""

    name: str
    description: str | None = None
    schema: Json | None = None
    """JSON Schema of the arguments; None where none was given."""
    strict: bool | None = None
    kind: Literal["function", "custom"] = "function"
    grammar: Json | None = None
    """A custom tool's `format` object."""
    namespace: str | None = None
    deferred: bool = False
    cache: CacheHint | None = None
    extras: Json = field(default_factory=dict)
    """The origin's fields without a typed place, by their own names, for that origin only."""


class ServerTool(Struct):
    """A tool that the vendor runs."""

    name: str
    """Canonical: `web_search`, `web_fetch`, `code_execution`, else the origin's own word."""
    origin: Format
    raw: Json
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    location: Json | None = None
    """Approximate user location: city, region, country, timezone."""
    max_uses: int | None = None


class ToolChoice(Struct):
    mode: Literal["auto", "none", "required", "named", "allowed"]
    names: list[str] = field(default_factory=list)
    """`named`: the one; `allowed`: the ones that may be called."""
    required: bool = False
    """With `allowed`: one of them must be called."""


class Sampling(Struct):
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    candidates: int | None = None
    """How many answers (`n`, `candidateCount`)."""
    logprobs: bool | None = None
    top_logprobs: int | None = None


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class ReasoningIntent(Struct):
    """How much the client wants the model to think, and how much of it the client wants to see."""

    effort: Effort | None = None
    """A named level; `none` switches reasoning off."""
    budget: int | None = None
    """Tokens; 0 switches reasoning off, -1 lets the model decide."""
    adaptive: bool = False
    """The model decides when to think (Anthropic `adaptive`); may go with an effort."""
    visible: bool | None = None
    """Wants summaries or thoughts in the answer; None: not said."""
    summary: str | None = None
    """OpenAI's kind of summary: `auto`, `concise`, `detailed`."""


class OutputFormat(Struct):
    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: Json | None = None
    strict: bool | None = None


class Request(Struct):
    """What a client asks, whatever its format.

    `raw` is the decoded body as it came (for what an answer must echo); `extras` are its top-level fields
    without a typed place, by their own names: an encoder of another format records them as dropped.
    """

    origin: Format
    model: str
    turns: list[Turn]
    system: list[Text | Media | Opaque] = field(default_factory=list)
    """Instructions given before the conversation, in order."""
    tools: list[Tool | ServerTool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_calls: bool | None = None
    sampling: Sampling = field(default_factory=Sampling)
    reasoning: ReasoningIntent | None = None
    output: OutputFormat | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    """Lower-case: `text`, `image`, `audio`."""
    stream: bool = False
    include_usage: bool = True
    """False only for a chat stream that did not ask for usage."""
    user: str | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    cache_key: str | None = None
    """OpenAI `prompt_cache_key`."""
    store: bool | None = None
    previous_response_id: str | None = None
    extras: Json = field(default_factory=dict)
    raw: Json = field(default_factory=dict)


class ThinkingFacts(Struct, frozen=True):
    """What a model's reasoning can be set to. Source: the model registry or the config's `thinking`."""

    min: int | None = None
    max: int | None = None
    """Budget limits in tokens; None where the model takes no budget."""
    zero_allowed: bool = True
    dynamic_allowed: bool = True
    levels: tuple[Effort, ...] = ()
    """Named levels; empty where the model takes none."""


class ModelFacts(Struct, frozen=True):
    """What is known of the upstream model."""

    name: str
    """As the upstream calls it."""
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    thinking: ThinkingFacts | None = None
    """None: not known (`known` False) or no reasoning (`known` True)."""
    input_modalities: tuple[str, ...] | None = None
    known: bool = False
    """The registry has an entry; otherwise the request's own settings pass with plain conversion."""


class Encoded(Struct):
    """A request in its target format."""

    body: Json
    dropped: list[str] = field(default_factory=list)
    """What the target cannot say, each as `field: reason` in the client's own words."""
    names: dict[str, str] = field(default_factory=dict)
    """Tool names as sent → as the client knows them, where they differ."""


# ---------------------------------------------------------------- answer


class Usage(Struct):
    """Tokens; None = not reported. Total input = input + cache_read + cache_write."""

    input: int | None = None
    """Fresh input, without cache reads and writes."""
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    """All output, reasoning included."""
    reasoning: int | None = None
    """The part of `output` that was reasoning."""


FinishReason = Literal["stop", "stop_sequence", "length", "tool", "filter", "refusal", "pause"]


class Start(Struct):
    """First event, once."""

    id: str = ""
    model: str = ""
    created_s: int | None = None
    usage: Usage | None = None


class PartStart(Struct):
    """A part begins, with what is known of it: text so far (usually empty), or the whole part (media, opaque)."""

    index: int
    part: Part


class Delta(Struct):
    """More of an open part: text of Text, Reasoning and Refusal; arguments of ToolCall."""

    index: int
    text: str


class Signed(Struct):
    """The opaque token of an open part."""

    index: int
    carrier: Carrier


class Cited(Struct):
    """A source of an open Text part."""

    index: int
    citation: Citation


class PartEnd(Struct):
    index: int


class UsageReport(Struct):
    """Counts so far; later ones win field by field, None changes nothing."""

    usage: Usage


class Finish(Struct):
    """Last event of an answer that ended well, once; all parts are closed."""

    reason: FinishReason
    stop_sequence: str | None = None
    raw: str | None = None
    """The origin's own word."""


class Failure(Struct):
    """Last event of an answer that did not end well; parts may be open."""

    error: GatewayError


Event = Start | PartStart | Delta | Signed | Cited | PartEnd | UsageReport | Finish | Failure
"""Grammar: Start, then parts (PartStart, any of Delta/Signed/Cited, PartEnd; several may be open at once,
indexes rise from 0) with UsageReport anywhere between, then Finish or Failure."""


class Answer(Struct):
    """What the events of an answer add up to."""

    id: str = ""
    model: str = ""
    created_s: int | None = None
    parts: list[Part] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    finish: FinishReason = "stop"
    stop_sequence: str | None = None
    raw_finish: str | None = None
