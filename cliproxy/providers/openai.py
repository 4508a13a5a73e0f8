"""OpenAI's two APIs, and all that are compatible with them. The base URL includes the version (`…/v1`)."""

from typing import override

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.providers.dialect import Dialect
from cliproxy.wire.model import Format

_PATHS: dict[tuple[Format, Purpose], str] = {
    ("openai-chat", Purpose.GENERATE): "/chat/completions",
    ("openai-responses", Purpose.GENERATE): "/responses",
    ("openai-responses", Purpose.COUNT_TOKENS): "/responses/input_tokens",
}


class OpenAI(Dialect):
    """OpenAI's APIs as they are."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        url, headers = address(candidate.credential, candidate.model, call)
        return UpstreamRequest(call.method, url, headers, call.body)


def address(credential: Credential, model: str, call: UpstreamCall) -> tuple[str, Headers]:
    """URL and headers of a call; `Authorization: Bearer`, or none where the credential has no key."""
    path = call.path.removeprefix("/v1") or _PATHS[call.format, call.purpose]
    headers = call.headers.copy()
    if credential.bearer:
        headers["Authorization"] = f"Bearer {credential.bearer}"
    return join(credential.base_url, path, call.query), headers
