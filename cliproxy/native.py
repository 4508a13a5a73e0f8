"""Calls that go on as they are: whatever an upstream of the client's own format makes of them."""

from typing import Any

from cliproxy.access import without_keys
from cliproxy.answering import PassedOn, json_answer
from cliproxy.call import read_body, with_model
from cliproxy.code_assist import without_account
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Answer, Exchange
from cliproxy.limits import KeyLimits
from cliproxy.providers import can
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.routes import Route
from cliproxy.routing.catalogue import Catalogue
from cliproxy.transport.headers import forwarded, returned
from cliproxy.upstreams import Upstreams
from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault


class NativeCalls:
    """Passes calls on, for one configuration."""

    def __init__(self, catalogue: Catalogue, limits: KeyLimits, upstreams: Upstreams, max_body_bytes: int) -> None:
        """max_body_bytes: of bodies that are read, to find the model in them."""
        self._catalogue = catalogue
        self._limits = limits
        self._upstreams = upstreams
        self._max_body_bytes = max_body_bytes

    async def answer(self, exchange: Exchange, route: Route) -> Answer:
        """Pass a call on to an upstream of its own format. Held bodies may name a model, streamed ones are not read."""
        request = exchange.request
        candidates = tuple(c for c in self._catalogue.speaking(route.formats) if can(c, Purpose.NATIVE, route.path))
        if key := exchange.key:
            await self._limits.admit(key)
            allowed = tuple(c for c in candidates if self._limits.allows_provider(key, c.credential.provider))
            if candidates and not allowed:
                message = f"this API key may not use the providers of {request.path}"
                raise ClientFault(message, status=403, code="provider_not_allowed")
            candidates = allowed
        headers = forwarded(request.headers)
        body: Any = request.body
        if isinstance(body, bytes) and body:
            body = await read_body(request, self._max_body_bytes)
            headers.popall("content-encoding", None)
            name = route.model or _named_model(body)
            if key and name and not self._limits.allows_model(key, name):
                raise ClientFault(f"this API key may not use {name!r}", status=403, code="model_not_allowed")
            candidates = self._catalogue.narrowed(candidates, name, required=bool(route.model))
        elif length := request.headers.get("content-length"):
            # Not every upstream takes a body of unknown length.
            headers["Content-Length"] = length
        if not candidates:
            raise ClientFault(f"{request.path} needs a credential whose upstream speaks {route.format}", status=404)
        candidate = max(candidates, key=lambda c: c.credential.priority)
        if isinstance(body, bytes) and candidate.model and not route.model:
            body = with_model(body, candidate.model)
        format_ = route.format if route.format in candidate.credential.formats else candidate.credential.formats[0]
        query = without_keys(request.query)
        call = UpstreamCall(
            Purpose.NATIVE,
            format_,
            request.method,
            route.path,
            query,
            headers,
            body or None,
            action=route.action,
        )
        return await self.passed_on(exchange, candidate, call)

    async def code_assist(self, exchange: Exchange, route: Route) -> Answer:
        """What Gemini CLI wants to know of its account: the linked one says it, or it is made up here."""
        request, key = exchange.request, exchange.key
        body = await read_body(request, self._max_body_bytes)
        candidates = [
            candidate
            for candidate in self._catalogue.speaking((route.format,))
            if candidate.credential.dialect == "gemini-cli"
            and (key is None or self._limits.allows_provider(key, candidate.credential.provider))
        ]
        if not candidates:
            return json_answer(200, without_account(route.action))
        candidate = max(candidates, key=lambda c: c.credential.priority)
        headers, query = forwarded(request.headers), without_keys(request.query)
        headers.popall("content-encoding", None)
        call = UpstreamCall(Purpose.NATIVE, route.format, request.method, route.path, query, headers, body or None)
        return await self.passed_on(exchange, candidate, call)

    async def passed_on(self, exchange: Exchange, candidate: Candidate, call: UpstreamCall) -> Answer:
        """Whatever an upstream answers to a call of its own format."""
        attempt = await self._upstreams.begin(exchange, candidate, call)
        headers = returned(attempt.response.headers)
        if length := attempt.response.headers.get("content-length"):
            headers["content-length"] = length
        return Answer(attempt.response.status, headers, PassedOn(attempt))


def _named_model(body: bytes) -> str:
    """The model that a JSON body of any kind names, or an empty string."""
    try:
        value = json.loads(body)
    except ValueError:
        return ""
    model = value.get("model") if isinstance(value, dict) else None
    return model if isinstance(model, str) else ""
