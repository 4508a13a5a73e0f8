"""What is measured of a row, in turns with the other rows, and how the rounds become one figure."""

import gc
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.load import Run, drive
from bench.rows import Row

CLIENTS = 32
DELTAS = 200
CONCURRENT_STREAMS, PACED_DELTAS, INTERVAL_MS = 500, 50, 20


class Measure(NamedTuple):
    """One figure of a row."""

    name: str
    unit: str


P50 = Measure("one request, p50", "ms")
P99 = Measure("one request, p99", "ms")
FIRST_BYTE = Measure("stream, first byte", "ms")
STREAM = Measure(f"stream of {DELTAS} chunks, whole", "ms")
CHUNK_CPU = Measure("CPU per chunk", "us")
RATE = Measure(f"requests/s, {CLIENTS} clients", "/s")
REQUEST_CPU = Measure("CPU per request", "ms")
PACED_TOTAL = Measure(f"{CONCURRENT_STREAMS} streams at once, whole p50", "ms")
PACED_ERRORS = Measure(f"{CONCURRENT_STREAMS} streams at once, errors", "")
MEMORY = Measure("memory afterwards", "MB")
MEASURES = (
    P50, P99, FIRST_BYTE, STREAM, CHUNK_CPU, RATE, REQUEST_CPU, PACED_TOTAL, PACED_ERRORS, MEMORY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """How often each thing is done."""

    rounds: int
    requests: int
    streams: int
    rate_requests: int
    """CPU time is counted in steps of 10 ms, so over the rounds this needs to be some thousand."""


FULL = Plan(rounds=5, requests=400, streams=60, rate_requests=1000)
QUICK = Plan(rounds=2, requests=150, streams=20, rate_requests=600)
_WARM_UP = Plan(rounds=1, requests=50, streams=5, rate_requests=100)

type Figures = dict[Measure, float]


@dataclass(slots=True)
class Results:
    """By row: each measure's figure in every round that took it, and what went wrong."""

    figures: dict[str, dict[Measure, list[float]]] = field(default_factory=dict)
    faults: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, row: str, figures: Figures, faults: Counter[str]) -> None:
        for measure, figure in figures.items():
            self.figures.setdefault(row, {}).setdefault(measure, []).append(figure)
        self.faults.setdefault(row, Counter()).update(faults)

    def value(self, row: str, measure: Measure) -> float | None:
        """The median of the rounds."""
        rounds = self.figures.get(row, {}).get(measure)
        return statistics.median(rounds) if rounds else None

    def ratios(self, row: str, measure: Measure, reference: str) -> list[float]:
        """Row to reference, each round by itself: the two were measured one after the other, so their noise is alike."""
        mine = self.figures.get(row, {}).get(measure, [])
        theirs = self.figures.get(reference, {}).get(measure, [])
        return [one / other for one, other in zip(mine, theirs, strict=False) if other]


async def measure(rows: Sequence[Row], plan: Plan, progress: Callable[[str], None]) -> Results:
    """Measure all rows, round by round and in each round measure by measure; the first row changes with the round."""
    results = Results()
    gc.collect()
    gc.disable()  # a pause of the load generator would count as the server's
    try:
        for row in rows:
            for phase in (_one_request, _streams, _many_clients):
                await phase(row, _WARM_UP)
        for number in range(plan.rounds):
            progress(f"round {number + 1} of {plan.rounds}")
            first = number % len(rows)
            for phase in (_one_request, _streams, _many_clients):
                for row in (*rows[first:], *rows[:first]):
                    results.add(row.name, *await phase(row, plan))
                    gc.collect()
        for row in rows:
            progress(f"{CONCURRENT_STREAMS} streams: {row.name}")
            results.add(row.name, *await _paced_streams(row))
            results.add(row.name, {MEMORY: row.server.memory_bytes() / 2**20}, Counter())
    finally:
        gc.enable()
    return results


type Phase = Callable[[Row, Plan], Awaitable[tuple[Figures, Counter[str]]]]


async def _one_request(row: Row, plan: Plan) -> tuple[Figures, Counter[str]]:
    run = await drive(row.server.port, row.question(), clients=1, count=plan.requests)
    totals = sorted(timing.total_s * 1e3 for timing in run.timings)
    if not totals:
        return {}, run.faults
    return {P50: statistics.median(totals), P99: totals[len(totals) * 99 // 100]}, run.faults


async def _streams(row: Row, plan: Plan) -> tuple[Figures, Counter[str]]:
    before_s = row.server.cpu_s()
    run = await drive(row.server.port, row.question(DELTAS), clients=1, count=plan.streams)
    cpu_s = row.server.cpu_s() - before_s
    if not run.timings:
        return {}, run.faults
    return {
        FIRST_BYTE: statistics.median(timing.first_byte_s for timing in run.timings) * 1e3,
        STREAM: _median_total_ms(run),
        CHUNK_CPU: cpu_s / (plan.streams * DELTAS) * 1e6,
    }, run.faults


async def _many_clients(row: Row, plan: Plan) -> tuple[Figures, Counter[str]]:
    before_s = row.server.cpu_s()
    run = await drive(row.server.port, row.question(), clients=CLIENTS, count=plan.rate_requests)
    cpu_s = row.server.cpu_s() - before_s
    return {
        RATE: len(run.timings) / run.elapsed_s,
        REQUEST_CPU: cpu_s / plan.rate_requests * 1e3,
    }, run.faults


async def _paced_streams(row: Row) -> tuple[Figures, Counter[str]]:
    asked = row.question(PACED_DELTAS, INTERVAL_MS)
    run = await drive(
        row.server.port, asked, clients=CONCURRENT_STREAMS, count=CONCURRENT_STREAMS, limit_s=30
    )
    figures: Figures = {PACED_ERRORS: run.faults.total()}
    if run.timings:
        figures[PACED_TOTAL] = _median_total_ms(run)
    return figures, run.faults


def _median_total_ms(run: Run) -> float:
    return statistics.median(timing.total_s for timing in run.timings) * 1e3
