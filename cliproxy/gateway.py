"""The gateway: what happens to a client's request, from its first byte to the last one of the answer.

    request ─▶ route ─▶ client key ─▶ body ─▶ model ─▶ candidates ─▶ attempt ─▶ answer
                                                            ▲            │
                                                            └── the pool ┘

`Gateway.handle` and `Gateway._generate` read like that picture; each step is a call into the module that owns it.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from cliproxy import compaction
from cliproxy.access import Access, without_keys
from cliproxy.answering import (
    MAX_ERROR_BYTES,
    PassedOn,
    answered,
    error_answer,
    header_text,
    json_answer,
    refusal,
)
from cliproxy.attempt import RunningAttempt, Transport, begin
from cliproxy.call import ClientCall, read_body, read_call, with_model
from cliproxy.config.schema import Config
from cliproxy.counting import count_call, counted
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.outcome import TRANSIENT_S
from cliproxy.credentials.pool import Ask
from cliproxy.credentials.record import Candidate, Credential, Group, grouped
from cliproxy.dispatch import Dispatch, Limits, Trial
from cliproxy.exchange import Answer, ClientRequest, Exchange, Headers, NoObserver, Observer
from cliproxy.keepalive import Signs, kept_alive, stream_signs, whole_signs
from cliproxy.memory import Memory
from cliproxy.providers import can, dialect_of
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.demo import DemoTransport
from cliproxy.relay import (
    JSON,
    Passing,
    Relay,
    Translating,
)
from cliproxy.renaming import Renamer
from cliproxy.routes import Operation, Route, error_format, match
from cliproxy.routing.catalogue import Catalogue, ListedModel, Resolution
from cliproxy.routing.chains import Chains, with_preview
from cliproxy.routing.listing import get_model, list_models
from cliproxy.routing.payload import PayloadRules
from cliproxy.routing.registry import Registry, builtin_registry
from cliproxy.session import session_of
from cliproxy.transport.client import HttpTransport
from cliproxy.transport.headers import forwarded, returned
from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault, GatewayError
from cliproxy.wire.model import Format, Request
from cliproxy.wire.translation import COMPLETIONS, AnswerShape, Translation
from cliproxy.wire.unsealing import without_sealed

GEMINI_PATIENCE_S = 50.0
"""How long a streaming Gemini client is left without headers: Gemini CLI gives up after 65 s."""

AttemptOn = Callable[[Exchange, ClientCall, Trial], Awaitable[Answer]]


class Gateway:
    """One configuration of the gateway with its connections. Lives on one event loop."""

    def __init__(
        self,
        config: Config,
        transport: HttpTransport,
        memory: Memory | None = None,
        registry: Registry | None = None,
        accounts: Sequence[Credential] = (),
    ) -> None:
        """memory: that of the configuration before. accounts: credentials beside those of the config."""
        self._config = config
        self._transport = transport
        self._demo = DemoTransport()
        memory = memory or Memory()
        self._pool, self._limits, self._transcripts = memory.pool, memory.limits, memory.transcripts
        self._pool.configure(
            config.upstream_strategy.order or config.routing.strategy, config.routing.session_affinity_ttl
        )
        transient_s = config.transient_error_cooldown_seconds
        self._transient_s = None if transient_s < 0 else float(transient_s or TRANSIENT_S)
        self._chains = Chains(config.models)
        self._payload = PayloadRules(config.payload)
        self._access = Access(config.api_keys)
        self._catalogue = Catalogue(
            [*credentials_of(config), *accounts],
            registry or builtin_registry(),
            force_prefix=config.force_model_prefix,
        )
        self._operations: dict[Operation, Callable[[Exchange, Route], Awaitable[Answer]]] = {
            Operation.GENERATE: self._generate,
            Operation.COMPLETE: self._generate,
            Operation.COMPACT: self._compact,
            Operation.COUNT_TOKENS: self._count_tokens,
            Operation.NATIVE: self._native,
            Operation.LIST_MODELS: self._list_models,
            Operation.GET_MODEL: self._get_model,
        }

    async def handle(self, request: ClientRequest, observer: Observer | None = None) -> Answer:
        """Answer a request. What a client or an upstream does wrong is an answer too, never an exception."""
        exchange = Exchange(request, observer or NoObserver(), format=_client_format(request))
        try:
            route = match(request.method, request.path)
            if public := _PUBLIC.get(route.operation):
                return public()
            self._admit(exchange)
            return await self._operations[route.operation](exchange, route)
        except GatewayError as error:
            return error_answer(error, exchange.format)

    def _admit(self, exchange: Exchange) -> None:
        """Let the client in, and have what it uses booked on its key. Raises ClientFault."""
        admission = self._access.admit(exchange.request)
        exchange.client_key, key = admission.name, admission.key
        exchange.key = key
        if key and (key.tpm or key.budget_usd):
            exchange.book = lambda attempt: self._limits.book(key, attempt.usage, attempt.provider, attempt.model)

    # ------------------------------------------------------------ asking a model

    async def _generate(self, exchange: Exchange, route: Route) -> Answer:
        call = await read_call(exchange.request, route, self._config.max_request_body_bytes)
        return await self._served(exchange, call)

    async def _compact(self, exchange: Exchange, route: Route) -> Answer:
        call = await read_call(exchange.request, route, self._config.max_request_body_bytes)
        if call.stream:
            raise ClientFault("stream: a compacted conversation comes whole", param="stream")
        # Whoever compacts keeps what the user said, so that all of it must be in the request.
        call.body = self._transcripts.expanded_body(exchange.client_key, call.body)
        return await self._served(exchange, call)

    async def _served(self, exchange: Exchange, call: ClientCall) -> Answer:
        exchange.format, exchange.model = call.route.format, call.model
        if exchange.key and (exchange.key.rpm or exchange.key.tpm or exchange.key.budget_usd):
            self._limits.check(exchange.key)
        work = self._dispatched(exchange, call, self._ask)
        signs = self._signs(call)
        return await (kept_alive(work, signs) if signs else work)

    def _signs(self, call: ClientCall) -> Signs | None:
        """How to keep the client of a slow answer waiting; None: just wait."""
        format_, config = call.route.format, self._config
        if call.stream:
            interval_s = config.streaming.keepalive_seconds
            if format_ == "gemini" and interval_s <= 0:
                interval_s = GEMINI_PATIENCE_S
            return stream_signs(format_, interval_s, sse=call.sse) if interval_s > 0 else None
        interval_s = config.nonstream_keepalive_interval
        return whole_signs(format_, interval_s) if interval_s > 0 else None

    async def _dispatched(
        self, exchange: Exchange, call: ClientCall, attempt: AttemptOn, *, counting: bool = False
    ) -> Answer:
        """Try the model's targets, and each target's candidates, until one answers."""
        chain = self._chains.of(call.model)
        if len(chain.targets) == 1 and self._config.quota_exceeded.switch_preview_model:
            chain = with_preview(chain, self._catalogue)
        session = session_of(exchange.request, call) if self._config.routing.session_affinity else ""
        failed: GatewayError | None = None
        for name in chain.targets:
            try:
                resolution = self._catalogue.resolve(name, call.route.format)
                groups = self._allowed(exchange, resolution)
            except ClientFault as refused:
                failed = failed or refused
                continue
            call.reasoning = resolution.reasoning
            dispatch = Dispatch(
                self._pool,
                Ask(groups, resolution.name, session),
                Limits.of(self._config, stream=call.stream),
                partial(attempt, exchange, call),
                transient_s=self._transient_s,
                counting=counting,
                model_quotas=self._config.codex.model_level_cooling,
            )
            try:
                return await dispatch.run()
            except GatewayError as error:
                failed = error
                if not chain.goes_on(error, dispatch.failures):
                    break
        assert failed
        raise failed

    def _allowed(self, exchange: Exchange, resolution: Resolution) -> tuple[Group, ...]:
        """The candidates that the client's key may use. Raises ClientFault (403)."""
        key = exchange.key
        if not key or not (key.models or key.providers):
            return resolution.groups
        if not any(self._limits.allows_model(key, name) for name in (exchange.model, resolution.name)):
            raise ClientFault(f"this API key may not use {resolution.name!r}", status=403, code="model_not_allowed")
        allowed = [
            candidate
            for group in resolution.groups
            for candidate in group.candidates
            if self._limits.allows_provider(key, candidate.credential.provider)
        ]
        if not allowed:
            message = f"this API key may not use the providers of {resolution.name!r}"
            raise ClientFault(message, status=403, code="provider_not_allowed")
        return grouped(resolution.name, allowed)

    async def _ask(self, exchange: Exchange, call: ClientCall, trial: Trial) -> Answer:
        """One attempt. Raises GatewayError while what went wrong can still be told as an HTTP error."""
        candidate = trial.candidate
        relay, upstream_call = self._plan(exchange, call, candidate)
        session = session_of(exchange.request, call) if candidate.credential.dialect else ""
        upstream_call.session = session
        attempt = await self._begun(exchange, candidate, upstream_call, trial)
        if self._lacks_compaction(call, relay, attempt):
            attempt.pass_over("the upstream has no compaction: asked to summarise instead")
            relay, upstream_call = self._translated(exchange, call, candidate)
            upstream_call.session = session
            attempt = await self._begun(exchange, candidate, upstream_call, trial)
        self._pool.note_headroom(candidate, attempt.response.headers)
        answer = await answered(attempt, relay, call)
        answer.headers["x-cliproxy-served-by"] = header_text(f"{candidate.credential.provider}/{candidate.model}")
        if self._config.debug and exchange.dropped:
            answer.headers["x-cliproxy-dropped"] = header_text("; ".join(exchange.dropped))
        return answer

    async def _begun(
        self, exchange: Exchange, candidate: Candidate, call: UpstreamCall, trial: Trial | None = None
    ) -> RunningAttempt:
        """An upstream call under way. Where an account's token is not taken, the same again with a new one."""
        transport, account = self._transport_of(candidate), candidate.credential.account
        if account is None:
            return await begin(exchange, candidate, call, transport, trial)
        await account.ready()
        token = account.token
        attempt = await begin(exchange, candidate, call, transport, trial)
        refusals = dialect_of(candidate.credential, call.format).token_refusals
        may_repeat = call.body is None or isinstance(call.body, bytes)
        if attempt.response.status in refusals and may_repeat and await account.renewed(token):
            attempt.pass_over("the account's token was not taken: asked again with a new one")
            attempt = await begin(exchange, candidate, call, transport, trial)
        return attempt

    def _plan(self, exchange: Exchange, call: ClientCall, candidate: Candidate) -> tuple[Relay, UpstreamCall]:
        """How to ask `candidate`: as the client did where it speaks the client's format, else translated."""
        format_ = call.route.format
        if format_ in candidate.credential.formats and call.route.operation is not Operation.COMPLETE:
            headers = _json_headers(forwarded(exchange.request.headers))
            renamer = Renamer(format_, call.model) if candidate.force_mapping else None
            if renamer or self._signs(call):
                # Neither pings nor names can be put into a compressed body.
                headers["Accept-Encoding"] = "identity"
            body = call.passed_body(candidate)
            if format_ == "openai-responses":
                body = self._transcripts.expanded_body(exchange.client_key, body)
            body = without_sealed(format_, body, candidate.model)
            holds = candidate.credential.provider == "codex" and self._config.codex.stream_bootstrap_buffering
            return Passing(format_, renamer, holds_handshake=holds), UpstreamCall(
                Purpose.GENERATE,
                format_,
                "POST",
                call.route.path,
                call.query,
                headers,
                self._ruled(exchange, call, candidate, format_, body),
                call.stream,
                call.route.action,
            )
        return self._translated(exchange, call, candidate)

    @staticmethod
    def _lacks_compaction(call: ClientCall, relay: Relay, attempt: RunningAttempt) -> bool:
        """Not every upstream that speaks Responses compacts, but each can summarise."""
        is_passed = call.route.operation is Operation.COMPACT and isinstance(relay, Passing)
        return is_passed and attempt.response.status in (404, 405, 501)

    def _translated(self, exchange: Exchange, call: ClientCall, candidate: Candidate) -> tuple[Relay, UpstreamCall]:
        format_ = call.route.format
        upstream = candidate.credential.formats[0]
        stream = call.stream or candidate.credential.streams_only
        request, shape = self._asked(exchange, call, upstream)
        remember = None
        if format_ == "openai-responses" and shape is None:
            remember = partial(self._transcripts.remember, exchange.client_key, request)
        translation = Translation(
            request, upstream, candidate.facts, call.model, stream=stream, shape=shape, remember=remember
        )
        exchange.dropped = translation.encoded.dropped
        headers = Headers({"content-type": JSON, "accept-encoding": "identity"})
        body = self._ruled(exchange, call, candidate, upstream, translation.body)
        upstream_call = UpstreamCall(Purpose.GENERATE, upstream, "POST", "", "", headers, body, stream)
        return Translating(translation, upstream, stream=call.stream, sse=call.sse), upstream_call

    def _asked(self, exchange: Exchange, call: ClientCall, upstream: Format) -> tuple[Request, AnswerShape | None]:
        """What to ask, and how to write the answer where not as the client's format does."""
        request = call.request()
        if upstream != "openai-responses":
            request = self._transcripts.expand(exchange.client_key, request)
        match call.route.operation:
            case Operation.COMPLETE:
                return request, COMPLETIONS
            case Operation.COMPACT:
                return compaction.summarising(request), compaction.COMPACTED
            case _ if compaction.is_triggered(request):
                return compaction.summarising(request), compaction.TRIGGERED
            case _:
                return request, None

    def _ruled(
        self, exchange: Exchange, call: ClientCall, candidate: Candidate, upstream: Format, body: bytes
    ) -> bytes:
        """A body for `upstream` as the payload rules of the config want it."""
        if not self._payload:
            return body
        return self._payload.apply(
            body,
            model=candidate.model,
            upstream=upstream,
            client=call.route.format,
            headers=exchange.request.headers,
            # A thinking suffix is already in the body; defaults go by what the client itself said.
            original=call.body if call.reasoning and upstream == call.route.format else None,
            provider=candidate.credential.provider,
            client_model=call.model,
        )

    async def _count_tokens(self, exchange: Exchange, route: Route) -> Answer:
        call = await read_call(exchange.request, route, self._config.max_request_body_bytes)
        exchange.model = call.model
        if call.route.format == "openai-responses":
            call.body = self._transcripts.expanded_body(exchange.client_key, call.body)
        try:
            return await self._dispatched(exchange, call, self._count, counting=True)
        except ClientFault:
            raise
        except GatewayError:
            # A count is advice: better an estimate than a client that cannot go on.
            return json_answer(200, *call.count_answer(None))

    async def _count(self, exchange: Exchange, call: ClientCall, trial: Trial) -> Answer:
        """One attempt at counting; an upstream without a counter is spared it."""
        candidate = trial.candidate
        upstream_call = None
        if can(candidate, Purpose.COUNT_TOKENS):
            upstream_call = count_call(call, candidate, forwarded(exchange.request.headers))
        if upstream_call is None:
            trial.abandoned()
            return json_answer(200, *call.count_answer(None))
        attempt = await self._begun(exchange, candidate, upstream_call, trial)
        if attempt.response.status >= 300:
            raise await refusal(attempt, Passing(upstream_call.format))
        body = await attempt.read(MAX_ERROR_BYTES)
        attempt.end()
        return json_answer(200, *call.count_answer(counted(upstream_call.format, attempt.response, body)))

    # ------------------------------------------------------------ everything else

    async def _native(self, exchange: Exchange, route: Route) -> Answer:
        """Pass a call on to an upstream of its own format. Held bodies may name a model, streamed ones are not read."""
        request = exchange.request
        candidates = tuple(c for c in self._catalogue.speaking(route.formats) if can(c, Purpose.NATIVE))
        if key := exchange.key:
            self._limits.check(key)
            allowed = tuple(c for c in candidates if self._limits.allows_provider(key, c.credential.provider))
            if candidates and not allowed:
                message = f"this API key may not use the providers of {request.path}"
                raise ClientFault(message, status=403, code="provider_not_allowed")
            candidates = allowed
        headers = forwarded(request.headers)
        body: Any = request.body
        if isinstance(body, bytes) and body:
            body = await read_body(request, self._config.max_request_body_bytes)
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
        attempt = await self._begun(exchange, candidate, call)
        answer_headers = returned(attempt.response.headers)
        if length := attempt.response.headers.get("content-length"):
            answer_headers["content-length"] = length
        return Answer(attempt.response.status, answer_headers, PassedOn(attempt))

    async def _list_models(self, exchange: Exchange, route: Route) -> Answer:
        return json_answer(200, list_models(self._listed(exchange), exchange.format))

    async def _get_model(self, exchange: Exchange, route: Route) -> Answer:
        return json_answer(200, get_model(self._listed(exchange), route.model, exchange.format))

    def _listed(self, exchange: Exchange) -> list[ListedModel]:
        """The models that the client may use."""
        key = exchange.key
        listed = self._catalogue.listed()
        return [model for model in listed if self._limits.allows_model(key, model.name)] if key else listed

    def _transport_of(self, candidate: Candidate) -> Transport:
        return self._demo if candidate.credential.provider == "demo" else self._transport


# ---------------------------------------------------------------- answers of the gateway's own


def _client_format(request: ClientRequest) -> Format:
    """The format of answers before the route is known, and of the model routes that OpenAI and Anthropic share."""
    if request.path.startswith("/v1/models"):
        agent = request.headers.get("user-agent", "")
        if "anthropic-version" in request.headers or agent.startswith("claude-cli"):
            return "anthropic"
    return error_format(request.path)


def _json_headers(headers: Headers) -> Headers:
    """Headers for a JSON body that was read and is sent uncompressed."""
    headers.popall("content-encoding", None)
    headers["Content-Type"] = JSON
    return headers


def _named_model(body: bytes) -> str:
    """The model that a JSON body of any kind names, or an empty string."""
    try:
        value = json.loads(body)
    except ValueError:
        return ""
    model = value.get("model") if isinstance(value, dict) else None
    return model if isinstance(model, str) else ""


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


_PUBLIC: dict[Operation, Callable[[], Answer]] = {
    Operation.HEALTH: _health,
    Operation.BANNER: _banner,
    Operation.PREFLIGHT: _preflight,
}
