"""The words of Chat Completions that its decoders and encoders share: endings, usage, reasoning, citations."""

from cliproxy.wire.fields import integer_of, object_of, objects, text_of
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import Carrier, Citation, FinishReason, Format, Json, Usage

FORMAT: Format = "openai-chat"

DONE = b"[DONE]"

# ---------------------------------------------------------------- endings

_FINISH_REASONS: dict[str, FinishReason] = {
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

_FINISH_WORDS: dict[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool": "tool_calls",
    "filter": "content_filter",
    "refusal": "stop",
    "pause": "stop",
}

FAILED_FINISHES = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
"""Finish reasons with which OpenRouter, SGLang, GLM and DeepSeek say that they broke off."""


def finish_reason(word: str | None, *, called: bool, refused: bool) -> FinishReason:
    """called, refused: the answer holds calls for the client, or words of refusal."""
    reason = _FINISH_REASONS.get(word or "stop", "stop")
    if reason in ("stop", "tool") and called:
        return "tool"
    if reason == "tool":
        return "stop"
    return "refusal" if refused and reason == "stop" else reason


def finish_word(reason: FinishReason, *, called: bool) -> str:
    """Clients run calls only after `tool_calls`, and must not be sent looking for what is not there."""
    if reason in ("stop", "tool"):
        return "tool_calls" if called else "stop"
    return _FINISH_WORDS[reason]


# ---------------------------------------------------------------- usage


def usage_of(counts: Json) -> Usage:
    """Chat counts cache reads and writes into the prompt; the model keeps the three apart."""
    details = object_of(counts, "prompt_tokens_details")
    read = _first(details, "cached_tokens")
    if read is None:
        read = _first(counts, "prompt_cache_hit_tokens", "cached_tokens")  # DeepSeek, Moonshot
    write = _first(details, "cache_write_tokens", "cached_creation_tokens", "cache_creation_tokens")
    prompt, output = integer_of(counts, "prompt_tokens"), integer_of(counts, "completion_tokens")
    reasoning = integer_of(object_of(counts, "completion_tokens_details"), "reasoning_tokens")
    # xAI and Gemini's compatibility layer leave reasoning out of completion_tokens, not out of the total.
    if reasoning and output is not None and integer_of(counts, "total_tokens") == (prompt or 0) + output + reasoning:
        output += reasoning
    fresh = None if prompt is None else max(0, prompt - (read or 0) - (write or 0))
    return Usage(fresh, read, write, output, reasoning)


def usage_json(usage: Usage) -> Json:
    """Every count, since clients demand them; what was not reported is 0."""
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


def _first(counts: Json, *keys: str) -> int | None:
    return next((count for key in keys if (count := integer_of(counts, key)) is not None), None)


# ---------------------------------------------------------------- reasoning

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where compatible servers put visible reasoning: DeepSeek, then OpenRouter. OpenAI has no place for it."""


def field_carrier(field: str) -> Carrier:
    """Marks reasoning as a chat upstream's own, given in `field`.

    There is no token to keep, but servers are at odds: DeepSeek and Kimi demand their reasoning back, Groq and
    Cerebras refuse a field that they do not know. So it goes back where it came from.
    """
    return Carrier(FORMAT, "signature", field)


def details_carrier(details: list[Json], *, visible: bool) -> Carrier:
    """OpenRouter's `reasoning_details`, whose signatures and encrypted parts must return as they were."""
    return Carrier(FORMAT, "signature" if visible else "encrypted", dumps_text(details))


def carried_details(carrier: Carrier | None) -> list[Json]:
    """The `reasoning_details` that a carrier of ours holds; none where it only names a field."""
    if carrier is None or carrier.origin != FORMAT or carrier.data in REASONING_FIELDS:
        return []
    try:
        return objects(loads(carrier.data))
    except ValueError:
        return []


def details_text(details: list[Json]) -> str:
    """What of `reasoning_details` can be read."""
    return "".join(text_of(detail, "text") or text_of(detail, "summary") for detail in details)


# ---------------------------------------------------------------- citations and tools


def citation_of(annotation: Json) -> Citation | None:
    """None for an annotation that is no citation."""
    source = object_of(annotation, "url_citation")
    if not source:
        return None
    return Citation(
        url=text_of(source, "url") or None,
        title=text_of(source, "title") or None,
        quote=text_of(source, "content") or None,
        start=integer_of(source, "start_index"),
        end=integer_of(source, "end_index"),
    )


def citation_json(citation: Citation, offset: int, end: int) -> Json | None:
    """offset, end: where the text that it belongs to stands in the content. Only web pages can be cited."""
    if citation.url is None:
        return None
    start = offset if citation.start is None else offset + citation.start
    end = end if citation.end is None else offset + citation.end
    source = {"url": citation.url, "title": citation.title or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": source}


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
