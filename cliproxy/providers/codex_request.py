"""What the ChatGPT backend takes of a Responses body: the rules that it has beyond the public API's.

It keeps nothing between requests, answers in streams only, and refuses a member that it does not know with 400. What is
not touched keeps its bytes: prompt caches stay valid, and a long conversation costs little.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from cliproxy.wire import json

_REFUSED = frozenset({
    "background", "conversation", "generate", "max_completion_tokens", "max_output_tokens", "max_tool_calls",
    "metadata", "moderation", "previous_response_id", "prompt", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "temperature", "top_logprobs", "top_p", "truncation", "user",
})  # fmt: skip
_REFUSED_BY_COMPACTION = _REFUSED | {"include", "store", "stream", "stream_options", "service_tier"}
_REFUSED_BY_SEARCH = frozenset({"prompt_cache_key", "prompt_cache_retention"})

_REASONING = "reasoning.encrypted_content"
_STREAM_OPTION = "reasoning_summary_delivery"
_BREAKPOINT = "prompt_cache_breakpoint"

_MAX_ID_CHARS = 64
_ID_PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
    "web_search_call": "ws",
    "image_generation_call": "ig",
}
"""How the ids of items must begin: one of a client's own makes the whole request fail."""


class _Named(msgspec.Struct):
    """A body's own name for its conversation."""

    prompt_cache_key: Any = None


class _Item(msgspec.Struct):
    """What the rules ask of an input item."""

    type: Any = None
    role: Any = None
    id: Any = None
    encrypted_content: Any = None


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_named = msgspec.json.Decoder(_Named).decode
_probes = msgspec.json.Decoder(list[_Item]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_item = msgspec.json.Decoder(_Item).decode

_Members = dict[str, Any]
"""A body's members: `msgspec.Raw` as they came, anything else as they shall be."""


def generating(body: bytes, session: str, *, lite: bool = False) -> bytes:
    """The body of a request for a response.

    session: its conversation's key; empty: the body's own, if any. lite: instructions and tools stand among the
    items, as Codex sends them for newer models.
    """
    members = _without(_REFUSED, body)
    members["store"], members["stream"] = False, True
    # Nothing is stored: without its own reasoning the model would begin each turn anew.
    include = _read(members.get("include"))
    include = include if isinstance(include, list) else []
    members["include"] = include if _REASONING in include else [*include, _REASONING]
    if _read(members.get("service_tier")) != "priority":
        members.pop("service_tier", None)
    options = _read(members.pop("stream_options", None))
    if isinstance(options, dict) and _STREAM_OPTION in options:
        members["stream_options"] = {_STREAM_OPTION: options[_STREAM_OPTION]}
    if not lite:
        _have_instructions(members)
        if _is_empty(members.get("tools")):
            members.pop("parallel_tool_calls", None)
    if session:
        members["prompt_cache_key"] = session
    _fit_input(members)
    return json.dumps(members)


def compacting(body: bytes) -> bytes:
    """The body of `/responses/compact`."""
    members = _without(_REFUSED_BY_COMPACTION, body)
    _have_instructions(members)
    _fit_input(members)
    return json.dumps(members)


def searching(body: bytes) -> bytes:
    """The body of `/alpha/search`."""
    return json.dumps(_without(_REFUSED_BY_SEARCH, body))


def cache_key(body: bytes) -> str:
    """A body's own name for its conversation; may be empty."""
    try:
        key = _named(body).prompt_cache_key
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return key if isinstance(key, str) else ""


def refused(body: bytes) -> list[str]:
    """Members of a request for a response that say something, and that the backend does not take."""
    try:
        members = _members(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [name for name in members if name in _REFUSED and bytes(members[name]) != b"null"]


def _without(refused: frozenset[str], body: bytes) -> _Members:
    try:
        members = _members(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # What only the standard library reads, as one may send it.
        members = _members(json.dumps(json.loads_object(body, "the body")))
    return {name: value for name, value in members.items() if name not in refused}


def _read(member: Any) -> Any:
    return json.loads(bytes(member)) if isinstance(member, msgspec.Raw) else member


def _is_empty(member: msgspec.Raw | None) -> bool:
    return member is None or bytes(member).strip() in (b"null", b"[]")


def _have_instructions(members: _Members) -> None:
    if _is_empty(members.get("instructions")):
        members["instructions"] = ""


# ---------------------------------------------------------------- input


def _fit_input(members: _Members) -> None:
    """Make the input a list without what the backend would look up among stored items."""
    given = members.get("input") or msgspec.Raw(b"null")
    has_breakpoints = f'"{_BREAKPOINT}"'.encode() in bytes(given)
    try:
        if not has_breakpoints and all(map(_is_fit, _probes(given))):
            return
    except msgspec.DecodeError:
        pass
    try:
        fitted = [fit for item in _items(given) if (fit := _fitted(item)) is not None]
    except msgspec.DecodeError:
        text = _read(given)
        if isinstance(text, str):
            content = [{"type": "input_text", "text": text}]
            members["input"] = [{"type": "message", "role": "user", "content": content}]
    else:
        members["input"] = [_without_breakpoints(_read(item)) for item in fitted] if has_breakpoints else fitted


def _fitted(raw: msgspec.Raw) -> Any:
    """The item, `raw` itself where nothing about it changes; None: it must not be sent."""
    try:
        item = _item(raw)
    except msgspec.DecodeError:
        return raw
    if _is_fit(item):
        return raw
    if item.type == "reasoning" and not item.encrypted_content:
        return None
    changed = json.loads(bytes(raw))
    if item.role == "system":
        changed["role"] = "developer"
    if not _has_good_id(item):
        del changed["id"]
    return changed


def _is_fit(item: _Item) -> bool:
    is_lost = item.type == "reasoning" and not item.encrypted_content
    return not is_lost and item.role != "system" and _has_good_id(item)


def _has_good_id(item: _Item) -> bool:
    if item.id is None:
        return True
    prefix = _ID_PREFIXES.get(item.type or "message", "")
    return isinstance(item.id, str) and len(item.id) <= _MAX_ID_CHARS and item.id.startswith(prefix)


def _without_breakpoints(value: Any) -> Any:
    """The marks to cache up to are the public API's."""
    if isinstance(value, dict):
        return {key: _without_breakpoints(each) for key, each in value.items() if key != _BREAKPOINT}
    return [_without_breakpoints(each) for each in value] if isinstance(value, list) else value
