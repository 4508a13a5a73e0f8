"""Anthropic's API, and those like it."""

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Headers
from cliproxy.providers.call import Purpose, UpstreamCall, join

API_VERSION = "2023-06-01"
_OWN_HOST = "https://api.anthropic.com"
_PATHS = {Purpose.GENERATE: "/v1/messages", Purpose.COUNT_TOKENS: "/v1/messages/count_tokens"}


def address(credential: Credential, model: str, call: UpstreamCall) -> tuple[str, Headers]:
    """URL and headers of a call.

    The vendor's own host takes a key as `x-api-key`, others as a bearer token, as CLIProxyAPI does.
    """
    path = call.path or _PATHS[call.purpose]
    headers = call.headers.copy()
    headers.setdefault("anthropic-version", API_VERSION)
    if credential.secret:
        if credential.base_url.startswith(_OWN_HOST):
            headers["x-api-key"] = credential.secret
        else:
            headers["Authorization"] = f"Bearer {credential.secret}"
    return join(credential.base_url, path, call.query), headers
