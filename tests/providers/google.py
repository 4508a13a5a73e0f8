"""Mocks of Google's hosts that refuse what the real ones refuse, in their words, and the accounts to call them with.

Owns the rules of each host; sockets are `tests.upstream`'s, the answers themselves `tests.native`'s.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers
from cliproxy.providers import VENDORS
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.wire.model import ModelFacts
from tests import native
from tests.answers import Answer
from tests.providers import accounts
from tests.providers.accounts import TOKEN
from tests.upstream import Received

PROJECT = "test-project-1"


def credential(vendor: str, base_url: str, model: str, **fields: Any) -> Credential:
    """An account's credential for one model. fields: of its auth file."""
    return accounts.credential(VENDORS[vendor], base_url, model, **{"project_id": PROJECT} | fields)


def candidate(vendor: str, model: str, facts: ModelFacts | None = None, **fields: Any) -> Candidate:
    return Candidate(credential(vendor, "https://host.test", model, **fields), model, facts or ModelFacts(model))


def call(
    body: Mapping[str, Any], purpose: Purpose = Purpose.GENERATE, *, stream: bool = False, action: str = "",
    query: str = "", session: str = "",
) -> UpstreamCall:  # fmt: skip
    raw = json.dumps(body).encode()
    return UpstreamCall(purpose, "gemini", "POST", "", query, Headers(), raw, stream, action, session)


# ---------------------------------------------------------------- what all of them refuse

_REQUEST_FIELDS = {
    "contents", "systemInstruction", "cachedContent", "tools", "toolConfig", "labels", "safetySettings",
    "generationConfig",
}  # fmt: skip


class Refused(Exception):
    """The host's own words, for a 400 unless another status is told."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def judged(rules: Callable[[Received], Answer]) -> Callable[[Received], Answer]:
    """Rules whose refusals are answers."""

    def answer(received: Received) -> Answer:
        try:
            return rules(received)
        except Refused as refused:
            return native.error("gemini", refused.status, str(refused))

    return answer


def _known(holder: Mapping[str, Any], names: set[str], where: str = "") -> None:
    for name in holder:
        if name not in names:
            raise Refused(f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')


def _roles(request: Mapping[str, Any]) -> None:
    for content in request["contents"]:
        if content.get("role") not in ("user", "model"):
            raise Refused("Please use a valid role: user, model.")


def _calls(request: Mapping[str, Any], field: str) -> Iterator[tuple[int, int, Any]]:
    for at, content in enumerate(request["contents"]):
        for position, part in enumerate(content["parts"]):
            if field in part:
                yield at, position, part[field]


def _paired(request: Mapping[str, Any]) -> None:
    for before, after in pairwise(request["contents"]):
        called = [part["functionCall"]["name"] for part in before["parts"] if "functionCall" in part]
        told = [part["functionResponse"].get("name") for part in after["parts"] if "functionResponse" in part]
        if called and called != told:
            raise Refused(
                "Please ensure that the number of function response parts is equal to the number of function call"
                " parts of the function call turn."
            )


def _said(request: Mapping[str, Any], *, stream: bool) -> Answer:
    """A call of the first tool, and when its result has come a few words."""
    tools = [each for tool in request.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    if tools and not any(_calls(request, "functionResponse")):
        return native.tool_call("gemini", tools[0]["name"], stream=stream)
    return native.text("gemini", stream=stream)


# ---------------------------------------------------------------- Cloud Code


def enveloped(answer: Answer) -> Answer:
    """The same answer as Cloud Code gives it."""
    body = answer.body
    if isinstance(body, bytes):
        return Answer(headers=answer.headers, body=b'{"response": %b, "traceId": "trace-1"}' % body)
    pieces = [piece for piece in body if isinstance(piece, bytes)]
    wrapped = [b'data: {"response": %b, "traceId": "trace-1"}\r\n\r\n' % piece[6:].strip() for piece in pieces]
    return Answer(headers=answer.headers, body=wrapped)


def _cloud_code(received: Received, envelope: set[str], extra: set[str], check: Callable[[Any], None]) -> Answer:
    if received.headers.get("authorization") != f"Bearer {TOKEN}":
        raise Refused("Request had invalid authentication credentials.", 401)
    method, body = received.path.removeprefix("/v1internal:"), received.json
    if method == "loadCodeAssist":
        return accounts.answer({"cloudaicompanionProject": PROJECT, "currentTier": {"id": "free-tier"}})
    if method == "countTokens":
        _known(body, {"request"})
        _known(body["request"], {"model", "contents"}, " at 'request'")
        assert body["request"]["model"].startswith("models/")
        words = sum(len(part.get("text", "").split()) for each in body["request"]["contents"] for part in each["parts"])
        return Answer(headers={"content-type": "application/json"}, body=json.dumps({"totalTokens": words}).encode())
    if method not in ("generateContent", "streamGenerateContent"):
        raise Refused("Method not found.", 404)
    _known(body, {"model", "project", "request", *envelope})
    if not body.get("project"):
        raise Refused("Invalid project resource name projects/")
    request = body["request"]
    _known(request, {*_REQUEST_FIELDS, *extra}, " at 'request'")
    _roles(request)
    _paired(request)
    check(body)
    stream = method == "streamGenerateContent"
    assert not stream or received.query == "alt=sse"
    return enveloped(_said(request, stream=stream))


@judged
def code_assist(received: Received) -> Answer:
    """Gemini CLI's upstream."""
    return _cloud_code(received, {"user_prompt_id"}, {"session_id"}, lambda body: None)


@judged
def antigravity(received: Received) -> Answer:
    """Antigravity's, which hands some calls on to Claude."""
    return _cloud_code(received, {"requestId", "requestType", "userAgent"}, {"sessionId"}, _antigravity_rules)


def _antigravity_rules(body: Any) -> None:
    request = body["request"]
    if "safetySettings" in request:
        raise Refused("Request contains an invalid argument.")
    declarations = [each for tool in request.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    for at, declaration in enumerate(declarations):
        _schema(declaration.get("parameters", {}), f"request.tools[0].function_declarations[{at}].parameters")
    if "claude" in body["model"]:
        _claude_rules(request, declarations)


_SCHEMA_FIELDS = {"type", "format", "description", "nullable", "enum", "items", "properties", "required", "anyOf"}


def _schema(schema: Any, where: str) -> None:
    if not isinstance(schema, dict):
        raise Refused(f"Invalid value at '{where}' (type.googleapis.com/google.cloud.aiplatform.master.Schema)")
    _known(schema, _SCHEMA_FIELDS, f" at '{where}'")
    for name, each in schema.get("properties", {}).items():
        _schema(each, f"{where}.properties[{name}].value")
    if "items" in schema:
        _schema(schema["items"], f"{where}.items")
    for each in schema.get("anyOf", ()):
        _schema(each, f"{where}.any_of")


def _claude_rules(request: Any, declarations: list[Any]) -> None:
    for at, declaration in enumerate(declarations):
        if "parameters" not in declaration:
            raise Refused(f"tools.{at}.custom.input_schema: Field required")
        if not declaration["parameters"].get("required"):
            raise Refused("Request contains an invalid argument.")
    if declarations and request["toolConfig"]["functionCallingConfig"]["mode"] != "VALIDATED":
        raise Refused("Request contains an invalid argument.")
    for kind, field in (("tool_use.id", "functionCall"), ("tool_result.tool_use_id", "functionResponse")):
        for at, position, function in _calls(request, field):
            if not function.get("id"):
                raise Refused(f"messages.{at}.content.{position}.{kind}: Field required")
    for at, content in enumerate(request["contents"]):
        for position, part in enumerate(content["parts"]):
            if part.get("thought") and not part.get("thoughtSignature"):
                raise Refused(f"messages.{at}.content.{position}.thinking.signature: Field required")
    settings = request["generationConfig"]
    if settings.get("thinkingConfig", {}).get("thinkingBudget", 0) >= settings["maxOutputTokens"]:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")


# ---------------------------------------------------------------- Vertex AI

VERTEX_PATH = re.compile(
    r"/v1(?:/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+))?/publishers/google/models/(?P<model>[^/:]+):(?P<method>\w+)"
)


MINTED = accounts.answer({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 10 * 365 * 86_400})
"""A service account's token, which is good whatever a test's clock says."""


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account(url: str, project: str = PROJECT) -> dict[str, str]:
    """The key file of a service account whose tokens come from the host at `url`."""
    return {
        "type": "service_account",
        "project_id": project,
        "private_key": _private_key(),
        "client_email": f"robot@{project}.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }


@judged
def vertex(received: Received) -> Answer:
    """Vertex AI, for a service account's token and for API keys; and the endpoint that gives such tokens."""
    if received.path == "/token":
        return MINTED
    found = VERTEX_PATH.fullmatch(received.path)
    if not found:
        raise Refused("Not found.", 404)
    by_key = received.headers.get("x-goog-api-key") == "test-key-1" and not found["project"]
    by_token = received.headers.get("authorization") == f"Bearer {TOKEN}" and found["project"] == PROJECT
    if not (by_key or by_token):
        raise Refused("Request had invalid authentication credentials.", 401)
    body = received.json
    match found["method"]:
        case "predict":
            return _predicted(body)
        case "countTokens":
            _known(body, {"contents", "systemInstruction", "tools", "generationConfig", "instances", "model"})
            return Answer(headers={"content-type": "application/json"}, body=b'{"totalTokens": 31}')
    _known(body, _REQUEST_FIELDS)
    _roles(body)
    _paired(body)
    if found["model"].startswith("gemini-2"):
        for field, name in (("functionCall", "function_call"), ("functionResponse", "function_response")):
            for at, position, function in _calls(body, field):
                _known(function, {"name", "args", "response"}, f" at 'contents[{at}].parts[{position}].{name}'")
    return _said(body, stream=found["method"] == "streamGenerateContent")


def _predicted(body: Any) -> Answer:
    _known(body, {"instances", "parameters"})
    _known(
        body["parameters"], {"sampleCount", "aspectRatio", "sampleImageSize", "includeRaiReason"}, " at 'parameters'"
    )
    [instance] = body["instances"]
    if "forbidden" in instance["prompt"]:
        predictions = [{"raiFilteredReason": "Support codes: 1"}]
    else:
        count = body["parameters"]["sampleCount"]
        predictions = [{"mimeType": "image/png", "bytesBase64Encoded": "aW1hZ2U="}] * count
    return Answer(headers={"content-type": "application/json"}, body=json.dumps({"predictions": predictions}).encode())
