"""Keeps other vendors' reasoning tokens out of a request that passes to an upstream of the client's own format.

A client carries what another vendor answered in an earlier turn, with its tokens in the gateway's envelope. Its own
vendor would refuse those. A translated request does not need this: its decoder opens the envelopes.
"""

from collections.abc import Callable
from typing import Any, cast

from cliproxy.wire import json
from cliproxy.wire.anthropic.vocabulary import THINKING_TYPES
from cliproxy.wire.envelope import holds_sealed, unseal
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.gemini.conversation_encoder import fill_in_signatures
from cliproxy.wire.gemini.vocabulary import generation
from cliproxy.wire.model import Format, Json
from cliproxy.wire.openai_responses.summary import told

_FIRST_GEMINI_THAT_CHECKS_CALLS = 3


def without_sealed(format: Format, body: bytes, model: str = "") -> bytes:
    """A request's body without envelopes: the same bytes when it holds none.

    What is in them goes back into its slot when it is of `format` itself, else the slot goes, with what is nothing
    without it. model: the upstream's name for it, where the body has none.
    """
    clean = _CLEANERS.get(format)
    if clean is None or not holds_sealed(body):
        return body
    try:
        request = json.loads_object(body, "the body")
    except ValueError:
        return body
    return json.dumps(request) if clean(request, model) else body


def _opened(item: Json, slot: str, format: Format) -> Json | None:
    """The item with its own token in the slot, or None when the token is another vendor's."""
    carrier = unseal(text_of(item, slot))
    if carrier is None:
        return item
    return {**item, slot: carrier.data} if carrier.origin == format else None


def _replaced(owner: Json, key: str, replace: Callable[[Json], Json | None]) -> bool:
    """Pass each object of the list `owner[key]` through `replace`, drop what becomes None. True when it changed."""
    before = owner.get(key)
    if not isinstance(before, list):
        return False
    after: list[Any] = []
    changed = False
    for entry in cast("list[Any]", before):
        new = replace(cast("Json", entry)) if isinstance(entry, dict) else entry
        changed |= new is not entry
        if new is not None or entry is None:
            after.append(new)
    if changed:
        owner[key] = after
    return changed


# ---------------------------------------------------------------- Anthropic


def _clean_anthropic(request: Json, _: str) -> bool:
    messages = objects_of(request, "messages")
    searches = {
        text_of(block, "tool_use_id")
        for message in messages
        for block in objects_of(message, "content")
        if text_of(block, "type") == "web_search_tool_result"
        and any(unseal(text_of(found, "encrypted_content")) for found in objects_of(block, "content"))
    }

    def opened(block: Json) -> Json | None:
        match text_of(block, "type"):
            case "thinking":
                return _opened(block, "signature", "anthropic")
            case "redacted_thinking":
                return _opened(block, "data", "anthropic")
            case "server_tool_use":
                return None if text_of(block, "id") in searches else block
            case "web_search_tool_result":
                return None if text_of(block, "tool_use_id") in searches else block
            case "text":
                return _with_own_citations(block)
            case _:
                return block

    changed = [_replaced(message, "content", opened) for message in messages]
    if not any(changed):
        return False
    request["messages"] = [message for message in messages if message.get("content") != []]
    if not _may_think(request["messages"]):
        _without_thinking(request)
    return True


def _with_own_citations(block: Json) -> Json:
    copy = dict(block)
    sealed = _replaced(copy, "citations", lambda c: None if unseal(text_of(c, "encrypted_index")) else c)
    if not sealed:
        return block
    if not copy["citations"]:
        del copy["citations"]
    return copy


def _may_think(messages: list[Json]) -> bool:
    """Whether the assistant's turn in progress, back to where the user last spoke, begins with thinking.

    The API demands it of thinking with a budget; adaptive thinking is free of it.
    """
    first: Json | None = None
    for message in reversed(messages):
        blocks = objects_of(message, "content")
        if message.get("role") == "assistant":
            first = blocks[0] if blocks else {}
        elif all(text_of(block, "type") != "tool_result" for block in blocks):
            break
    return first is None or text_of(first, "type") in THINKING_TYPES


def _without_thinking(request: Json) -> None:
    """Switch thinking with a budget off, and what is refused without it."""
    if text_of(object_of(request, "thinking"), "type") != "enabled":
        return
    del request["thinking"]
    management = object_of(request, "context_management")
    if _replaced(
        management, "edits", lambda edit: None if text_of(edit, "type").startswith("clear_thinking") else edit
    ):
        request["context_management"] = management


# ---------------------------------------------------------------- Responses


def _clean_responses(request: Json, _: str) -> bool:
    return _replaced(request, "input", _opened_item)


def _opened_item(item: Json) -> Json | None:
    match text_of(item, "type"):
        case "reasoning":
            carrier = unseal(text_of(item, "encrypted_content"))
            if carrier is None:
                return item
            if carrier.origin != "openai-responses":
                return None
            own_id = {} if carrier.id is None else {"id": carrier.id}
            rest = {key: value for key, value in item.items() if key != "id"}
            return {**own_id, **rest, "encrypted_content": carrier.data}
        case "compaction":
            summary = told(text_of(item, "encrypted_content"))
            if summary is None:
                return item
            content = [{"type": "input_text", "text": summary}]
            return {"type": "message", "role": "user", "content": content}
        case _:
            return item


# ---------------------------------------------------------------- Gemini


def _clean_gemini(request: Json, model: str) -> bool:
    contents = objects_of(request, "contents")
    changed = [_replaced(content, "parts", _opened_part) for content in contents]
    if not any(changed):
        return False
    contents = [content for content in contents if content.get("parts") != []]
    if (generation(model) or _FIRST_GEMINI_THAT_CHECKS_CALLS) >= _FIRST_GEMINI_THAT_CHECKS_CALLS:
        # Shells around the same parts, since a client's contents may lack what is looked for.
        fill_in_signatures([{"role": text_of(each, "role"), "parts": objects_of(each, "parts")} for each in contents])
    request["contents"] = contents
    return True


def _opened_part(part: Json) -> Json | None:
    opened = _opened(part, "thoughtSignature", "gemini")
    if opened is not None:
        return opened
    rest = {key: value for key, value in part.items() if key != "thoughtSignature"}
    # Thoughts of another model would be words in this one's mouth, and a part must not be empty.
    return None if rest.get("thought") or rest in ({}, {"text": ""}) else rest


_CLEANERS: dict[Format, Callable[[Json, str], bool]] = {
    "anthropic": _clean_anthropic,
    "openai-responses": _clean_responses,
    "gemini": _clean_gemini,
}
"""Each changes a request in place and says whether it did. Chat has no slot for envelopes."""
