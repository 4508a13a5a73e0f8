"""Shows every upstream attempt as a flow of its own, next to the client's.

The gateway's upstream calls are not mitmproxy's connections, so their flows are made here from the records of
`cliproxy.exchange` and announced through mitmproxy's hooks: view, save, HAR export and other addons then see
them as they see any flow. Client flow and attempts name each other in their comments. Nothing is built when
nobody looks. Credentials are masked before they enter a flow.
"""

from mitmproxy import connection, ctx, flow, http
from mitmproxy.hooks import Hook
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)
from mitmproxy.utils import asyncio_utils
from yarl import URL

from cliproxy.exchange import Attempt, Exchange, Headers
from cliproxy.secrets import mask_header, mask_query

ATTEMPT = "cliproxy.attempt"
"""`flow.metadata` key: on an attempt's flow, the id of the client's flow."""

# Two that ordinary fonts have; most of mitmproxy's marks need an emoji font.
MARK_SERVED, MARK_FAILED = ":heavy_check_mark:", ":heavy_multiplication_x:"


class AttemptObserver:
    """Keeps the flows of one exchange's attempts in step with their records."""

    def __init__(self, client_flow: http.HTTPFlow, body_limit_bytes: int) -> None:
        self.body_limit_bytes = body_limit_bytes
        self._client_flow = client_flow
        self._flows: dict[int, http.HTTPFlow] = {}

    async def attempt_started(self, exchange: Exchange, attempt: Attempt) -> None:
        attempt_flow = _begun(self._client_flow, exchange, attempt)
        self._flows[attempt.number] = attempt_flow
        self._client_flow.comment = client_comment(exchange, self._flows)
        await _announce(HttpRequestHeadersHook(attempt_flow))
        await _announce(HttpRequestHook(attempt_flow))

    async def attempt_answered(self, exchange: Exchange, attempt: Attempt) -> None:
        attempt_flow = self._flows[attempt.number]
        attempt_flow.response = _response(attempt)
        if attempt.peer:
            attempt_flow.server_conn.peername = attempt.peer
        await _announce(HttpResponseHeadersHook(attempt_flow))

    def attempt_ended(self, exchange: Exchange, attempt: Attempt) -> None:
        attempt_flow = self._flows[attempt.number]
        attempt_flow.comment = attempt_comment(self._client_flow, exchange, attempt)
        attempt_flow.marked = MARK_FAILED if attempt.error or attempt.status >= 400 else MARK_SERVED
        attempt_flow.server_conn.timestamp_end = attempt.ended_s
        self._client_flow.comment = client_comment(exchange, self._flows)
        self._client_flow.marked = attempt_flow.marked
        response = attempt_flow.response
        if response is None or attempt.error:
            attempt_flow.error = flow.Error(attempt.error or "no answer", attempt.ended_s)
        if response is not None:
            response.raw_content = bytes(attempt.response_body)
            response.timestamp_end = attempt.ended_s
            if attempt.response_bytes > len(attempt.response_body):
                attempt_flow.comment += (
                    f" · the last {len(attempt.response_body)} of {attempt.response_bytes} bytes kept"
                )
        attempt_flow.live = False
        hook = HttpErrorHook(attempt_flow) if attempt_flow.error else HttpResponseHook(attempt_flow)
        asyncio_utils.create_task(_announce(hook), name="announce attempt", keep_ref=True)


async def _announce(hook: Hook) -> None:
    await ctx.master.addons.handle_lifecycle(hook)


def attempt_comment(client_flow: http.HTTPFlow, exchange: Exchange, attempt: Attempt) -> str:
    """`attempt 1 · gpt-5 → openai/gpt-5 → openai sk-t…#1f3a9c · 12+34 tokens · for 4d0c…`"""
    served = f"{exchange.model or attempt.request.method} → {attempt.provider}/{attempt.model} → {attempt.credential}"
    facts = [f"attempt {attempt.number}", served]
    usage = attempt.usage
    if usage.input is not None or usage.output is not None:
        cached = f" ({usage.cache_read} cached)" if usage.cache_read else ""
        facts.append(f"{usage.input or 0}{cached} + {usage.output or 0} tokens")
    if attempt.finish_reason:
        facts.append(attempt.finish_reason)
    if attempt.error:
        facts.append(attempt.error)
    facts.append(f"for client flow {client_flow.id[:8]}")
    return " · ".join(facts)


def client_comment(exchange: Exchange, flows: dict[int, http.HTTPFlow]) -> str:
    """`gpt-5 → openai/gpt-5 → openai sk-t…#1f3a9c · attempts 5e1f…`"""
    last = exchange.attempts[-1]
    facts = [f"{exchange.model or exchange.request.method} → {last.provider}/{last.model} → {last.credential}"]
    if exchange.client_key:
        facts.append(f"key {exchange.client_key}")
    facts.append(f"attempts {', '.join(f.id[:8] for f in flows.values())}")
    if exchange.dropped:
        facts.append(f"dropped {', '.join(exchange.dropped)}")
    return " · ".join(facts)


def _begun(client_flow: http.HTTPFlow, exchange: Exchange, attempt: Attempt) -> http.HTTPFlow:
    request = attempt.request
    url = URL(request.url, encoded=True)
    server = connection.Server(address=(url.host or "demo", url.port or 443))
    server.timestamp_start = attempt.started_s
    server.tls = url.scheme == "https"
    attempt_flow = http.HTTPFlow(client_flow.client_conn, server, live=False)
    attempt_flow.metadata[ATTEMPT] = client_flow.id
    attempt_flow.comment = attempt_comment(client_flow, exchange, attempt)
    body = request.body if isinstance(request.body, bytes) else b""
    made = http.Request.make(request.method, mask_query(request.url).replace("demo://", "http://", 1), body)
    made.headers = _masked(request.headers, attempt.secret_headers)
    made.headers.insert(0, "host", url.authority)
    if isinstance(request.body, bytes):
        made.headers["content-length"] = str(len(body))
    made.timestamp_start = made.timestamp_end = attempt.started_s
    attempt_flow.request = made
    return attempt_flow


def _response(attempt: Attempt) -> http.Response:
    response = http.Response.make(attempt.status, b"")
    response.reason = attempt.reason
    response.headers = _masked(attempt.response_headers, attempt.secret_headers)
    response.timestamp_start = attempt.headers_s
    response.raw_content = None
    return response


def _masked(headers: Headers, secret: frozenset[str]) -> http.Headers:
    return http.Headers(
        [
            (
                name.encode("latin-1", "replace"),
                (mask_header(value) if name.lower() in secret else value).encode("utf-8", "surrogateescape"),
            )
            for name, value in headers.items()
        ]
    )
