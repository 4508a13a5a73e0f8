"""What is measured of a row, in turns with the other rows, and how the rounds become one figure."""

import gc
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.load import BadAnswer, Clients, Run
from bench.rows import BARE, GATEWAY, ROWS, Row

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
    """How often each thing is done in a round."""

    rounds: int
    requests: int
    streams: int
    rate_requests: int
    """CPU time is counted in steps of 10 ms, so over the rounds this needs to be some thousand."""
    paced: Sequence[str]
    """The rows that get the many streams at once."""


FULL = Plan(rounds=5, requests=400, streams=60, rate_requests=1000, paced=ROWS)
QUICK = Plan(rounds=2, requests=120, streams=20, rate_requests=400, paced=(BARE, GATEWAY))
_WARM_UP = Plan(rounds=1, requests=50, streams=5, rate_requests=100, paced=())
_TURNS = 4  # a neighbour's burst then falls on all rows alike

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
    """Measure all rows, round by round and in each round phase by phase, the rows taking turns within a phase."""
    results = Results()
    gc.collect()
    gc.disable()  # a pause of the load generator would count as the server's
    try:
        for phase in _PHASES:
            await phase(rows, _WARM_UP)
        for number in range(plan.rounds):
            progress(f"round {number + 1} of {plan.rounds}")
            for phase in _PHASES:
                for row, (figures, faults) in (await phase(rows, plan)).items():
                    results.add(row, figures, faults)
                gc.collect()
        for row in rows:
            if row.name in plan.paced:
                progress(f"{CONCURRENT_STREAMS} streams: {row.name}")
                results.add(row.name, *await _paced_streams(row))
            results.add(row.name, {MEMORY: row.server.memory_bytes() / 2**20}, Counter())
    finally:
        gc.enable()
    return results


type Taken = tuple[Figures, Counter[str]]
"""What one phase tells of a row: its figures, and its wrong answers."""


async def _one_request(rows: Sequence[Row], plan: Plan) -> dict[str, Taken]:
    def figures(run: Run) -> Figures:
        totals = sorted(timing.total_s * 1e3 for timing in run.timings)
        return {P50: statistics.median(totals), P99: totals[len(totals) * 99 // 100]}

    return _taken(figures, await _by_turns(rows, clients=1, count=plan.requests))


async def _streams(rows: Sequence[Row], plan: Plan) -> dict[str, Taken]:
    def figures(run: Run) -> Figures:
        return {
            FIRST_BYTE: statistics.median(timing.first_byte_s for timing in run.timings) * 1e3,
            STREAM: _median_total_ms(run),
            CHUNK_CPU: run.cpu_s / (len(run.timings) * DELTAS) * 1e6,
        }

    return _taken(figures, await _by_turns(rows, clients=1, count=plan.streams, deltas=DELTAS))


async def _many_clients(rows: Sequence[Row], plan: Plan) -> dict[str, Taken]:
    def figures(run: Run) -> Figures:
        answered = len(run.timings)
        return {RATE: answered / run.elapsed_s, REQUEST_CPU: run.cpu_s / answered * 1e3}

    return _taken(figures, await _by_turns(rows, clients=CLIENTS, count=plan.rate_requests))


_PHASES = (_one_request, _streams, _many_clients)


async def _by_turns(rows: Sequence[Row], *, clients: int, count: int, deltas: int | None = None) -> dict[str, Run]:
    """Every row's `count` answers in some turns, each turn beginning with another row."""
    runs = {row.name: Run() for row in rows}
    with ExitStack() as stack:
        ready: list[tuple[Row, Clients]] = []
        for row in rows:
            opened = stack.enter_context(closing(Clients(row.server.port)))
            try:
                await opened.open(clients, first=row.question())
            except (OSError, BadAnswer) as problem:
                runs[row.name].faults[f"cannot begin: {problem}"] += 1
                continue
            ready.append((row, opened))
        for turn in range(_TURNS):
            share = count * (turn + 1) // _TURNS - count * turn // _TURNS
            first = turn % max(len(ready), 1)
            for row, opened in (*ready[first:], *ready[:first]):
                runs[row.name].add(await opened.drive(row.question(deltas), share, meter=row.server.cpu_s))
    return runs


def _taken(figures: Callable[[Run], Figures], runs: Mapping[str, Run]) -> dict[str, Taken]:
    return {row: (figures(run) if run.timings else {}, run.faults) for row, run in runs.items()}


async def _paced_streams(row: Row) -> Taken:
    with closing(Clients(row.server.port)) as clients:
        try:
            await clients.open(CONCURRENT_STREAMS)
        except OSError as problem:
            return {PACED_ERRORS: CONCURRENT_STREAMS}, Counter({f"cannot begin: {problem}": CONCURRENT_STREAMS})
        run = await clients.drive(row.question(PACED_DELTAS, INTERVAL_MS), CONCURRENT_STREAMS, limit_s=30)
    figures: Figures = {PACED_ERRORS: run.faults.total()}
    if run.timings:
        figures[PACED_TOTAL] = _median_total_ms(run)
    return figures, run.faults


def _median_total_ms(run: Run) -> float:
    return statistics.median(timing.total_s for timing in run.timings) * 1e3
