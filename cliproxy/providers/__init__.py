"""How each upstream is addressed: URL and headers of a call, by wire format and provider.

`prepare` turns a candidate and a body into an HTTP request; the bodies themselves are `cliproxy.wire`'s.
"""

from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers import claude, gemini, openai
from cliproxy.providers.call import UpstreamCall

_ADDRESSING = {
    "openai-chat": openai.address,
    "openai-responses": openai.address,
    "anthropic": claude.address,
    "gemini": gemini.address,
}


def prepare(candidate: Candidate, call: UpstreamCall, client_headers: Headers) -> UpstreamRequest:
    """Build the HTTP request for a call to `candidate`.

    client_headers: the client's, for `$Name` values of the credential's `headers`.
    """
    credential = candidate.credential
    url, headers = _ADDRESSING[call.format](credential, candidate.model, call)
    for name, value in credential.headers.items():
        _apply(headers, name, value, client_headers)
    return UpstreamRequest(call.method, url, headers, call.body, credential.proxy_url or None)


def _apply(headers: Headers, name: str, value: str | None, client_headers: Headers) -> None:
    """One header of the config: None removes it, `$Name` copies the client's, anything else is the value."""
    if value is not None and value.startswith("$"):
        value = client_headers.get(value[1:])
    if value is None:
        headers.popall(name, None)
    else:
        headers[name] = value
