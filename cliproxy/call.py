"""What a client asks for, read from its HTTP request: the model, whether to stream, and the body as JSON bytes."""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import replace

from cliproxy.access import without_keys
from cliproxy.code_assist import open_request
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import ClientRequest
from cliproxy.routes import Operation, Route
from cliproxy.routing.thinking import with_reasoning
from cliproxy.transport.encoding import decompress_request
from cliproxy.wire import json, tokens
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini.counting import decode_count_request, encode_count
from cliproxy.wire.model import Json, ReasoningIntent, Request
from cliproxy.wire.openai_chat.completions import decode_completion_request
from cliproxy.wire.translation import CODECS


@dataclass(slots=True)
class ClientCall:
    """A request for a model. The body is not decoded further than needed: same-format calls pass it on."""

    route: Route
    model: str
    """As the client named it."""
    stream: bool
    sse: bool
    """A streamed answer is server-sent events; False: Gemini's JSON array."""
    body: bytes
    """Uncompressed JSON object."""
    query: str
    """Without client keys."""
    reasoning: ReasoningIntent | None = None
    """What the suffix of the model's name asks for; wins over the body."""
    effort: str = ""
    """How hard the model is to think, in the client's own word or number; empty: it does not say so at the top."""
    session: str = ""
    """The conversation, where the client's envelope tells it from others."""
    _decoded: Request | None = None

    def request(self) -> Request:
        """The body in the wire model, decoded once. Raises ClientFault."""
        if self._decoded is None:
            self._decoded = self._decode(json.loads_object(self.body, "the body"))
        return replace(self._decoded, reasoning=self.reasoning) if self.reasoning else self._decoded

    def _decode(self, body: Json) -> Request:
        route = self.route
        if route.operation is Operation.COMPLETE:
            return decode_completion_request(body)
        if route.operation is Operation.COUNT_TOKENS and route.format == "gemini":
            return decode_count_request(body, model=self.model)
        if route.operation is Operation.COUNT_TOKENS and route.format == "anthropic":
            body = {"max_tokens": 1, **body}
        stream = self.stream if route.model else None
        return CODECS[route.format].decode_request(body, model=self.model if route.model else None, stream=stream)

    def passed_body(self, candidate: Candidate) -> bytes:
        """The body for an upstream of the same format: the client's bytes, with the upstream's name for the model."""
        body = self.body
        if self.reasoning:
            body = with_reasoning(body, self.route.format, self.reasoning, candidate.facts)
        if not self.route.model and candidate.model != self.model:
            body = with_model(body, candidate.model)
        return body

    def count_answer(self, count: int | None) -> tuple[Json, dict[str, str]]:
        """Body and headers that tell a token count in the client's format; None: estimate it here, and say so."""
        headers = {} if count is not None else {"x-cliproxy-token-count": "estimated"}
        if count is None:
            count = tokens.count(self.request())
        if self.route.format == "gemini":
            return encode_count(count), headers
        body: Json = {"input_tokens": count}
        if self.route.format == "openai-responses":
            body["object"] = "response.input_tokens"
        return body, headers


class _Probe(msgspec.Struct):
    """The few fields that routing needs; everything else stays undecoded."""

    model: Any = None
    stream: Any = None
    # A union with None would take nothing but null.
    input: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    reasoning_effort: Any = None
    reasoning: Any = None
    thinking: Any = None

    def effort(self) -> str:
        """How hard the client wants the model to think."""
        reasoning = self.reasoning.get("effort") if isinstance(self.reasoning, dict) else None
        thinking = self.thinking.get("budget_tokens") if isinstance(self.thinking, dict) else None
        said = next((value for value in (self.reasoning_effort, reasoning, thinking) if value is not None), "")
        return str(said)[:20] if isinstance(said, str | int) else ""


_probe = msgspec.json.Decoder(_Probe).decode


async def read_body(request: ClientRequest, limit_bytes: int) -> bytes:
    """The whole body, uncompressed. Raises ClientFault (400, 413, 415)."""
    body = request.body
    if not isinstance(body, bytes):
        body = await _collect(body, limit_bytes)
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    coding = request.headers.get("content-encoding", "")
    return decompress_request(body, coding, limit_bytes) if coding else body


async def _collect(chunks: AsyncIterable[bytes], limit_bytes: int) -> bytes:
    pieces, size = [], 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        pieces.append(chunk)
    return b"".join(pieces)


def _too_large(limit_bytes: int) -> ClientFault:
    return ClientFault(
        f"the request body exceeds {limit_bytes} bytes (max-request-body-bytes)",
        status=413,
        code="request_too_large",
    )


async def read_call(request: ClientRequest, route: Route, limit_bytes: int) -> ClientCall:
    """Read a request for a model. Raises ClientFault for anything that is not one."""
    body = await read_body(request, limit_bytes)
    session = ""
    if route.enveloped:
        model, session, body = open_request(body)
        route = Route(route.operation, route.format, route.path, model, route.action, enveloped=True)
    probe = _probe_body(body)
    query = without_keys(request.query)
    if route.model:
        sse = parse_qs(query).get("alt") == ["sse"]
        stream = route.action == "streamGenerateContent"
        return ClientCall(route, route.model, stream, sse, body, query, session=session)
    if not isinstance(probe.model, str) or not probe.model:
        found = "is missing" if probe.model is None else f"must be a string that is not empty, not {probe.model!r:.50}"
        raise ClientFault(f"model {found}", param="model")
    if not isinstance(probe.stream, bool | None):
        raise ClientFault(f"stream must be true or false, not {probe.stream!r:.50}", param="stream")
    if (
        route.operation is Operation.GENERATE
        and route.format == "openai-chat"
        and _is_given(probe.input)
        and not _is_given(probe.messages)
    ):
        # Some clients send Responses bodies to the chat path; CLIProxyAPI takes them as what they are.
        route = Route(Operation.GENERATE, "openai-responses", "/v1/responses")
    return ClientCall(route, probe.model, bool(probe.stream), True, body, query, effort=probe.effort())


def _probe_body(body: bytes) -> _Probe:
    try:
        return _probe(body)
    except RecursionError:
        raise ClientFault("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # The standard library takes more than msgspec, and says better what is wrong.
    try:
        # As text, or the standard library would take UTF-16 too.
        value = json.loads(body.decode("utf-8-sig"))
    except ValueError as error:
        raise ClientFault(f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ClientFault(f"the body must be a JSON object, not {_json_type(value)}")
    given = [msgspec.Raw(b"[]" if value.get(name) is not None else b"") for name in ("input", "messages")]
    wishes = [value.get(name) for name in ("reasoning_effort", "reasoning", "thinking")]
    return _Probe(value.get("model"), value.get("stream"), *given, *wishes)


def _is_given(member: msgspec.Raw) -> bool:
    return bytes(member) not in (b"", b"null")


def _json_type(value: object) -> str:
    names = {
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names[type(value)]


def with_model(body: bytes, model: str) -> bytes:
    """The same JSON object with another `model`; every other value keeps its bytes, so prompt caches stay valid."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _with_model_in_place(body.decode("utf-8"), model)
    members["model"] = msgspec.Raw(json.dumps(model))
    return msgspec.json.encode(members)


def _with_model_in_place(text: str, model: str) -> bytes:
    """`with_model` for what only the standard library reads (NaN, lone surrogates): its last `model` is replaced."""
    scan = JSONDecoder().raw_decode
    at, span = _after_space(text, text.index("{") + 1), (0, 0)
    while text[at] != "}":
        name, at = scan(text, at)
        at = _after_space(text, text.index(":", at) + 1)
        begin = at
        _, at = scan(text, at)
        if name == "model":
            span = (begin, at)
        at = _after_space(text, at)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return f"{text[: span[0]]}{json.dumps_text(model)}{text[span[1] :]}".encode()


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
