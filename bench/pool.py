"""What choosing a credential costs: resolving the model, picking, and settling the outcome, in this process.

The cost does not depend on what is around it, so that it is measured alone, where a machine's noise does not drown
it, and told as a share of the CPU that the gateway row of the same run used per request.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cliproxy.config import parse_config
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.pool import Ask, Pool
from cliproxy.dispatch import Dispatch, Limits, Trial
from cliproxy.exchange import Answer, Headers
from cliproxy.routing.catalogue import Catalogue
from cliproxy.routing.registry import builtin_registry

SHARES = {1: 1.0, 1000: 3.0}
"""Number of credentials → the largest share, in percent of the CPU per request."""
ROUNDS = 5
REQUESTS = 2000


@dataclass(frozen=True, slots=True)
class Cost:
    """The pool's CPU per request, in microseconds."""

    credentials: int
    us: float


def costs() -> Iterator[Cost]:
    """Measure the pool with few and with many credentials; the best of several rounds, as noise only adds."""
    for count in SHARES:
        yield Cost(count, min(asyncio.run(_round(count)) for _ in range(ROUNDS)))


async def _round(count: int) -> float:
    entries = "\n".join(f"      - api-key: sk-test-{number}" for number in range(count))
    config = parse_config(
        "openai-compatibility:\n  - name: many\n    base-url: http://127.0.0.1/v1\n"
        f"    api-key-entries:\n{entries}\n    models: [bench-model]\n",
        "bench",
    ).config
    catalogue = Catalogue(credentials_of(config), builtin_registry())
    pool = Pool()
    answer = Answer(200, Headers(), b"")

    async def served(trial: Trial) -> Answer:
        trial.served()
        return answer

    async def through_the_pool() -> None:
        resolution = catalogue.resolve("bench-model", "openai-chat")
        ask = Ask(resolution.groups, resolution.name)
        await Dispatch(pool, ask, Limits.of(config, stream=False), served).run()

    await through_the_pool()
    begun = time.process_time()
    for _ in range(REQUESTS):
        await through_the_pool()
    return (time.process_time() - begun) / REQUESTS * 1e6


def table(measured: list[Cost], request_ms: float | None) -> Iterator[str]:
    """Lines of text; request_ms: the gateway's CPU per request in the same run."""
    yield "choosing a credential"
    yield f"    {'credentials':>12}{'CPU (us)':>12}{'of a request':>15}   target"
    for cost in measured:
        if request_ms is None:
            yield f"    {cost.credentials:>12}{cost.us:>12.1f}{'-':>15}"
            continue
        share = cost.us / (request_ms * 1000) * 100
        limit = SHARES[cost.credentials]
        verdict = "yes" if share <= limit else "NO"
        yield f"    {cost.credentials:>12}{cost.us:>12.1f}{share:>14.2f}%   <= {limit:g} % {verdict}"
