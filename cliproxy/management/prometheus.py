"""What Prometheus is shown: the counts, and how things are at the moment of asking."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import override

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cliproxy.management.inventory import cooldowns_of, inventory, state_of
from cliproxy.management.operating import Operator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(operator: Operator) -> bytes:
    """The text format of Prometheus."""
    state = CollectorRegistry()
    state.register(_State(operator))
    return operator.metrics.render() + generate_latest(state)


class _State(Collector):
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    @override
    def collect(self) -> Iterator[Metric]:
        operator, running = self._operator, self._operator.running
        entries = [(entry, cooldowns_of(operator, entry)) for entry in inventory(operator)]
        states = Counter((entry.provider, state_of(operator, entry, cooldowns)[0]) for entry, cooldowns in entries)
        yield _gauge("credentials", "Accounts and keys.", ("provider", "state"), states)
        reasons = Counter((entry.provider, one.reason) for entry, cooldowns in entries for one in cooldowns)
        yield _gauge("cooldowns", "What is sidelined, by credential and model.", ("provider", "reason"), reasons)
        refreshes = CounterMetricFamily("cliproxy_refreshes", "Renewals of logins.", labels=("outcome",))
        for outcome, count in sorted(running.accounts.refresher.outcomes.items()):
            refreshes.add_metric((outcome,), count)
        yield refreshes
        if ledger := running.ledger:
            yield GaugeMetricFamily("cliproxy_ledger_waiting", "Exchanges not yet in the ledger.", ledger.waiting)
            yield CounterMetricFamily("cliproxy_ledger_lost", "Exchanges that the ledger gave up.", ledger.lost)
        if replica := running.replica:
            away = 1 if replica.trouble else 0
            yield GaugeMetricFamily("cliproxy_store_away", "Whether the store of config and accounts is away.", away)


def _gauge(name: str, text: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int]) -> Metric:
    gauge = GaugeMetricFamily(f"cliproxy_{name}", text, labels=labels)
    for values, count in sorted(counts.items()):
        gauge.add_metric(values, count)
    return gauge
