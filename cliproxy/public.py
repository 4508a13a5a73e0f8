"""Routes that anyone may ask for: whether the gateway is there, and what it is."""

from collections.abc import Callable

from cliproxy.answering import json_answer
from cliproxy.exchange import Answer, Headers
from cliproxy.routes import Operation


def _health() -> Answer:
    return json_answer(200, {"status": "ok"})


def _banner() -> Answer:
    generate = (
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1beta/models/{model}:generateContent",
    )
    return json_answer(
        200, {"message": "cliproxy", "endpoints": [*(f"POST {path}" for path in generate), "GET /v1/models"]}
    )


def _preflight() -> Answer:
    headers = {"origin": "*", "methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS", "headers": "*"}
    return Answer(204, Headers({f"access-control-allow-{name}": value for name, value in headers.items()}), b"")


PUBLIC: dict[Operation, Callable[[], Answer]] = {
    Operation.HEALTH: _health,
    Operation.BANNER: _banner,
    Operation.PREFLIGHT: _preflight,
}
