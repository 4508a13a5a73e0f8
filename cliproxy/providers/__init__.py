"""How each upstream is addressed: URL, headers and body of a call, by wire format and vendor.

`prepare` turns a candidate and a body in one of the four formats into an HTTP request, `reader` says how to read the
answer; the formats themselves are `cliproxy.wire`'s. `VENDORS` are those whose accounts can be used.
"""

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers import (
    aistudio,
    antigravity,
    claude,
    codex,
    gemini_cli,
    glm,
    iflow,
    kimi,
    kiro,
    qwen,
    vertex,
    xai,
)
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.claude import Anthropic
from cliproxy.providers.dialect import AnswerReader, Dialect
from cliproxy.providers.gemini import Gemini
from cliproxy.providers.openai import OpenAI
from cliproxy.providers.vendor import Vendor
from cliproxy.wire.model import Format

VENDORS: dict[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        claude.VENDOR,
        codex.VENDOR,
        gemini_cli.VENDOR,
        antigravity.VENDOR,
        vertex.VENDOR,
        aistudio.VENDOR,
        xai.VENDOR,
        qwen.VENDOR,
        iflow.VENDOR,
        kimi.VENDOR,
        kiro.VENDOR,
        glm.VENDOR,
    )
}

_OPENAI = OpenAI()
_PLAIN: dict[str, Dialect] = {
    "openai-chat": _OPENAI,
    "openai-responses": _OPENAI,
    "anthropic": Anthropic(),
    "gemini": Gemini(),
}


def dialect_of(credential: Credential, format_: Format) -> Dialect:
    """The vendor's own for its accounts, else that of the plain API of a format."""
    return VENDORS[credential.dialect].dialect if credential.dialect else _PLAIN[format_]


def can(candidate: Candidate, purpose: Purpose, path: str = "") -> bool:
    """Whether a candidate's upstream can be asked for something. path: of a native call."""
    credential = candidate.credential
    dialect = dialect_of(credential, credential.formats[0])
    return purpose in dialect.purposes and (not path or dialect.native_paths is None or path in dialect.native_paths)


def prepare(candidate: Candidate, call: UpstreamCall, client_headers: Headers) -> UpstreamRequest:
    """Build the HTTP request for a call to `candidate`.

    client_headers: the client's, for `$Name` values of the credential's `headers`.
    """
    credential = candidate.credential
    request = dialect_of(credential, call.format).request(candidate, call)
    for name, value in credential.headers.items():
        _apply(request.headers, name, value, client_headers)
    request.proxy_url = credential.proxy_url or None
    return request


def reader(candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
    """How to read a successful answer with these headers; None: it is in the call's format as it is."""
    return dialect_of(candidate.credential, call.format).reader(candidate, call, headers)


def _apply(headers: Headers, name: str, value: str | None, client_headers: Headers) -> None:
    """One header of the config: None removes it, `$Name` copies the client's, anything else is the value."""
    if value is not None and value.startswith("$"):
        value = client_headers.get(value[1:])
    if value is None:
        headers.popall(name, None)
    else:
        headers[name] = value
