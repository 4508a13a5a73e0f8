"""Anthropic's API, and those like it."""

from typing import override

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.providers.dialect import Dialect

API_VERSION = "2023-06-01"
_OWN_HOST = "https://api.anthropic.com"
_PATHS = {Purpose.GENERATE: "/v1/messages", Purpose.COUNT_TOKENS: "/v1/messages/count_tokens"}


class Anthropic(Dialect):
    """Anthropic's API as it is."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        url, headers = address(candidate.credential, candidate.model, call)
        return UpstreamRequest(call.method, url, headers, call.body)


def address(credential: Credential, model: str, call: UpstreamCall) -> tuple[str, Headers]:
    """URL and headers of a call.

    The vendor's own host takes a key as `x-api-key`, others as a bearer token, as CLIProxyAPI does.
    """
    path = call.path or _PATHS[call.purpose]
    headers = call.headers.copy()
    headers.setdefault("anthropic-version", API_VERSION)
    if credential.bearer:
        if credential.base_url.startswith(_OWN_HOST):
            headers["x-api-key"] = credential.bearer
        else:
            headers["Authorization"] = f"Bearer {credential.bearer}"
    return join(credential.base_url, path, call.query), headers
