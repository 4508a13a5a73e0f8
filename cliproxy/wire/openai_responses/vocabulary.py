"""The words of the Responses API that its decoders and encoders share: endings, usage, citations, hosted tools."""

from cliproxy.wire.fields import integer_of, object_of, objects_of, text_of
from cliproxy.wire.model import (
    Citation,
    FinishReason,
    Format,
    Json,
    Media,
    Opaque,
    Part,
    ServerCall,
    ServerResult,
    Usage,
)

FORMAT: Format = "openai-responses"

# ---------------------------------------------------------------- endings

_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "filter"}


def finish_reason(status: str, response: Json, *, called: bool, refused: bool) -> tuple[FinishReason, str]:
    """The reason and the API's own word for it, of a response that is completed or incomplete.

    called, refused: the answer holds calls for the client, or words of refusal.
    """
    if status == "incomplete":
        reason = text_of(object_of(response, "incomplete_details"), "reason")
        return _INCOMPLETE.get(reason, "length"), reason or status
    if called:
        return "tool", status
    return ("refusal" if refused else "stop"), status


def finish_words(reason: FinishReason, *, refused: bool) -> tuple[str, str | None]:
    """The status of a response that ended well, and its `incomplete_details.reason`."""
    if reason == "length":
        return "incomplete", "max_output_tokens"
    if reason == "filter" or (reason == "refusal" and not refused):
        return "incomplete", "content_filter"
    return "completed", None


# ---------------------------------------------------------------- usage


def usage_of(counts: Json) -> Usage:
    """The API counts cache reads and writes as input; the model does not."""
    details = object_of(counts, "input_tokens_details")
    read, write = integer_of(details, "cached_tokens"), integer_of(details, "cache_write_tokens")
    total = integer_of(counts, "input_tokens")
    return Usage(
        input=None if total is None else max(0, total - (read or 0) - (write or 0)),
        cache_read=read,
        cache_write=write,
        output=integer_of(counts, "output_tokens"),
        reasoning=integer_of(object_of(counts, "output_tokens_details"), "reasoning_tokens"),
    )


def usage_json(usage: Usage) -> Json:
    """Every count, since clients demand them all; what was not reported is 0."""
    read, write, output = usage.cache_read or 0, usage.cache_write or 0, usage.output or 0
    total_input = (usage.input or 0) + read + write
    return {
        "input_tokens": total_input,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": total_input + output,
    }


# ---------------------------------------------------------------- reasoning and citations


def joined(texts: list[str]) -> str:
    """The parts of one summary as a single text."""
    return "\n\n".join(text for text in texts if text)


_ANNOTATION_KEYS: dict[str, str] = {
    "url_citation": "url",
    "file_citation": "file_id",
    "container_file_citation": "file_id",
    "file_path": "file_id",
}
"""Annotation types of this API, each with a member that other formats' annotations of that type lack."""


def citation_of(annotation: Json) -> Citation:
    return Citation(
        url=text_of(annotation, "url") or None,
        title=text_of(annotation, "title") or text_of(annotation, "filename") or None,
        start=integer_of(annotation, "start_index"),
        end=integer_of(annotation, "end_index"),
        raw=annotation,
    )


def citation_json(citation: Citation, text_length: int) -> Json | None:
    """None where the API has no annotation for it. A citation without a range is one of the whole text."""
    raw = citation.raw or {}
    key = _ANNOTATION_KEYS.get(text_of(raw, "type"))
    if key is not None and key in raw:
        return raw
    if citation.url is None:
        return None
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title or "",
        "start_index": citation.start or 0,
        "end_index": text_length if citation.end is None else citation.end,
    }


# ---------------------------------------------------------------- tools that run at OpenAI

_SERVER_TOOL_NAMES: dict[str, str] = {
    "web_search_2025_08_26": "web_search",
    "web_search_preview": "web_search",
    "web_search_preview_2025_03_11": "web_search",
    "code_interpreter": "code_execution",
}

_HOSTED_CALLS: dict[str, str] = {
    "web_search_call": "web_search",
    "code_interpreter_call": "code_execution",
    "file_search_call": "file_search",
    "mcp_call": "mcp",
}


def server_tool_name(kind: str) -> str:
    """The canonical name of a tool type; else that type."""
    return _SERVER_TOOL_NAMES.get(kind, kind)


def is_hosted(item_type: str) -> bool:
    return item_type in _HOSTED_CALLS or item_type == "image_generation_call"


def hosted_parts(item: Json) -> list[Part]:
    """What ran at the vendor, or anything else that has no typed place, as parts of the assistant's turn."""
    item_type = text_of(item, "type")
    if item_type == "image_generation_call" and text_of(item, "result"):
        return [Media("image", f"image/{text_of(item, 'output_format') or 'png'}", text_of(item, "result"))]
    name = _HOSTED_CALLS.get(item_type)
    if name is None:
        return [Opaque(FORMAT, item)]
    call = ServerCall(text_of(item, "id"), name, FORMAT, _hosted_input(item), item)
    sources = objects_of(object_of(item, "action"), "sources")
    if not sources:
        return [call]
    cited = [Citation(url=text_of(source, "url")) for source in sources]
    return [call, ServerResult(call.id, name, FORMAT, cited)]


def _hosted_input(item: Json) -> Json:
    action = object_of(item, "action")
    if action:
        return {key: value for key, value in action.items() if key not in ("type", "sources")}
    return {key: item[key] for key in ("code", "queries", "name", "arguments") if key in item}
