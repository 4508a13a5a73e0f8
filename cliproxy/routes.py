"""Which paths are the gateway's, and what a call to each of them is."""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from urllib.parse import unquote

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format


class Operation(Enum):
    """What a route does."""

    GENERATE = auto()
    """Ask a model; the answer may stream."""
    COMPLETE = auto()
    """OpenAI's legacy completions: GENERATE with a prompt for messages."""
    COMPACT = auto()
    """Replace a conversation by a summary of it."""
    COUNT_TOKENS = auto()
    NATIVE = auto()
    """Pass on to an upstream of the route's own format, whatever it means."""
    CODE_ASSIST = auto()
    """A method of Code Assist's that is about the account."""
    AMP = auto()
    """Something of Amp's that is no business of models: for its own server."""
    LIST_MODELS = auto()
    GET_MODEL = auto()
    HEALTH = auto()
    BANNER = auto()
    PREFLIGHT = auto()
    CONVERSE = auto()
    """Ask models over a WebSocket."""
    RELAY = auto()
    """Take calls of the gateway's over a WebSocket, as a page of AI Studio does."""


@dataclass(frozen=True, slots=True)
class Route:
    """A call to one of the gateway's paths."""

    operation: Operation
    format: Format
    """The client's format: of the body, the answer and the errors."""
    path: str
    """Below the format's API root: what an upstream of the same format is called with."""
    model: str = ""
    """For formats that name the model in the path."""
    action: str = ""
    """Gemini's method: `generateContent` …"""
    enveloped: bool = False
    """Bodies are in Code Assist's envelope, which names the model."""

    is_amps: bool = False
    """Amp's way of calling it, which may be for its own server."""

    @property
    def formats(self) -> tuple[Format, ...]:
        """The upstream formats that can serve a NATIVE call, best first."""
        if self.format == "openai-responses":
            return ("openai-responses", "openai-chat")
        if self.format == "openai-chat":
            return ("openai-chat", "openai-responses")
        return (self.format,)


_OPENAI_NATIVE = re.compile(
    r"(?:chat/completions/.+|responses/.+|(?:assistants|threads|conversations|chatkit|containers|evals|files|uploads"
    r"|batches|vector_stores|images|audio|embeddings|moderations|completions|fine_tuning|realtime|skills|videos)(?:/.*)?)"
)
_GEMINI_MODEL = re.compile(r"/(v1beta|v1)/models/(.+):([A-Za-z]+)")
_CODE_ASSIST = re.compile(r"/v1internal(?::([A-Za-z]+)|/operations/[^/]+)")
_GEMINI_NATIVE = re.compile(
    r"/(?:upload/)?v1beta/(?:files|cachedContents|tunedModels|models|batches|corpora|operations)(?:[/:].*)?"
)
_GEMINI_ACTIONS: dict[str, Operation] = {
    "generateContent": Operation.GENERATE,
    "streamGenerateContent": Operation.GENERATE,
    "countTokens": Operation.COUNT_TOKENS,
    "embedContent": Operation.NATIVE,
    "batchEmbedContents": Operation.NATIVE,
    "asyncBatchEmbedContent": Operation.NATIVE,
    "batchGenerateContent": Operation.NATIVE,
    "predict": Operation.NATIVE,
    "predictLongRunning": Operation.NATIVE,
}

_FIXED: dict[str, tuple[Operation, Format, tuple[str, ...]]] = {
    "/": (Operation.BANNER, "openai-chat", ("GET", "HEAD")),
    "/healthz": (Operation.HEALTH, "openai-chat", ("GET", "HEAD")),
    "/v1/models": (Operation.LIST_MODELS, "openai-chat", ("GET",)),
    "/v1beta/models": (Operation.LIST_MODELS, "gemini", ("GET",)),
    "/v1/chat/completions": (Operation.GENERATE, "openai-chat", ("POST",)),
    "/v1/completions": (Operation.COMPLETE, "openai-chat", ("POST",)),
    "/v1/responses": (Operation.GENERATE, "openai-responses", ("POST",)),
    "/v1/responses/compact": (Operation.COMPACT, "openai-responses", ("POST",)),
    "/v1/responses/input_tokens": (Operation.COUNT_TOKENS, "openai-responses", ("POST",)),
    "/v1/alpha/search": (Operation.NATIVE, "openai-responses", ("POST",)),
    "/v1/messages": (Operation.GENERATE, "anthropic", ("POST",)),
    "/v1/messages/count_tokens": (Operation.COUNT_TOKENS, "anthropic", ("POST",)),
    "/v1/ws": (Operation.RELAY, "openai-chat", ("GET",)),
}
_ALIASES = {f"/backend-api/codex{path}": f"/v1{path}" for path in ("/responses", "/responses/compact", "/alpha/search")}
"""Codex's own paths, where its `chatgpt_base_url` points here."""
_WEBSOCKETS = {"/v1/responses": Operation.CONVERSE, "/v1/ws": Operation.RELAY}

_AMP_MODELS = re.compile(r"/api/provider/([^/]+)(/.+)")
_AMP = re.compile(
    r"/api/provider/.*|/api/(?:internal|user|auth|meta|ads|telemetry|threads|otel|tab)(?:/.*)?"
    r"|/(?:threads|docs|settings|auth)(?:/.*)?|/(?:threads|news)\.rss"
)
_GOOGLES_OTHER_PATH = "/v1beta1/publishers/google/models/"
_OF_MODELS = frozenset(
    {
        Operation.GENERATE,
        Operation.COMPLETE,
        Operation.COUNT_TOKENS,
        Operation.LIST_MODELS,
        Operation.GET_MODEL,
    }
)
"""What Amp may be answered here."""
_MANAGEMENT = re.compile(r"/v0/management(?:/.*)?|/management\.html|/management/.*")
_BESIDE_MANAGEMENT = re.compile(r"/readyz|/metrics|/(?:anthropic|codex|antigravity|google|iflow)/callback")
"""Everyday names, which belong to whatever site is behind us."""
_LISTED_FOR: dict[str, Format] = {"anthropic": "anthropic", "google": "gemini"}
"""Whose shape a list has that Amp asks of a provider, where not OpenAI's."""


def is_ours(path: str) -> bool:
    """Whether a path (without query) belongs to the gateway, whatever the method.

    Of Amp's paths only those of models: the others have everyday names, which belong to whatever site is behind us.
    """
    if path in _FIXED or path in _ALIASES or path.startswith("/api/provider/"):
        return True
    return bool(_MANAGEMENT.fullmatch(path)) or _family(path) is not None


def is_management(path: str) -> bool:
    """Whether a path is the management API's, the dashboard's, or one of those beside them."""
    return bool(_MANAGEMENT.fullmatch(path) or _BESIDE_MANAGEMENT.fullmatch(path))


def opens_websocket(path: str) -> bool:
    """Whether a GET of a path opens a WebSocket."""
    return _ALIASES.get(path, path) in _WEBSOCKETS


def error_format(path: str) -> Format:
    """The format in which to answer errors for any path, known or not."""
    path = _ALIASES.get(path, path)
    if path.startswith("/api/") and (amps := _AMP_MODELS.fullmatch(path)):
        inner = _amps_path(amps[2])
        return _LISTED_FOR.get(amps[1].lower(), "openai-chat") if inner == "/v1/models" else error_format(inner)
    method = _GEMINI_MODEL.fullmatch(path)
    if path.startswith(("/v1beta", "/upload/v1beta", "/v1internal")) or (method and method[3] in _GEMINI_ACTIONS):
        return "gemini"
    if path.startswith(("/v1/messages", "/v1/complete")) and not path.startswith("/v1/completions"):
        return "anthropic"
    if path.startswith("/v1/responses"):
        return "openai-responses"
    return "openai-chat"


def match(method: str, path: str, *, websocket: bool = False) -> Route:
    """Find the route of a call. websocket: it is the opening handshake of one.

    Raises ClientFault: 404 for an unknown path, 405 for a wrong method, 426 where only a WebSocket would do.
    """
    path = _ALIASES.get(path, path)
    if path not in _FIXED and _AMP.fullmatch(path):
        return _amps_route(method, path)
    if method == "GET" and opens_websocket(path):
        return _websocket(path, websocket)
    fixed = _FIXED.get(path)
    if fixed and method in fixed[2]:
        return Route(fixed[0], fixed[1], path)
    route = _family(path)
    if route and route.operation is Operation.GET_MODEL and ":" in route.model and method == "POST":
        # A method that Gemini's API does not have; a model's name may hold a colon, but is only looked at.
        route = None
    methods = fixed[2] if fixed else _methods(route)
    if method == "OPTIONS" and (fixed or route):
        return Route(Operation.PREFLIGHT, error_format(path), path)
    if fixed or (route and methods and method not in methods):
        raise ClientFault(
            f"{method} is not allowed on {path}: use {', '.join(methods)}",
            status=405,
            code="method_not_allowed",
        )
    if route is None:
        raise ClientFault(f"there is nothing at {path}", status=404, code="not_found")
    return route


def _websocket(path: str, websocket: bool) -> Route:
    if websocket:
        return Route(_WEBSOCKETS[path], error_format(path), path)
    instead = ", or use POST" if "POST" in _FIXED[path][2] else ""
    message = f"GET {path} opens a WebSocket: send its handshake over HTTP/1.1{instead}"
    raise ClientFault(message, status=426, code="upgrade_required")


def _amps_route(method: str, path: str) -> Route:
    """What Amp wants of a model is a call like any other; the rest is for its own server."""
    amps = _AMP_MODELS.fullmatch(path)
    # Amp takes its lists of Vertex's models from its own server.
    if amps and not (method != "POST" and amps[2].startswith(_GOOGLES_OTHER_PATH)):
        try:
            route = match(method, _amps_path(amps[2]))
        except ClientFault:
            route = None
        if route and route.operation in _OF_MODELS:
            return replace(route, is_amps=True)
    return Route(Operation.AMP, error_format(path), path)


def _amps_path(path: str) -> str:
    """A path below `/api/provider/NAME` as it is without: some providers' have no version, one has another."""
    if path.startswith(_GOOGLES_OTHER_PATH):
        return f"/v1beta/models/{path.removeprefix(_GOOGLES_OTHER_PATH)}"
    return path if path.startswith("/v1") else f"/v1{path}"


def _methods(route: Route | None) -> tuple[str, ...]:
    """The allowed methods; empty where the upstream decides."""
    if route is None or route.operation is Operation.NATIVE:
        return ("POST",) if route and route.action else ()
    if route.operation is Operation.CODE_ASSIST:
        return ("GET", "POST")
    return ("GET",) if route.operation is Operation.GET_MODEL else ("POST",)


def _family(path: str) -> Route | None:
    """The route of a path that is not a fixed one."""
    if found := _GEMINI_MODEL.fullmatch(path):
        version, model, action = found[1], unquote(found[2]), found[3]
        # What is no method is part of a name (`llama3:latest`).
        if operation := _GEMINI_ACTIONS.get(action):
            return Route(operation, "gemini", f"/{version}/models/", model, action)
    if found := _CODE_ASSIST.fullmatch(path):
        operation = _GEMINI_ACTIONS.get(found[1] or "")
        if operation in (Operation.GENERATE, Operation.COUNT_TOKENS):
            return Route(operation, "gemini", "/v1beta/models/", action=found[1], enveloped=True)
        return Route(Operation.CODE_ASSIST, "gemini", path, action=found[1] or "")
    if path.startswith("/v1beta/models/"):
        return Route(Operation.GET_MODEL, "gemini", path, model=unquote(path.removeprefix("/v1beta/models/")))
    if _GEMINI_NATIVE.fullmatch(path):
        return Route(Operation.NATIVE, "gemini", path)
    if path.startswith("/v1/models/"):
        return Route(Operation.GET_MODEL, "openai-chat", path, model=unquote(path.removeprefix("/v1/models/")))
    if path == "/v1/complete" or path == "/v1/messages/batches" or path.startswith("/v1/messages/batches/"):
        return Route(Operation.NATIVE, "anthropic", path)
    if path.startswith("/v1/") and _OPENAI_NATIVE.fullmatch(path.removeprefix("/v1/")):
        return Route(Operation.NATIVE, error_format(path), path)
    return None
