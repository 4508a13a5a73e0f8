"""OpenAI's image tool and image routes, where the config does not want them."""

import re
from typing import Any, Literal

from cliproxy.wire import json

Disabled = Literal[False, True, "chat", "passthrough"]
"""As the config says it."""

_TOOL = "image_generation"
_ROUTE = re.compile(r"(?:/v1)?/images(?:/.*)?")


def is_image_route(path: str) -> bool:
    """Whether a path makes or changes images."""
    return bool(_ROUTE.fullmatch(path))


def without_image_tool(body: bytes) -> bytes:
    """A request of the Responses format that does not offer the image tool."""
    if _TOOL.encode() not in body:
        return body
    request = json.loads(body)
    if not isinstance(request, dict) or not isinstance(tools := request.get("tools"), list):
        return body
    kept = [tool for tool in tools if not _is_image_tool(tool)]
    if len(kept) == len(tools):
        return body
    request["tools"] = kept
    if not kept:
        del request["tools"]
    choice = request.get("tool_choice")
    if _is_image_tool(choice) or (not kept and choice is not None):
        del request["tool_choice"]
    return json.dumps(request)


def _is_image_tool(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == _TOOL
