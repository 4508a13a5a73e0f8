"""Google's Gemini API with an API key. The model and whether the answer streams are part of the path."""

from typing import override
from urllib.parse import quote

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.providers.dialect import Dialect


class Gemini(Dialect):
    """The Gemini API as it is."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        url, headers = address(candidate.credential, candidate.model, call)
        return UpstreamRequest(call.method, url, headers, call.body)


def address(credential: Credential, model: str, call: UpstreamCall) -> tuple[str, Headers]:
    """URL and headers of a call: `x-goog-api-key`."""
    headers = call.headers.copy()
    if credential.bearer:
        headers["x-goog-api-key"] = credential.bearer
    query = call.query
    if call.action:
        path = f"{call.path}{quote(model, safe='')}:{call.action}"
    elif call.purpose is Purpose.NATIVE:
        path = call.path
    else:
        action = "countTokens" if call.purpose is Purpose.COUNT_TOKENS else "generateContent"
        if call.stream:
            action, query = "streamGenerateContent", "alt=sse"
        path = f"/v1beta/models/{quote(model, safe='')}:{action}"
    return join(credential.base_url, path, query), headers
