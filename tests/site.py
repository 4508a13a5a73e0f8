"""The gateway as a library over one upstream of all formats: raw requests in, raw answers out.

Owns the two ends; what happens between them is the business of the tests.
"""

import json
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cliproxy.config.loading import parse_config
from cliproxy.exchange import Attempt, ClientRequest, Exchange, Headers, NoObserver
from cliproxy.gateway import Gateway
from cliproxy.transport.client import HttpTransport, TimeLimits
from tests.calls import call, message_of
from tests.certificates import client_context
from tests.native import Format
from tests.processes import CLIENT_KEY, config_for
from tests.upstream import Upstream

NO_LIMITS = TimeLimits(None, None, None)


class Site:
    """One upstream, and gateways in front of it, with `tests.processes.config_for` and more keys of the config."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self._transports: list[HttpTransport] = []

    def gateway(
        self, options: Mapping[str, Any] | None = None, *sections: Mapping[str, Any], limits: TimeLimits = NO_LIMITS
    ) -> Gateway:
        """options: of the top level. sections: further credentials."""
        self._transports.append(HttpTransport(client_context(), limits, "direct"))
        text = yaml.safe_dump({**config_for(self.upstream, *sections), **(options or {})})
        return Gateway(parse_config(text).config, self._transports[-1])

    async def close(self) -> None:
        for transport in self._transports:
            await transport.close()


class Noting(NoObserver):
    """Keeps the attempts that have ended."""

    def __init__(self) -> None:
        self.ended: list[Attempt] = []

    def attempt_ended(self, exchange: Exchange, attempt: Attempt) -> None:
        self.ended.append(attempt)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    format: Format,
    *,
    stream: bool = False,
    model: str = "",
    fields: Mapping[str, Any] | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> ClientRequest:
    """`tests.calls.call` as the gateway takes it. fields: more of the body's. body: in its place."""
    asked = call(format, stream=stream, model=model)
    path, _, query = asked.path.partition("?")
    raw = json.dumps({**asked.json, **(fields or {})}).encode() if body is None else body
    return ClientRequest("POST", path, query, Headers({**asked.headers, **(headers or {})}), raw)


def plain(
    method: str, path: str, body: bytes | AsyncIterable[bytes] = b"", query: str = "", **headers: str
) -> ClientRequest:
    """Any other request, with the client's key."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return ClientRequest(method, path, query, Headers({"Authorization": f"Bearer {CLIENT_KEY}", **sent}), body)


def body_of(asked: ClientRequest) -> bytes:
    """The body of a request that holds all of it."""
    assert isinstance(asked.body, bytes)
    return asked.body


async def ask(gateway: Gateway, asked: ClientRequest, observer: NoObserver | None = None) -> Reply:
    """Send a request and wait for all of the answer."""
    answer = await gateway.handle(asked, observer)
    body = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
    return Reply(answer.status, answer.headers, body)


def refused(format: Format, status: int, reply: Reply) -> str:
    """The message of an error, which must have the format's shape."""
    assert (reply.status, reply.headers["content-type"]) == (status, "application/json"), reply.body
    return message_of(format, status, reply.json)
