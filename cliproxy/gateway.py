"""The gateway: what happens to a client's request, from its first byte to the last one of the answer.

    request ─▶ route ─▶ client key ─▶ body ─▶ model ─▶ candidates ─▶ attempt ─▶ answer
                                                            ▲            │
                                                            └── the pool ┘

`Gateway.handle` and `Gateway._generate` read like that picture; each step is a call into the module that owns it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from cliproxy.access import Access
from cliproxy.amp import PROVIDER as AMP
from cliproxy.amp import Amp
from cliproxy.answering import (
    MAX_ERROR_BYTES,
    answered,
    error_answer,
    header_text,
    json_answer,
    refusal,
)
from cliproxy.attempt import RunningAttempt
from cliproxy.call import ClientCall, read_body, read_call
from cliproxy.code_assist import enclose
from cliproxy.config.schema import Config
from cliproxy.counting import count_call, counted
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.outcome import TRANSIENT_S
from cliproxy.credentials.pool import Ask
from cliproxy.credentials.record import Credential, Group, grouped
from cliproxy.dispatch import Dispatch, Limits, Trial
from cliproxy.exchange import CLIENT_LEFT, Answer, ClientRequest, Exchange, NoObserver, Observer
from cliproxy.image_generation import is_image_route
from cliproxy.keepalive import kept_alive
from cliproxy.memory import Memory
from cliproxy.native import NativeCalls
from cliproxy.observing import observe
from cliproxy.planning import Planner
from cliproxy.providers import can
from cliproxy.providers.call import Purpose
from cliproxy.public import PUBLIC
from cliproxy.relay import (
    Passing,
    Relay,
)
from cliproxy.routes import Operation, Route, error_format, match
from cliproxy.routing.catalogue import Catalogue, Resolution
from cliproxy.routing.chains import Chains, with_preview
from cliproxy.routing.listing import ModelLists, everything_listed
from cliproxy.routing.registry import Registry, builtin_registry
from cliproxy.session import fingerprint, session_of
from cliproxy.transport.client import HttpTransport
from cliproxy.transport.headers import described, forwarded
from cliproxy.upstreams import Upstreams
from cliproxy.wire.errors import ClientFault, GatewayError
from cliproxy.wire.model import Format

AttemptOn = Callable[[Exchange, ClientCall, Trial], Awaitable[Answer]]
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for an answer that nobody waited for; only records hold it."""


class Gateway:
    """One configuration of the gateway with its connections. Lives on one event loop."""

    def __init__(
        self,
        config: Config,
        transport: HttpTransport,
        memory: Memory | None = None,
        registry: Registry | None = None,
        accounts: Sequence[Credential] = (),
        book: Callable[[Exchange], None] | None = None,
        announce: Callable[[Exchange], None] | None = None,
    ) -> None:
        """memory: that of the configuration before. accounts: credentials beside those of the config.
        book: told of each call of a model that is over. announce: told of each that begins.
        """
        self._config = config
        self._transport = transport
        self._book, self._announce = book, announce
        memory = memory or Memory()
        self._pool, self._limits, self._transcripts = memory.pool, memory.limits, memory.transcripts
        self._pool.configure(
            config.upstream_strategy.order or config.routing.strategy, config.routing.session_affinity_ttl
        )
        transient_s = config.transient_error_cooldown_seconds
        self._transient_s = None if transient_s < 0 else float(transient_s or TRANSIENT_S)
        self._chains = Chains(config.models)
        self._planner = Planner(config, memory.transcripts)
        self._upstreams = Upstreams(transport, memory.sockets, memory.members)
        self._access = Access(config.api_keys)
        self._registry = registry or builtin_registry()
        self._catalogue = Catalogue(
            [*credentials_of(config), *accounts], self._registry, force_prefix=config.force_model_prefix
        )
        self._lists = ModelLists(
            everything_listed(self._catalogue, config.models),
            plain_for_claude_code=config.claude_code.disable_cloaking_model_list,
        )
        self._amp = Amp(config.ampcode, lambda name: name in config.models or self._catalogue.offers(name))
        self._native = NativeCalls(self._catalogue, self._limits, self._upstreams, config.max_request_body_bytes)
        self._operations: dict[Operation, Callable[[Exchange, Route], Awaitable[Answer]]] = {
            Operation.GENERATE: self._generate,
            Operation.COMPLETE: self._generate,
            Operation.COMPACT: self._compact,
            Operation.COUNT_TOKENS: self._count_tokens,
            Operation.NATIVE: self._native.answer,
            Operation.CODE_ASSIST: self._native.code_assist,
            Operation.AMP: self._pass_to_amp,
            Operation.LIST_MODELS: self._list_models,
            Operation.GET_MODEL: self._get_model,
        }

    async def handle(self, request: ClientRequest, observer: Observer | None = None) -> Answer:
        """Answer a request. What a client or an upstream does wrong is an answer too, never an exception."""
        exchange = Exchange(request, observer or NoObserver(), format=_client_format(request))
        exchange.settled = self._settled
        try:
            answer = await self._answer_to(exchange)
        except asyncio.CancelledError:
            exchange.error = exchange.error or CLIENT_LEFT
            exchange.answered(_CLIENT_CLOSED_REQUEST)
            raise
        exchange.answered(answer.status)
        return answer

    def _settled(self, exchange: Exchange) -> None:
        if self._book and (exchange.model or exchange.attempts):
            self._book(exchange)

    async def _answer_to(self, exchange: Exchange) -> Answer:
        request = exchange.request
        try:
            route = match(request.method, request.path)
            exchange.operation = route.operation.name.lower()
            if self._config.disable_image_generation is True and is_image_route(route.path):
                raise ClientFault("image generation is disabled", status=404, code="not_found")
            if request.intercepted and request.intercepted.treatment == "observe":
                return await observe(exchange, route, self._transport, self._config.max_request_body_bytes)
            if public := PUBLIC.get(route.operation):
                return public()
            if route.operation is Operation.AMP and (sent_away := self._amp.receive(request)):
                return sent_away
            self._admit(exchange)
            if route.is_amps and not await self._answers_amp(exchange, route):
                return await self._pass_to_amp(exchange, route)
            return await self._operations[route.operation](exchange, route)
        except GatewayError as error:
            exchange.error = error.message
            return error_answer(error, exchange.format)

    def _admit(self, exchange: Exchange) -> None:
        """Let the client in, and have what it uses booked on its key. Raises ClientFault."""
        admission = self._access.admit(exchange.request)
        exchange.client_key, key = admission.name, admission.key
        exchange.key = key
        if key and (key.tpm or key.budget_usd):
            exchange.book = lambda attempt: self._limits.book(
                key, attempt.usage, *self._registry.priced_as(attempt.provider, attempt.model)
            )

    # ------------------------------------------------------------ asking a model

    async def _generate(self, exchange: Exchange, route: Route) -> Answer:
        call = await read_call(exchange.request, route, self._config.max_request_body_bytes)
        answer = await self._served(exchange, call)
        return enclose(answer, stream=call.stream) if call.route.enveloped else answer

    async def _compact(self, exchange: Exchange, route: Route) -> Answer:
        call = await read_call(exchange.request, route, self._config.max_request_body_bytes)
        if call.stream:
            raise ClientFault("stream: a compacted conversation comes whole", param="stream")
        # Whoever compacts keeps what the user said, so that all of it must be in the request.
        call.body = self._transcripts.expanded_body(exchange.client_key, call.body)
        return await self._served(exchange, call)

    async def _served(self, exchange: Exchange, call: ClientCall) -> Answer:
        exchange.format, exchange.model, exchange.stream = call.route.format, call.model, call.stream
        exchange.effort = call.effort
        if exchange.key:
            await self._limits.admit(exchange.key)
        if self._announce:
            self._announce(exchange)
        work = self._told(exchange, self._dispatched(exchange, call, self._ask))
        signs = self._planner.signs(call)
        return await (kept_alive(work, signs) if signs else work)

    @staticmethod
    async def _told(exchange: Exchange, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer that `work` gives. Its failure is the exchange's, though the client may have a 200 already."""
        exchange.begin()
        try:
            return await work
        except GatewayError as error:
            exchange.error = error.message
            raise
        finally:
            exchange.end()

    async def _dispatched(
        self, exchange: Exchange, call: ClientCall, attempt: AttemptOn, *, counting: bool = False
    ) -> Answer:
        """Try the model's targets, and each target's candidates, until one answers."""
        chain = self._chains.of(exchange.stand_in or self._catalogue.meant(call.model))
        if len(chain.targets) == 1 and self._config.quota_exceeded.switch_preview_model:
            chain = with_preview(chain, self._catalogue)
        # What an upstream remembers of a conversation over its own socket is of use with that credential only.
        conversation = exchange.request.conversation
        session = session_of(exchange.request, call) if self._config.routing.session_affinity else conversation
        session = fingerprint(session)
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
        resolution = _untranslated(exchange, resolution)
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
        relay, upstream_call = self._planner.plan(exchange, call, candidate)
        attempt = await self._upstreams.begin(exchange, candidate, upstream_call, trial)
        if _lacks_compaction(call, relay, attempt):
            attempt.pass_over("the upstream has no compaction: asked to summarise instead")
            relay, upstream_call = self._planner.translated(exchange, call, candidate)
            attempt = await self._upstreams.begin(exchange, candidate, upstream_call, trial)
        self._pool.note_headroom(candidate, attempt.response.headers)
        answer = await answered(attempt, relay, call)
        if self._config.passthrough_headers and not isinstance(relay, Passing):
            answer.headers.update(described(attempt.headers))
        answer.headers["x-cliproxy-served-by"] = header_text(f"{candidate.credential.provider}/{candidate.model}")
        if self._config.debug and exchange.dropped:
            answer.headers["x-cliproxy-dropped"] = header_text("; ".join(exchange.dropped))
        return answer

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
        attempt = await self._upstreams.begin(exchange, candidate, upstream_call, trial)
        if attempt.response.status >= 300:
            raise await refusal(attempt, Passing(upstream_call.format))
        body = await attempt.read(MAX_ERROR_BYTES)
        attempt.end()
        return json_answer(200, *call.count_answer(counted(upstream_call.format, attempt.response, body)))

    # ------------------------------------------------------------ everything else

    async def _answers_amp(self, exchange: Exchange, route: Route) -> bool:
        """Whether a model is here that can answer Amp; what stands in for the one that it named is on the exchange."""
        if route.operation in (Operation.LIST_MODELS, Operation.GET_MODEL):
            return True
        request = exchange.request
        if not isinstance(request.body, bytes):
            # It is read twice.
            request.body = await read_body(request, self._config.max_request_body_bytes)
            request.headers.popall("content-encoding", None)
        call = await read_call(request, route, self._config.max_request_body_bytes)
        local = self._amp.local(call.model)
        exchange.stand_in = local if local and local != call.model else ""
        if local or not self._amp.has_upstream:
            return True
        if exchange.key and not self._limits.allows_model(exchange.key, call.model):
            raise ClientFault(f"this API key may not use {call.model!r}", status=403, code="model_not_allowed")
        return False

    async def _pass_to_amp(self, exchange: Exchange, route: Route) -> Answer:
        if key := exchange.key:
            await self._limits.admit(key)
            if not self._limits.allows_provider(key, AMP):
                raise ClientFault("this API key may not use Amp's server", status=403, code="provider_not_allowed")
        return await self._native.passed_on(exchange, *self._amp.passed_on(exchange.request))

    async def _list_models(self, exchange: Exchange, route: Route) -> Answer:
        return json_answer(200, self._lists.all(exchange.request, exchange.format, self._may_use(exchange)))

    async def _get_model(self, exchange: Exchange, route: Route) -> Answer:
        return json_answer(200, self._lists.one(route.model, exchange.format, self._may_use(exchange)))

    def _may_use(self, exchange: Exchange) -> Callable[[str], bool]:
        """Whether the client may use a model."""
        key = exchange.key
        return partial(self._limits.allows_model, key) if key else lambda name: True


def _untranslated(exchange: Exchange, resolution: Resolution) -> Resolution:
    """What is left where a client of one vendor may not be answered by another's. Raises ClientFault (404)."""
    intercepted = exchange.request.intercepted
    if intercepted is None or intercepted.treatment == "route":
        return resolution
    speaking = [c for group in resolution.groups for c in group.candidates if exchange.format in c.credential.formats]
    if not speaking:
        message = f"no credential speaks {exchange.format} for {resolution.name!r}; `route` would translate"
        raise ClientFault(message, status=404, code="model_not_found", param="model")
    return replace(resolution, groups=grouped(resolution.name, speaking))


# ---------------------------------------------------------------- answers of the gateway's own


def _client_format(request: ClientRequest) -> Format:
    """The format of answers before the route is known, and of the model routes that OpenAI and Anthropic share."""
    if request.path.startswith("/v1/models"):
        agent = request.headers.get("user-agent", "")
        if "anthropic-version" in request.headers or agent.startswith("claude-cli"):
            return "anthropic"
    return error_format(request.path)


def _lacks_compaction(call: ClientCall, relay: Relay, attempt: RunningAttempt) -> bool:
    """Not every upstream that speaks Responses compacts, but each can summarise."""
    is_passed = call.route.operation is Operation.COMPACT and isinstance(relay, Passing)
    return is_passed and attempt.response.status in (404, 405, 501)
