"""Anthropic's API for Claude accounts as a mock: refuses what the real one refuses, in its words."""

from tests import native
from tests.answers import Answer
from tests.providers.vendor_site import TOKENS
from tests.upstream import Received

BETA = "oauth-2025-04-20"


def judge(received: Received) -> Answer | None:
    """The refusal of a request that breaks a rule; None for a good one."""
    headers = received.headers
    if headers.get("authorization", "").removeprefix("Bearer ") not in TOKENS:
        return native.error("anthropic", 401, "OAuth token has expired.")
    [betas] = headers.getall("anthropic-beta", [""])
    if BETA not in betas.split(",") or "x-api-key" in headers:
        return native.error("anthropic", 401, "OAuth authentication is currently not supported.")
    if received.method == "GET":
        return None
    if received.path not in ("/v1/messages", "/v1/messages/count_tokens"):
        return native.error("anthropic", 404, "Not found")
    if "anthropic-version" not in headers:
        return native.error("anthropic", 400, "anthropic-version: header is required")
    body = received.json
    if "betas" in body:
        return native.error("anthropic", 400, "betas: Extra inputs are not permitted")
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if forced and body.get("thinking", {}).get("type") not in (None, "disabled"):
        message = "Thinking may not be enabled when tool_choice forces tool use."
        return native.error("anthropic", 400, message)
    return None
