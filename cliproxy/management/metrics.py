"""What is counted for Prometheus. Labels are words of the configuration and of vendors, their number is bounded, and
nothing of them is secret.
"""

from functools import cached_property
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from cliproxy.exchange import CLIENT_LEFT, Attempt, Exchange
from cliproxy.usage.prices import cost_usd

MAX_MODELS = 300
"""Pairs of provider and model that have figures of their own: entries with `*` let clients invent models."""
OTHER = "other"

_DURATIONS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_KINDS = ("input", "cache_read", "cache_write", "output", "reasoning")
_OUTCOMES = ("served", "failed", "given_up")


class _Figures(NamedTuple):
    """Of one model of a provider. Looking them up by their labels each time takes longer than counting."""

    attempts: dict[str, Counter]
    """By outcome."""
    tokens: dict[str, Counter]
    """By kind."""
    cost: Counter
    duration: Histogram
    first_byte: Histogram


class Metrics:
    """Counts exchanges, while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self._registry = CollectorRegistry()
        self._models: dict[tuple[str, str], _Figures] = {}
        self._statuses: dict[tuple[str, str, int], Counter] = {}
        counter, histogram = self._counter, self._histogram
        self._requests = counter("requests", "Calls of models by clients.", "operation", "format", "status")
        self._attempts = counter("attempts", "Calls of upstreams.", "provider", "model", "outcome")
        self._tokens = counter("tokens", "Tokens that upstreams counted.", "provider", "model", "kind")
        self._cost = counter("cost_usd", "What those cost by list prices.", "provider", "model")
        self._duration = histogram("request_duration_seconds", "From a client's request to the end of its answer.")
        self._first_byte = histogram("first_byte_seconds", "From a client's request to the first byte of its answer.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cliproxy_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"cliproxy_{name}", text, ("provider",), buckets=_DURATIONS_S, registry=self._registry)

    def note(self, exchange: Exchange) -> None:
        """Count an exchange that is over."""
        key = exchange.operation, exchange.format, exchange.status
        requests = self._statuses.get(key)
        if requests is None:
            requests = self._statuses[key] = self._requests.labels(*map(str, key))
        requests.inc()
        for attempt in exchange.attempts:
            _note(attempt, self._figures(attempt))
        if exchange.attempts and exchange.status < 400:
            served = exchange.attempts[-1]
            figures = self._figures(served)
            figures.duration.observe(exchange.ended_s - exchange.started_s)
            if served.first_byte_s:
                figures.first_byte.observe(served.first_byte_s - exchange.started_s)

    def _figures(self, attempt: Attempt) -> _Figures:
        pair = attempt.provider, attempt.model
        known = self._models.get(pair)
        if known is None:
            if len(self._models) >= MAX_MODELS:
                return self._others
            known = self._models[pair] = self._figures_of(*pair)
        return known

    @cached_property
    def _others(self) -> _Figures:
        return self._figures_of(OTHER, OTHER)

    def _figures_of(self, provider: str, model: str) -> _Figures:
        return _Figures(
            {outcome: self._attempts.labels(provider, model, outcome) for outcome in _OUTCOMES},
            {kind: self._tokens.labels(provider, model, kind) for kind in _KINDS},
            self._cost.labels(provider, model),
            self._duration.labels(provider),
            self._first_byte.labels(provider),
        )

    def render(self) -> bytes:
        """All counts, in Prometheus' text format."""
        return generate_latest(self._registry)


def _note(attempt: Attempt, figures: _Figures) -> None:
    figures.attempts[_outcome(attempt)].inc()
    usage = attempt.usage
    counts = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
    for counter, count in zip(figures.tokens.values(), counts, strict=True):
        if count:
            counter.inc(count)
    if (usage.input or usage.output) and (cost := cost_usd(attempt.provider, attempt.model, usage)):
        figures.cost.inc(cost)


def _outcome(attempt: Attempt) -> str:
    if attempt.error == CLIENT_LEFT:
        return "given_up"
    return "failed" if attempt.error or attempt.status >= 400 else "served"
