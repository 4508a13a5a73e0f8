"""xAI's API as a mock: refuses what the real one refuses, in its words."""

from typing import Any

from tests.answers import Answer
from tests.providers.accounts import answer
from tests.providers.vendor_site import TOKENS
from tests.upstream import Received

_TOOLS = {
    "function", "web_search", "x_search", "image_generation", "collections_search", "file_search", "code_execution",
    "code_interpreter", "mcp", "shell",
}  # fmt: skip
_REFUSED_BY_SEARCH = ("external_web_access", "indexed_web_access", "search_context_size", "search_content_types")
_REFUSED = ("stop", "stream_options", "safety_identifier", "prompt_cache_retention")
_ITEMS = {"message", "function_call", "function_call_output", "reasoning", "web_search_call"}


def judge(received: Received) -> Answer | None:
    """The refusal of a request that breaks a rule; None for a good one."""
    if received.headers.get("authorization", "").removeprefix("Bearer ") not in TOKENS:
        message = "The OAuth2 access token could not be validated. [WKE=unauthenticated:bad-credentials]"
        return answer({"code": "The caller does not have permission to execute the operation", "error": message}, 403)
    match received.path:
        case "/v1/responses" | "/v1/responses/compact":
            return _judged(received.json)
        case "/v1/images/generations":
            return None
        case _:
            return answer({"error": f"The requested resource was not found: {received.path}"}, 404)


def _judged(body: Any) -> Answer | None:
    for name in _REFUSED:
        if name in body:
            return _unsupported(name)
    if "tool_choice" in body and not body.get("tools"):
        return _invalid("A tool_choice was set on the request but no tools were specified.")
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict) and choice["type"] not in ("function", "allowed_tools"):
        return _undeserialized("data did not match any variant of untagged enum ModelToolChoice")
    for index, tool in enumerate(body.get("tools", ())):
        if tool["type"] not in _TOOLS:
            return _undeserialized(f"tools[{index}].type: unknown variant `{tool['type']}`, expected one of `function`")
        for name in (*_REFUSED_BY_SEARCH, "defer_loading"):
            if name in tool:
                return _unsupported(name)
        if tool["type"] == "function" and "parameters" not in tool:
            return _undeserialized(f"tools[{index}]: missing field `parameters`")
    items = body["input"] if isinstance(body["input"], list) else []
    return next((refused for item in items if (refused := _judged_item(item))), None)


def _judged_item(item: Any) -> Answer | None:
    if item.get("type", "message") not in _ITEMS or "namespace" in item:
        return _undeserialized("input: data did not match any variant of untagged enum ModelInput")
    if item.get("type") == "reasoning":
        if not item.get("encrypted_content"):
            return _invalid("Invalid request content: Each message must have at least one content element.")
        if "content" in item:
            return _invalid("Could not decode the compaction blob: not valid base64")
    return None


def _unsupported(name: str) -> Answer:
    return answer({"code": "400", "error": f"Argument not supported: {name}"}, 400)


def _invalid(message: str) -> Answer:
    return answer({"code": "Client specified an invalid argument", "error": message}, 400)


def _undeserialized(why: str) -> Answer:
    return answer({"error": f"Failed to deserialize the JSON body into the target type: {why}"}, 422)
