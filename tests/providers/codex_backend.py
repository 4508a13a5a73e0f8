"""The ChatGPT backend as a mock: refuses what the real one refuses, in its words, and streams as it does."""

import json
from collections.abc import Sequence
from typing import Any

from tests.answers import Answer
from tests.providers.accounts import answer
from tests.providers.vendor_site import TOKENS
from tests.upstream import Received

PATH = "/backend-api/codex"
ACCOUNT_ID = "test-account-id"

_KNOWN = {
    "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store", "stream",
    "include", "prompt_cache_key", "text", "service_tier", "client_metadata", "stream_options",
}  # fmt: skip
_KNOWN_TO_COMPACTION = {"model", "instructions", "input", "tools", "parallel_tool_calls", "reasoning", "text"}
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fc", "reasoning": "rs"}


def judge(received: Received) -> Answer | None:
    """The refusal of a request that breaks a rule; None for a good one."""
    headers = received.headers
    if headers.get("authorization", "").removeprefix("Bearer ") not in TOKENS:
        return answer({"detail": "Unauthorized"}, 401)
    if headers.getall("chatgpt-account-id", []) != [ACCOUNT_ID]:
        return answer({"detail": "Account mismatch"}, 403)
    if not headers.get("user-agent"):
        return Answer(status=403, headers={"content-type": "text/html"}, body=b"<html>Just a moment...</html>")
    match received.method, received.path:
        case "POST", "/backend-api/codex/responses":
            return _judged(received.json, _KNOWN) or _judged_streaming(received)
        case "POST", "/backend-api/codex/responses/compact":
            return _judged(received.json, _KNOWN_TO_COMPACTION)
        case "POST", "/backend-api/codex/alpha/search":
            unknown = {"prompt_cache_key", "prompt_cache_retention"} & set(received.json)
            return _refusal(f"Unsupported parameter: {unknown.pop()}") if unknown else None
        case ("POST", "/backend-api/codex/images/generations") | ("GET", "/backend-api/wham/usage"):
            return None
        case _:
            return answer({"detail": "Not Found"}, 404)


def _judged(body: Any, known: set[str]) -> Answer | None:
    for name in body:
        if name not in known:
            return _refusal(f"Unsupported parameter: {name}")
    if not isinstance(body.get("input"), list):
        return _refusal("Input must be a list")
    for index, item in enumerate(body["input"]):
        if item.get("role") == "system":
            return _refusal("System messages are not allowed")
        kind = item.get("type", "message")
        if kind == "reasoning" and not item.get("encrypted_content"):
            message = (
                f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false."
            )
            return answer({"error": {"message": message, "type": "invalid_request_error", "code": None}}, 404)
        if not item.get("id", _PREFIXES.get(kind, "")).startswith(_PREFIXES.get(kind, "")):
            message = (
                f"Invalid 'input[{index}].id': '{item['id']}'. Expected an ID that begins with '{_PREFIXES[kind]}'."
            )
            return answer({"error": {"message": message, "type": "invalid_request_error", "param": "input"}}, 400)
        if "prompt_cache_breakpoint" in json.dumps(item):
            return _refusal("Unsupported parameter: prompt_cache_breakpoint")
    return None


def _judged_streaming(received: Received) -> Answer | None:
    body = received.json
    lite = "x-openai-internal-codex-responses-lite" in received.headers
    if body.get("store") is not False:
        return _refusal("Store must be set to false")
    if body.get("stream") is not True:
        return _refusal("Stream must be set to true")
    if not lite and not isinstance(body.get("instructions"), str):
        return _refusal("Instructions are required")
    if lite and "instructions" in body:
        return _refusal("Instructions are not valid")
    return None


def _refusal(detail: str) -> Answer:
    return answer({"detail": detail}, 400)


def without_output(given: Answer) -> Answer:
    """A streamed answer of the public API as the backend gives it: its last event has no output."""
    assert not isinstance(given.body, bytes)
    pieces = [piece for piece in given.body if isinstance(piece, bytes)]
    last = json.loads(pieces[-1].partition(b"data: ")[2])
    last["response"]["output"] = []
    return Answer(headers=given.headers, body=[*pieces[:-1], event(last)])


def event(data: Any) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def streamed(events: Sequence[Any]) -> Answer:
    return Answer(headers={"content-type": "text/event-stream"}, body=[event(data) for data in events])
