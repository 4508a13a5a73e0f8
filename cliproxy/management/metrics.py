"""What is counted for Prometheus. Labels are words of the configuration and of vendors, their number is bounded, and
nothing of them is secret.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from cliproxy.exchange import CLIENT_LEFT, Attempt, Exchange
from cliproxy.usage.prices import cost_usd

MAX_MODELS = 300
"""Pairs of provider and model that have figures of their own: entries with `*` let clients invent models."""
OTHER = "other"

_DURATIONS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_KINDS = ("input", "cache_read", "cache_write", "output", "reasoning")


class Metrics:
    """Counts exchanges, while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self._registry = CollectorRegistry()
        self._models: dict[tuple[str, str], tuple[str, str]] = {}
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
        self._requests.labels(exchange.operation, exchange.format, str(exchange.status)).inc()
        for attempt in exchange.attempts:
            self._note_attempt(attempt)
        if exchange.attempts and exchange.status < 400:
            served = exchange.attempts[-1]
            self._duration.labels(served.provider).observe(exchange.ended_s - exchange.started_s)
            if served.first_byte_s:
                self._first_byte.labels(served.provider).observe(served.first_byte_s - exchange.started_s)

    def _note_attempt(self, attempt: Attempt) -> None:
        provider, model = self._bounded(attempt)
        self._attempts.labels(provider, model, _outcome(attempt)).inc()
        usage = attempt.usage
        for kind in _KINDS:
            if count := getattr(usage, kind):
                self._tokens.labels(provider, model, kind).inc(count)
        if (usage.input or usage.output) and (cost := cost_usd(attempt.provider, attempt.model, usage)):
            self._cost.labels(provider, model).inc(cost)

    def _bounded(self, attempt: Attempt) -> tuple[str, str]:
        pair = attempt.provider, attempt.model
        known = self._models.get(pair)
        if known is None:
            if len(self._models) >= MAX_MODELS:
                return (attempt.provider if any(one == pair[0] for one, _ in self._models) else OTHER), OTHER
            known = self._models[pair] = pair
        return known

    def render(self) -> bytes:
        """All counts, in Prometheus' text format."""
        return generate_latest(self._registry)


def _outcome(attempt: Attempt) -> str:
    if attempt.error == CLIENT_LEFT:
        return "given_up"
    return "failed" if attempt.error or attempt.status >= 400 else "served"
