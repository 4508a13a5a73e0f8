"""The gateway as a library, with the vendors' SDKs on one side of it and mock upstreams on the other.

Upstreams are real sockets. Clients are not: what an SDK sends goes straight to `Gateway.handle`.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import httpx2
import yaml
from anthropic import AsyncAnthropic
from google import genai
from google.genai import types
from openai import AsyncOpenAI

from cliproxy.config import parse_config
from cliproxy.config.schema import Config
from cliproxy.credentials.pool import Pool
from cliproxy.exchange import Answer as Served
from cliproxy.exchange import AnswerCut, ByteStream, ClientRequest, Headers
from cliproxy.gateway import Gateway
from cliproxy.limits import KeyLimits
from cliproxy.memory import Memory
from cliproxy.transport.client import HttpTransport, TimeLimits
from tests.answers import Answer
from tests.native import Format
from tests.upstream import Upstream
from tests.virtual_time import Clock

ORIGIN = "http://gateway.test"
MODEL = "model"
"""What clients call the model that every upstream offers …"""
UPSTREAM_MODEL = "up-model"
"""… and what the upstreams call it."""

SECTIONS: Mapping[Format, str] = {
    "openai-chat": "openai-compatibility",
    "openai-responses": "codex-api-key",
    "anthropic": "claude-api-key",
    "gemini": "gemini-api-key",
}
PROVIDERS: Mapping[Format, str] = {
    "openai-chat": "chat",
    "openai-responses": "codex",
    "anthropic": "claude",
    "gemini": "gemini",
}


class Site:
    """Upstreams, and gateways over them; all end with the test. What gateways remember they share."""

    def __init__(self) -> None:
        self.clock = Clock()
        """The time for cooldowns and the limits of client keys."""
        self._sections: dict[str, list[dict[str, Any]]] = {}
        self._memory = Memory(Pool(self.clock), KeyLimits(self.clock))
        self._running = AsyncExitStack()
        # Nothing here speaks TLS; a context without authorities is made in no time.
        self._transport = HttpTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), TimeLimits(5, 5, 5))

    async def __aenter__(self) -> Self:
        self._running.push_async_callback(self._transport.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    async def upstream(self, format: Format, *answers: Answer, **entry: Any) -> Upstream:
        """One more upstream. entry: further fields of its place in the config, with `_` for `-`."""
        upstream = await self._running.enter_async_context(Upstream())
        upstream.script(*answers)
        section = self._sections.setdefault(SECTIONS[format], [])
        fields: dict[str, Any] = {
            "base-url": upstream.url if format in ("anthropic", "gemini") else f"{upstream.url}/v1",
            "models": [{"name": UPSTREAM_MODEL, "alias": MODEL}],
            **_kebab(entry),
        }
        key = f"sk-test-upstream-{len(section)}"
        if format == "openai-chat":
            fields |= {"name": PROVIDERS[format], "api-key-entries": [key]}
        else:
            fields["api-key"] = key
        section.append(fields)
        return upstream

    def config(self, **options: Any) -> Config:
        """Of all upstreams so far. options: of the top level, with `_` for `-`."""
        loaded = parse_config(yaml.safe_dump({**self._sections, "demo": False, **_kebab(options)}))
        assert not [warning for warning in loaded.warnings if "unknown key" in warning]
        return loaded.config

    def over(self, config: Config) -> Gateway:
        """A gateway."""
        return Gateway(config, self._transport, self._memory)

    def gateway(self, **options: Any) -> Gateway:
        """A gateway over all upstreams so far; options as for `config`."""
        return self.over(self.config(**options))

    def clients(self, gateway: Gateway | None = None, key: str = "sk-test-client") -> "Clients":
        """Clients of a gateway, of one over all upstreams so far where none is given."""
        clients = Clients(gateway or self.gateway(), key)
        self._running.push_async_callback(clients.http.aclose)
        return clients


def _kebab(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in fields.items()}


class Clients:
    """The vendors' SDKs, and plain HTTP. None of them tries again."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self.http = httpx2.AsyncClient(transport=_InProcess(gateway), base_url=ORIGIN)
        """Shows no key of its own accord."""
        self._key = key

    @cached_property
    def openai(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{ORIGIN}/v1", api_key=self._key, http_client=self.http, max_retries=0)

    @cached_property
    def anthropic(self) -> AsyncAnthropic:
        return AsyncAnthropic(base_url=ORIGIN, api_key=self._key, http_client=self.http, max_retries=0)

    @cached_property
    def google(self) -> Any:
        """The asynchronous half of the SDK's client."""
        options = types.HttpOptions(base_url=ORIGIN, httpx_async_client=self.http)
        return genai.Client(api_key=self._key, http_options=options).aio


class _InProcess(httpx2.AsyncBaseTransport):
    """Takes requests to a gateway in place of a socket."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        path, _, query = request.url.raw_path.decode().partition("?")
        headers = Headers(request.headers.multi_items())
        answer = await self._gateway.handle(ClientRequest(request.method, path, query, headers, await request.aread()))
        fields = list(answer.headers.items())
        if isinstance(answer.body, bytes):
            return httpx2.Response(answer.status, headers=fields, content=answer.body)
        return httpx2.Response(answer.status, headers=fields, stream=_Streamed(answer.body))


class _Streamed(httpx2.AsyncByteStream):
    """The body of a streamed answer."""

    def __init__(self, body: ByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body:
                yield piece
        except AnswerCut as cut:
            raise httpx2.RemoteProtocolError(str(cut)) from None

    async def aclose(self) -> None:
        await self._body.aclose()


async def whole(answer: Served) -> bytes:
    """All of an answer's body."""
    return answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
