"""Ten minutes of traffic with random faults, in virtual time: no request is lost that any credential could have served.

The upstream is made up in this process. Each key has its own succession of good and bad times, and tells the truth
about when a bad time is over, where it tells it. What the gateway may believe is thus known at each moment, and so is
whether a request that failed was lost.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import cast

import pytest
import yaml

from cliproxy.config import parse_config
from cliproxy.credentials.pool import Pool
from cliproxy.exchange import AnswerCut, ClientRequest, Headers, UpstreamRequest
from cliproxy.gateway import Gateway
from cliproxy.memory import Memory
from cliproxy.transport.client import HttpTransport
from cliproxy.wire.errors import UpstreamCut, UpstreamTimeout, UpstreamUnreachable
from tests import native
from tests.virtual_time import epoch_s, run

DURATION_S = 600.0
REQUESTS = 2500
PRIORITIES = {"a": 1, "b": 1, "c": 1, "d": 0, "e": 0}
ROUNDS = 1

BAD_TIMES = (
    "429 retry-after", "429 resets_in_seconds", "429 window", "429 words", "500", "529", "down", "silent", "hangs up",
    "garbled", "empty",
)  # fmt: skip


@dataclass
class Response:
    """What `HttpTransport.send` would give."""

    status: int
    headers: Headers
    pieces: list[bytes]
    breaks_off: bool = False
    reason: str = ""
    peer: tuple[str, int] | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0.05)
            yield piece
        if self.breaks_off:
            raise UpstreamCut("the upstream's answer was cut off")

    async def read(self, limit_bytes: int) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    def close(self) -> None:
        return


@dataclass
class Key:
    """One credential's upstream."""

    random: random.Random
    bad_times: list[tuple[float, float, str]] = field(default_factory=list)
    """Begin, end and kind, in seconds since the start."""
    asked: int = 0

    def __post_init__(self) -> None:
        now = self.random.expovariate(1 / 20)
        while now < DURATION_S * 1.5:
            end = now + self.random.expovariate(1 / 25)
            self.bad_times.append((now, end, self.random.choice(BAD_TIMES)))
            now = end + self.random.expovariate(1 / 20)

    def bad_time(self, now_s: float) -> tuple[float, str] | None:
        """The end and the kind of the bad time that it has now."""
        return next(((end, kind) for begin, end, kind in self.bad_times if begin <= now_s < end), None)

    def could_serve(self, begin_s: float, end_s: float) -> bool:
        """Whether all was well from one moment to another."""
        return not any(begin < end_s and end > begin_s for begin, end, _ in self.bad_times)

    async def answer(self, request: UpstreamRequest) -> Response:
        self.asked += 1
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.random.uniform(0.01, 0.3))
        now_s = loop.time()
        if bad := self.bad_time(now_s):
            return await self.misbehave(bad[1], bad[0] - now_s)
        said = native.text("anthropic", stream=bool(json.loads(cast(bytes, request.body)).get("stream")))
        pieces = [said.body] if isinstance(said.body, bytes) else [p for p in said.body if isinstance(p, bytes)]
        breaks_off = len(pieces) > 1 and self.random.random() < 0.02
        return Response(200, Headers(said.headers), pieces[:5] if breaks_off else pieces, breaks_off)

    async def misbehave(self, kind: str, left_s: float) -> Response:
        def error(status: int, message: str = "no", headers: dict[str, str] | None = None, **more: float) -> Response:
            body = json.dumps({"type": "error", "error": {"type": "x", "message": message, **more}}).encode()
            return Response(status, Headers({"content-type": "application/json", **(headers or {})}), [body])

        match kind:
            case "429 retry-after":
                return error(429, headers={"retry-after-ms": str(left_s * 1000)})
            case "429 resets_in_seconds":
                return error(429, resets_in_seconds=left_s)
            case "429 window":
                window = "anthropic-ratelimit-unified-5h"
                return error(429, headers={f"{window}-status": "rejected", f"{window}-reset": str(epoch_s() + left_s)})
            case "429 words":
                return error(429, f"Please try again in {left_s:.6f}s.")
            case "500" | "529":
                return error(int(kind), "overloaded")
            case "down":
                raise UpstreamUnreachable("connection refused")
            case "silent":
                await asyncio.sleep(5)
                raise UpstreamTimeout("it did not begin to answer")
            case "hangs up":
                raise UpstreamCut("it closed the connection without an answer")
            case "garbled":
                return Response(200, Headers({"content-type": "text/html"}), [b"<html>Log in</html>"])
            case _:
                return Response(200, Headers({"content-type": "text/event-stream"}), [])


class Transport:
    """Sends each request to its key's upstream."""

    def __init__(self, seed: int) -> None:
        self.keys = {name: Key(random.Random(f"{seed} {name}")) for name in PRIORITIES}

    async def send(self, request: UpstreamRequest) -> Response:
        return await self.keys[request.headers["authorization"].removeprefix("Bearer sk-test-")].answer(request)


@dataclass
class Tally:
    """What became of the requests."""

    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)


def gateway(transport: Transport, strategy: str, dispatch: str) -> Gateway:
    config = {
        "demo": False,
        "request-retry": ROUNDS,
        "max-retry-interval": 5,
        "routing": {"strategy": strategy, "session-affinity": True},
        "upstream-strategy": {"dispatch": {"type": dispatch, "delay-ms": 1000, "max-parallel": 2}},
        "claude-api-key": [
            {"api-key": f"sk-test-{name}", "base-url": "http://upstream.test", "priority": priority, "weight": 1 + priority,
             "models": [{"name": "model"}]}
            for name, priority in PRIORITIES.items()
        ],
    }  # fmt: skip
    return Gateway(parse_config(yaml.safe_dump(config)).config, cast(HttpTransport, transport), Memory(Pool(epoch_s)))


def request(chance: random.Random) -> ClientRequest:
    message = {"role": "user", "content": f"hello {chance.randrange(40)}"}
    body = {"model": "model", "max_tokens": 9, "messages": [message], "stream": chance.random() < 0.5}
    return ClientRequest("POST", "/v1/messages", "", Headers(), json.dumps(body).encode())


async def one(tally: Tally, gateway: Gateway, transport: Transport, asked: ClientRequest) -> None:
    """Send a request as a client does, read all of the answer, and judge it."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    answer = await gateway.handle(asked)
    if answer.status == 200:
        try:
            body = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
        except AnswerCut:
            body = b"error"
        tally.outcomes["broke off" if b'"error"' in body else "served"] += 1
        assert b'"error"' in body or b"upstream" in body
        return
    tally.outcomes[str(answer.status)] += 1
    assert answer.status in (429, 503), answer
    assert int(answer.headers["retry-after"]) >= 1
    ended_s = loop.time()
    able = [name for name, key in transport.keys.items() if key.could_serve(began_s, ended_s)]
    if able:
        said = cast(bytes, answer.body).decode()
        tally.lost.append(f"from {began_s:.3f} to {ended_s:.3f} {able} could have served; the client was told: {said}")


async def soak(seed: int, strategy: str, dispatch: str) -> tuple[Tally, Transport]:
    chance = random.Random(seed)
    transport, tally = Transport(seed), Tally()
    served_by = gateway(transport, strategy, dispatch)
    arrivals = sorted(chance.uniform(0, DURATION_S) for _ in range(REQUESTS))
    running: set[asyncio.Task[None]] = set()
    for arrival in arrivals:
        await asyncio.sleep(arrival - asyncio.get_running_loop().time())
        running.add(asyncio.ensure_future(one(tally, served_by, transport, request(chance))))
    await asyncio.gather(*running)
    return tally, transport


@pytest.mark.parametrize(
    ("seed", "strategy", "dispatch"),
    [(1, "round-robin", "serial"), (2, "weighted-round-robin", "hedged"), (3, "fill-first", "race")],
)
def test_ten_minutes_of_faults_lose_no_request(seed: int, strategy: str, dispatch: str) -> None:
    tally, transport = run(soak(seed, strategy, dispatch))
    assert sum(tally.outcomes.values()) == REQUESTS
    assert not tally.lost, f"{len(tally.lost)} lost; the first {tally.lost[0]}"
    asked = sum(key.asked for key in transport.keys.values())
    assert asked <= REQUESTS * (ROUNDS + 1) * len(PRIORITIES)
    assert tally.outcomes["served"] > REQUESTS * 0.8, tally.outcomes
