"""Which paths are the gateway's, and what a call to each of them is."""

import re
from dataclasses import dataclass
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
    LIST_MODELS = auto()
    GET_MODEL = auto()
    HEALTH = auto()
    BANNER = auto()
    PREFLIGHT = auto()


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
    upgrade: bool = False
    """GET would be a WebSocket here."""

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
    "/v1/messages": (Operation.GENERATE, "anthropic", ("POST",)),
    "/v1/messages/count_tokens": (Operation.COUNT_TOKENS, "anthropic", ("POST",)),
}
_WEBSOCKETS = {"/v1/responses"}


def is_ours(path: str) -> bool:
    """Whether a path (without query) belongs to the gateway, whatever the method."""
    return path in _FIXED or _family(path) is not None


def error_format(path: str) -> Format:
    """The format in which to answer errors for any path, known or not."""
    method = _GEMINI_MODEL.fullmatch(path)
    if path.startswith(("/v1beta", "/upload/v1beta")) or (method and method[3] in _GEMINI_ACTIONS):
        return "gemini"
    if path.startswith(("/v1/messages", "/v1/complete")) and not path.startswith("/v1/completions"):
        return "anthropic"
    if path.startswith("/v1/responses"):
        return "openai-responses"
    return "openai-chat"


def match(method: str, path: str) -> Route:
    """Find the route of a call.

    Raises ClientFault: 404 for an unknown path, 405 for a wrong method, 426 for a WebSocket.
    """
    fixed = _FIXED.get(path)
    if fixed:
        operation, format_, methods = fixed
        if method in methods:
            return Route(operation, format_, path)
        if method == "GET" and path in _WEBSOCKETS:
            raise ClientFault(f"{path} is not served over WebSocket: use POST", status=426, code="upgrade_required")
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


def _methods(route: Route | None) -> tuple[str, ...]:
    """The allowed methods; empty where the upstream decides."""
    if route is None or route.operation is Operation.NATIVE:
        return ("POST",) if route and route.action else ()
    return ("GET",) if route.operation is Operation.GET_MODEL else ("POST",)


def _family(path: str) -> Route | None:
    """The route of a path that is not a fixed one."""
    if found := _GEMINI_MODEL.fullmatch(path):
        version, model, action = found[1], unquote(found[2]), found[3]
        # What is no method is part of a name (`llama3:latest`).
        if operation := _GEMINI_ACTIONS.get(action):
            return Route(operation, "gemini", f"/{version}/models/", model, action)
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
