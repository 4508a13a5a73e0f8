"""Counting the tokens of a request: the upstream's own counter where it has one, else an estimate made here."""

from cliproxy.call import ClientCall
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers, UpstreamResponse
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.relay import JSON
from cliproxy.wire import json
from cliproxy.wire.model import Format
from cliproxy.wire.translation import Translation
from cliproxy.wire.unsealing import without_sealed

_FIELDS: dict[Format, frozenset[str]] = {
    "anthropic": frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking"}),
    "gemini": frozenset({"contents"}),
    "openai-responses": frozenset({"model", "input", "instructions", "tools", "tool_choice", "reasoning", "text"}),
}
"""What each format's counter takes of a request; Chat Completions has no counter."""


def count_call(call: ClientCall, candidate: Candidate, client_headers: Headers) -> UpstreamCall | None:
    """The call that counts `call`'s tokens upstream, or None where the upstream cannot."""
    format_ = call.route.format
    if format_ in candidate.credential.formats:
        client_headers.popall("content-encoding", None)
        client_headers["Content-Type"] = JSON
        return UpstreamCall(
            Purpose.COUNT_TOKENS,
            format_,
            "POST",
            call.route.path,
            call.query,
            client_headers,
            without_sealed(format_, call.passed_body(candidate), candidate.model),
            action=call.route.action,
        )
    upstream = candidate.credential.formats[0]
    if upstream not in _FIELDS:
        return None
    translation = Translation(call.request(), upstream, candidate.facts, call.model, stream=False)
    fields = _FIELDS[upstream]
    whole = translation.encoded.body
    if upstream == "gemini":
        # `contents` alone would not count instructions and tools.
        asked = {"generateContentRequest": {"model": f"models/{candidate.facts.name}", **whole}}
    else:
        asked = {name: value for name, value in whole.items() if name in fields}
    body = json.dumps(asked)
    headers = Headers({"content-type": JSON, "accept-encoding": "identity"})
    return UpstreamCall(Purpose.COUNT_TOKENS, upstream, "POST", "", "", headers, body)


def counted(format_: Format, response: UpstreamResponse, body: bytes) -> int | None:
    """The count that an upstream answered, or None where it did not."""
    if response.status != 200:
        return None
    try:
        value = json.loads(body)
    except ValueError:
        return None
    count = value.get("totalTokens" if format_ == "gemini" else "input_tokens") if isinstance(value, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None
