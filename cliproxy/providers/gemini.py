"""Google's Gemini API with an API key. The model and whether the answer streams are part of the path."""

from urllib.parse import quote

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Headers
from cliproxy.providers.call import Purpose, UpstreamCall, join


def address(credential: Credential, model: str, call: UpstreamCall) -> tuple[str, Headers]:
    """URL and headers of a call: `x-goog-api-key`."""
    headers = call.headers.copy()
    if credential.secret:
        headers["x-goog-api-key"] = credential.secret
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
