"""Code Assist, the API that Gemini CLI speaks with a Google login (`/v1internal:*`), as this gateway serves it.

Calls for a model come in an envelope, and are Gemini's without it. What is said about the account where none is linked
is said here: just enough for Gemini CLI to go on.
"""

import re
from typing import Any, NamedTuple, cast

import msgspec

from cliproxy.exchange import Answer, ByteStream
from cliproxy.providers.gemini_answers import Framing, Reframing, on_one_line
from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Json

# ---------------------------------------------------------------- the envelope

_ERROR = re.compile(rb'\s*\{\s*"error"\s*:')


class Enveloped(NamedTuple):
    """A call for a model, taken out of its envelope."""

    model: str
    session: str
    """The conversation, as the client tells it from others; may be empty."""
    body: bytes
    """Gemini's, of that method."""


def open_request(body: bytes) -> Enveloped:
    """Take a call out of `{model, project, request: {…, session_id}}`; when tokens are counted, `request` names the
    model. What nobody needs to change keeps its bytes. Raises ClientFault."""
    envelope = _members(body, "the body")
    if "request" not in envelope:
        raise ClientFault("request is required", code="missing_required_parameter", param="request")
    request = _members(bytes(envelope["request"]), "request")
    stated, session = request.pop("model", msgspec.Raw(b"null")), request.pop("session_id", msgspec.Raw(b"null"))
    model = _text(envelope.get("model", stated)).removeprefix("models/")
    if not model:
        raise ClientFault("model is missing", param="model")
    return Enveloped(model, _text(session), msgspec.json.encode(request))


def _members(data: bytes, what: str) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = json.loads_object(data, what)
    except ValueError as error:
        raise ClientFault(f"the body is not what it should be: {error}") from None
    return {name: msgspec.Raw(json.dumps(each)) for name, each in value.items()}


def _text(raw: msgspec.Raw) -> str:
    value: Any = json.loads(bytes(raw))
    return cast("str", value) if isinstance(value, str) else ""


def enclose(answer: Answer, *, stream: bool) -> Answer:
    """The answer to such a call, in its envelope `{response: …}`. stream: the client wants a stream."""
    kind = answer.headers.get("content-type", "")
    framing: Framing = "sse" if kind.startswith("text/event-stream") else "array" if stream else "whole"
    reframing = Reframing(framing, _enclosed)
    if isinstance(answer.body, bytes):
        body: bytes | ByteStream = reframing.feed(answer.body) + reframing.finish()
    else:
        body = _Enclosing(answer.body, reframing)
    return Answer(answer.status, answer.headers, body)


def _enclosed(data: bytes) -> bytes:
    data = on_one_line(data)
    # An error ends a stream as it is.
    return data if _ERROR.match(data) else b'{"response":' + data + b"}"


class _Enclosing:
    """A streamed answer, each of its objects in an envelope."""

    def __init__(self, slices: ByteStream, reframing: Reframing) -> None:
        self._slices = slices
        self._reframing = reframing
        self._is_over = False

    def __aiter__(self) -> "_Enclosing":
        return self

    async def __anext__(self) -> bytes:
        while not self._is_over:
            try:
                piece = await anext(self._slices)
            except StopAsyncIteration:
                self._is_over = True
                if last := self._reframing.finish():
                    return last
                break
            # White space before an answer is a sign of life.
            if out := self._reframing.feed(piece) or piece[: len(piece) - len(piece.lstrip())]:
                return out
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._slices.aclose()


# ---------------------------------------------------------------- the account

_PROJECT = "cliproxy"
_TIER: Json = {"id": "standard-tier", "name": "cliproxy", "isDefault": True}
_SETTING: Json = {"freeTierDataCollectionOptin": False}

_ANSWERS: dict[str, Json] = {
    "loadCodeAssist": {"currentTier": _TIER, "allowedTiers": [_TIER], "cloudaicompanionProject": _PROJECT},
    "onboardUser": {"done": True, "response": {"cloudaicompanionProject": {"id": _PROJECT, "name": _PROJECT}}},
    "retrieveUserQuota": {"buckets": []},
    "listExperiments": {"flags": [], "experimentIds": []},
    "fetchAdminControls": {},
    "recordCodeAssistMetrics": {},
    "getCodeAssistGlobalUserSetting": _SETTING,
    "setCodeAssistGlobalUserSetting": _SETTING,
}


def without_account(method: str) -> Json:
    """What a method about the account answers where no account is linked. Raises ClientFault (404)."""
    if method not in _ANSWERS:
        raise ClientFault(f"{method or 'this'} needs a linked gemini-cli account", status=404, code="not_found")
    return _ANSWERS[method]
