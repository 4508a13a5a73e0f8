"""The words of the Messages API that its decoders and encoders share: endings, usage, tokens, citations, tools."""

import re

from cliproxy.wire import envelope
from cliproxy.wire.fields import integer_of, object_of, objects_of, text_of
from cliproxy.wire.model import (
    Carrier,
    Citation,
    FinishReason,
    Format,
    Json,
    Reasoning,
    ServerCall,
    ServerResult,
    Usage,
)

FORMAT: Format = "anthropic"

NAME_LIMIT = 128
ID_LIMIT = 64
"""Bedrock's limit for ids of calls; Anthropic itself states none."""
NAME_CHARS = "a-zA-Z0-9_-"
"""Characters of a tool's name and of an id, as the inside of a regex class."""

THINKING_TYPES = ("thinking", "redacted_thinking")

# ---------------------------------------------------------------- endings

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "pause_turn": "pause",
    # What this API calls a refusal is a classifier that cut the answer off, not the model's own words.
    "refusal": "filter",
    "sensitive": "filter",
}

_FINISH_WORDS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool": "tool_use",
    "filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}


def finish_reason(word: str | None, *, called: bool) -> FinishReason:
    """called: the answer holds a call for the client, which some upstreams end with `end_turn`."""
    reason = _FINISH_REASONS.get(word or "", "stop")
    return "tool" if called and reason == "stop" else reason


def finish_word(reason: FinishReason, *, called: bool) -> str:
    """Clients run calls only after `tool_use`, and wait for ever when it comes without one."""
    if reason in ("stop", "tool"):
        return "tool_use" if called else "end_turn"
    return _FINISH_WORDS[reason]


# ---------------------------------------------------------------- usage


def usage_of(counts: Json) -> Usage:
    return Usage(
        input=integer_of(counts, "input_tokens"),
        cache_read=integer_of(counts, "cache_read_input_tokens"),
        cache_write=integer_of(counts, "cache_creation_input_tokens"),
        output=integer_of(counts, "output_tokens"),
        reasoning=integer_of(object_of(counts, "output_tokens_details"), "thinking_tokens"),
    )


def usage_json(usage: Usage) -> Json:
    """Every count that clients demand as an integer; what was not reported is 0."""
    counts: Json = {
        "input_tokens": usage.input or 0,
        "cache_creation_input_tokens": usage.cache_write or 0,
        "cache_read_input_tokens": usage.cache_read or 0,
        "output_tokens": usage.output or 0,
    }
    if usage.reasoning is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return counts


# ---------------------------------------------------------------- reasoning


def thinking_part(block: Json) -> Reasoning:
    """A thinking block, whose signature may be another format's token in an envelope."""
    signature = text_of(block, "signature")
    carrier = None
    if signature:
        carrier = envelope.unseal(signature) or Carrier(FORMAT, "signature", signature)
    return Reasoning(text_of(block, "thinking"), carrier)


def redacted_part(block: Json) -> Reasoning:
    data = text_of(block, "data")
    return Reasoning("", envelope.unseal(data) or Carrier(FORMAT, "redacted", data))


def slot_text(carrier: Carrier) -> str:
    """What stands in a client's `signature` or `data` for a token of whatever origin."""
    return carrier.data if carrier.origin == FORMAT else envelope.seal(carrier)


# ---------------------------------------------------------------- citations

_FOREIGN_INDEX = envelope.seal(Carrier("openai-responses", "encrypted", ""))
"""Citations do not know their origin; any foreign one marks them as none of Anthropic's."""

_CITATION_TYPES = frozenset({
    "char_location", "page_location", "content_block_location", "search_result_location", "web_search_result_location",
})  # fmt: skip


def citation_of(location: Json) -> Citation:
    """This API's citations have no place in the text: each is one of its whole block."""
    source = text_of(location, "url") or text_of(location, "source")
    sealed = envelope.unseal(text_of(location, "encrypted_index"))
    return Citation(
        url=source if source.startswith(("http://", "https://")) else None,
        title=text_of(location, "title") or text_of(location, "document_title") or None,
        quote=text_of(location, "cited_text") or None,
        raw=location if sealed is None else None,
    )


def own_citation(citation: Citation) -> Json | None:
    """The citation as this API said it, or None when another did."""
    raw = citation.raw
    return raw if raw is not None and text_of(raw, "type") in _CITATION_TYPES else None


def citation_json(citation: Citation) -> Json | None:
    """A citation for a client; None where there is no web address to show."""
    own = own_citation(citation)
    if own is not None or citation.url is None:
        return own
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "cited_text": citation.quote or "",
        "encrypted_index": _FOREIGN_INDEX,
    }


# ---------------------------------------------------------------- tools that run at Anthropic

_VERSION = re.compile(r"_\d{8}$")


def server_tool_name(kind: str) -> str:
    """The canonical name of a tool type: `web_search_20250305` → `web_search`."""
    return _VERSION.sub("", kind)


def server_call(block: Json, input: Json) -> ServerCall:
    """A `server_tool_use` or `mcp_tool_use` block."""
    return ServerCall(text_of(block, "id"), text_of(block, "name"), FORMAT, input, {**block, "input": input})


def server_result(block: Json) -> ServerResult:
    """A `…_tool_result` block of a tool that ran at the vendor."""
    name = text_of(block, "type").removesuffix("_tool_result")
    found = objects_of(block, "content") or [object_of(block, "content")]
    sources = [
        Citation(url=text_of(source, "url"), title=text_of(source, "title") or None)
        for source in found
        if text_of(source, "url")
    ]
    return _as_sealed(ServerResult(text_of(block, "tool_use_id"), name, FORMAT, sources, block), found)


def _as_sealed(result: ServerResult, found: list[Json]) -> ServerResult:
    """The same result, of its true origin, when this codec made its block for a client."""
    seals = (envelope.unseal(text_of(source, "encrypted_content")) for source in found)
    origin: Format | None = next((seal.origin for seal in seals if seal is not None), None)
    return result if origin is None else ServerResult(result.id, result.name, origin, result.sources)


def search_result_json(result: ServerResult, id: str) -> Json:
    """Another format's web search as this API's block, marked to be known again when it comes back."""
    mark = envelope.seal(Carrier(result.origin, "encrypted", ""))
    content = [
        {
            "type": "web_search_result",
            "url": source.url,
            "title": source.title or source.url,
            "encrypted_content": mark,
            "page_age": None,
        }
        for source in result.sources
        if source.url
    ]
    return {"type": "web_search_tool_result", "tool_use_id": id, "content": content}
