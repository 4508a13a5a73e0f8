"""The words of Chat Completions that its decoders and encoders share: finish reasons, usage, reasoning."""

from typing import Any, cast

from msgspec import Struct

from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import Carrier, FinishReason, Format, Json, Usage

FORMAT: Format = "openai-chat"

DONE = b"[DONE]"

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "tool",
    "function_call": "tool",
    "length": "length",
    "content_filter": "filter",
    # Words of compatible servers (Mistral, GLM, Gemini's and Anthropic's compatibility layers).
    "max_tokens": "length",
    "model_length": "length",
    "safety": "filter",
    "sensitive": "filter",
    # Anthropic's word for a classifier that cut the answer off, not for the model's own words.
    "refusal": "filter",
}
"""Any other word is taken for `stop`."""

FAILED_FINISHES = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
"""Finish reasons with which OpenRouter, SGLang, GLM and DeepSeek say that they broke off."""

FINISH_WORDS: dict[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool": "tool_calls",
    "filter": "content_filter",
    "refusal": "stop",
    "pause": "stop",
}

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where compatible servers put visible reasoning: DeepSeek, then OpenRouter. OpenAI has no place for it."""


def field_carrier(field: str) -> Carrier:
    """Marks reasoning as a chat upstream's own, given in `field`.

    There is no token to keep, but servers are at odds: DeepSeek and Kimi demand their reasoning back, Groq
    and Cerebras refuse a field that they do not know. So it goes back where it came from.
    """
    return Carrier(FORMAT, "signature", field)


def details_carrier(details: list[Json], visible: bool) -> Carrier:
    """OpenRouter's `reasoning_details`, whose signatures and encrypted parts must return as they were."""
    return Carrier(FORMAT, "signature" if visible else "encrypted", dumps_text(details))


def carried_details(carrier: Carrier | None) -> list[Json]:
    """The `reasoning_details` that a carrier of ours holds; none where it only names a field."""
    if carrier is None or carrier.origin != FORMAT or carrier.data in REASONING_FIELDS:
        return []
    try:
        details = loads(carrier.data)
    except (ValueError, RecursionError):
        return []
    return objects(details)


def objects(value: Any) -> list[Json]:
    """The objects of a list that is no part of OpenAI's format; none of anything else."""
    if not isinstance(value, list):
        return []
    return [cast("Json", entry) for entry in cast("list[Any]", value) if isinstance(entry, dict)]


def details_text(details: list[Json]) -> str:
    """What of `reasoning_details` can be read."""
    words = [detail.get("text") or detail.get("summary") for detail in details]
    return "".join(word for word in words if isinstance(word, str))


class PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cached_creation_tokens: int | None = None
    cache_creation_tokens: int | None = None


class CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class WireUsage(Struct):
    """`usage` as OpenAI and the compatible servers send it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek."""
    cached_tokens: int | None = None
    """Moonshot."""


def decode_usage(wire: WireUsage) -> Usage:
    """Chat counts cache reads and writes into the prompt; the model keeps the three apart."""
    details = wire.prompt_tokens_details or PromptDetails()
    read = _first(details.cached_tokens, wire.prompt_cache_hit_tokens, wire.cached_tokens)
    write = _first(details.cache_write_tokens, details.cached_creation_tokens, details.cache_creation_tokens)
    fresh = wire.prompt_tokens
    if fresh is not None:
        fresh = max(0, fresh - (read or 0) - (write or 0))
    reasoning = wire.completion_tokens_details.reasoning_tokens if wire.completion_tokens_details else None
    output, prompt = wire.completion_tokens, wire.prompt_tokens or 0
    # xAI and Gemini's compatibility layer leave reasoning out of completion_tokens, not out of the total.
    if reasoning and output is not None and wire.total_tokens == prompt + output + reasoning:
        output += reasoning
    return Usage(fresh, read, write, output, reasoning)


def encode_usage(usage: Usage) -> Json:
    prompt = (usage.input or 0) + (usage.cache_read or 0) + (usage.cache_write or 0)
    completion = usage.output or 0
    details: Json = {"cached_tokens": usage.cache_read or 0}
    if usage.cache_write is not None:
        details["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
    }


def is_reported(usage: Usage) -> bool:
    return any(getattr(usage, name) is not None for name in Usage.__struct_fields__)


def server_tool_name(word: str) -> str:
    """The canonical name of a vendor-side tool that calls itself `word`; else that word."""
    plain = word.lower().replace("_", "").rpartition(":")[2]
    if plain.startswith(("websearch", "googlesearch")):
        return "web_search"
    if plain.startswith(("webfetch", "urlcontext")):
        return "web_fetch"
    if plain.startswith(("codeexecution", "codeinterpreter")):
        return "code_execution"
    return word


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
