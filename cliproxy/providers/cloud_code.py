"""Google's Cloud Code API, which answers Gemini CLI and Antigravity: Gemini's requests and answers in an envelope.

{model, project, request: {contents, …}}  ─▶  /v1internal:streamGenerateContent  ─▶  {response: {candidates, …}}
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, override

import msgspec

from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.providers.dialect import AnswerReader, Dialect
from cliproxy.providers.gemini_answers import Reframing, on_one_line, wanted_framing
from cliproxy.providers.gemini_requests import countable, read_request
from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.gemini.errors import streamed_error
from cliproxy.wire.model import Json


class CloudCode(Dialect):
    """Wraps requests and unwraps answers. What an envelope holds beside the request is each vendor's own."""

    # Its native methods are about the account and none of the Gemini API's: only clients of Cloud Code ask for them.
    purposes = frozenset({Purpose.GENERATE, Purpose.COUNT_TOKENS})
    always_streams = False
    """Whole answers are asked for as streams too, and put together here."""

    @abstractmethod
    def envelope(self, candidate: Candidate, call: UpstreamCall, request: Json) -> Json:
        """The body of a call. request: as `read_request` gives it; may be changed."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        credential = candidate.credential
        headers = call.headers.copy()
        headers["Authorization"] = f"Bearer {credential.bearer}"
        if call.purpose is Purpose.NATIVE:
            return UpstreamRequest(call.method, join(credential.base_url, call.path, call.query), headers, call.body)
        headers["Accept-Encoding"] = "identity"
        request = read_request(call)
        if call.purpose is Purpose.COUNT_TOKENS:
            body: Json = {"request": {"model": f"models/{candidate.model}", "contents": countable(request)}}
            return _post(credential.base_url, "countTokens", headers, body)
        streams = call.stream or self.always_streams
        method, query = ("streamGenerateContent", "alt=sse") if streams else ("generateContent", "")
        return _post(credential.base_url, method, headers, self.envelope(candidate, call, request), query)

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        if call.purpose is not Purpose.GENERATE:
            return None
        framing = wanted_framing(call)
        return Reframing(framing, partial(self.opened, raises=framing == "whole"))

    def opened(self, data: bytes, *, raises: bool) -> bytes:
        """The answer in an envelope.

        raises: an error in its place raises UpstreamRefused; else it is passed on, as the stream's last object.
        """
        return opened(data, raises=raises)


def project_of(candidate: Candidate) -> Json:
    """`project` for an envelope, where the account's is known."""
    account = candidate.credential.account
    project = first_project(account.fields) if account else ""
    return {"project": project} if project else {}


def projects(fields: Mapping[str, Any]) -> list[str]:
    """The Google Cloud projects that an auth file names: one, or several with commas between them."""
    named = fields.get("project_id")
    return [name.strip() for name in named.split(",") if name.strip()] if isinstance(named, str) else []


def first_project(fields: Mapping[str, Any]) -> str:
    """Empty where none is known."""
    return next(iter(projects(fields)), "")


class _Envelope(msgspec.Struct):
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_envelope = msgspec.json.Decoder(_Envelope).decode


def opened(data: bytes, *, raises: bool = False) -> bytes:
    """The object under `response`, as it was written; what is no envelope, an error, stays as it is."""
    try:
        response = _envelope(data).response
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _opened_slowly(data, raises=raises)
    return on_one_line(bytes(response)) if response is not msgspec.UNSET else _opened_slowly(data, raises=raises)


def _opened_slowly(data: bytes, *, raises: bool) -> bytes:
    """`opened` for what msgspec does not read, and for errors, which may come as a list."""
    try:
        value = json.loads(data)
    except ValueError:
        raise UpstreamGarbled("the upstream's answer is not JSON") from None
    if isinstance(value, list) and len(value) == 1:
        [value] = value
    if not isinstance(value, dict):
        raise UpstreamGarbled("the upstream's answer is not a JSON object")
    if raises and "error" in value:
        raise streamed_error(value)
    return json.dumps(value.get("response", value))


def _post(base_url: str, method: str, headers: Headers, body: Json, query: str = "") -> UpstreamRequest:
    headers["Content-Type"] = "application/json"
    return UpstreamRequest("POST", join(base_url, f"/v1internal:{method}", query), headers, json.dumps(body))
