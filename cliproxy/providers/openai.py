"""OpenAI's two APIs, and all that are compatible with them. The base URL includes the version (`…/v1`)."""

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Headers
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.wire.model import Format

_PATHS: dict[tuple[Format, Purpose], str] = {
    ("openai-chat", Purpose.GENERATE): "/chat/completions",
    ("openai-responses", Purpose.GENERATE): "/responses",
    ("openai-responses", Purpose.COUNT_TOKENS): "/responses/input_tokens",
}


def address(credential: Credential, model: str, call: UpstreamCall) -> tuple[str, Headers]:
    """URL and headers of a call; `Authorization: Bearer`, or none where the credential has no key."""
    path = call.path.removeprefix("/v1") or _PATHS[call.format, call.purpose]
    headers = call.headers.copy()
    if credential.secret:
        headers["Authorization"] = f"Bearer {credential.secret}"
    return join(credential.base_url, path, call.query), headers
