"""An upstream call as a flow shows it, and back: what was changed there by hand or by a script.

Credentials are masked in what is shown. Where a mask comes back unchanged, the credential is meant.
"""

import time
from urllib.parse import unquote_plus, urlsplit

from mitmproxy import http
from yarl import URL

from cliproxy.exchange import Headers, UpstreamRequest, UpstreamResponse
from cliproxy.secrets import SECRET_QUERY, mask, mask_header, mask_query


def shown_request(request: UpstreamRequest, secret: frozenset[str]) -> http.Request:
    """secret: lower-case names of the headers whose values are masked."""
    body = request.body if isinstance(request.body, bytes) else b""
    shown = http.Request.make(request.method, request.url.replace("demo://", "http://", 1), body)
    # A mask is not ASCII, which mitmproxy wants of whole URLs, though not of paths.
    shown.path = mask_query(shown.path)
    shown.headers = masked_headers(request.headers, secret)
    shown.headers.insert(0, "host", URL(request.url, encoded=True).authority)
    if isinstance(request.body, bytes):
        shown.headers["content-length"] = str(len(body))
    return shown


def take_request(now: http.Request, before: http.Request, request: UpstreamRequest, secret: frozenset[str]) -> None:
    """Change a request as what is shown of it was changed. before: as `shown_request` gave it, of the same `secret`.

    A body that is passed on while it arrives stays as it is.
    """
    is_held = not request.body or isinstance(request.body, bytes)
    request.method = now.method
    if now.url != before.url:
        request.url = _unmasked_url(now.url, request.url)
    if now.headers.fields != before.headers.fields:
        # The transport writes these itself.
        own = {"host": before.headers["host"], "content-length": now.headers.get("content-length", "")}
        own = own if is_held else {"host": own["host"]}
        request.headers = Headers(
            (name, value)
            for name, value in _unmasked_headers(now.headers, request.headers, secret).items()
            if own.get(name.lower()) != value
        )
    if is_held and now.raw_content != before.raw_content:
        request.body = now.raw_content or b""


def shown_response(response: UpstreamResponse, secret: frozenset[str]) -> http.Response:
    """A response without its body. secret: as for a request."""
    shown = http.Response.make(response.status, b"")
    shown.reason = response.reason
    shown.headers = masked_headers(response.headers, secret)
    shown.timestamp_start = time.time()
    shown.timestamp_end = None
    shown.raw_content = None
    return shown


class ShownResponse:
    """An `UpstreamResponse` that is what a flow shows."""

    def __init__(self, shown: http.Response, sent: UpstreamResponse | None, secret: frozenset[str]) -> None:
        """sent: what the upstream sent; None: it was not asked. secret: as for `shown_response`."""
        self.status = shown.status_code
        self.reason = shown.reason
        self.headers = _unmasked_headers(shown.headers, sent.headers if sent else Headers(), secret)
        self.peer = sent.peer if sent else None
        self._body = shown.raw_content or b""

    async def chunks(self):
        if self._body:
            yield self._body

    async def read(self, limit_bytes: int) -> bytes:
        return self._body

    def close(self) -> None:
        pass


def masked_headers(headers: Headers, secret: frozenset[str]) -> http.Headers:
    return http.Headers(
        [
            (
                name.encode("latin-1", "replace"),
                (mask_header(value) if name.lower() in secret else value).encode("utf-8", "surrogateescape"),
            )
            for name, value in headers.items()
        ]
    )


def _unmasked_headers(shown: http.Headers, real: Headers, secret: frozenset[str]) -> Headers:
    meant = {mask_header(value): value for name, value in real.items() if name.lower() in secret}
    pairs = ((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in shown.fields)
    return Headers((name, meant.get(value, value)) for name, value in pairs)


def _unmasked_url(shown: str, real: str) -> str:
    for parameter in urlsplit(real).query.split("&"):
        name, _, value = parameter.partition("=")
        if value and unquote_plus(name).lower() in SECRET_QUERY:
            shown = shown.replace(mask(value), value)
    return shown
