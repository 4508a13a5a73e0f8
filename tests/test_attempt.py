"""cliproxy.attempt: one upstream call from its sending to its end, and who is told what of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cliproxy.attempt import RunningAttempt, begin
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import (
    Attempt,
    ClientRequest,
    Exchange,
    Headers,
    Transport,
    UpstreamRequest,
    UpstreamResponse,
)
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.secrets import mask
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamUnreachable
from cliproxy.wire.model import ModelFacts, Usage
from tests.answers import Answer
from tests.certificates import client_context
from tests.upstream import Upstream

SECRET = "sk-test-upstream-key"


class Watching:
    """An observer that notes what passes, can make the exchange wait, and can change the request."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waits: dict[str, asyncio.Event] = {}
        self.waiting = asyncio.Event()
        self.change: Callable[[UpstreamRequest], None] = lambda request: None
        self._transport: Transport

    def carrier(self, exchange: Exchange, attempt: Attempt, transport: Transport) -> Transport:
        self._transport = transport
        return self

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        await self._tell("started")
        self.change(request)
        response = await self._transport.send(request)
        try:
            await self._tell("answered")
        except BaseException:
            response.close()
            raise
        return response

    def attempt_ended(self, exchange: Exchange, attempt: Attempt) -> None:
        self.told.append("ended")

    async def _tell(self, what: str) -> None:
        self.told.append(what)
        if what in self.waits:
            self.waiting.set()
            await self.waits[what].wait()


class Verdict:
    """Notes how an attempt went."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def served(self) -> None:
        self.said.append("served")

    def failed(self, error: GatewayError) -> None:
        self.said.append(error)

    def abandoned(self) -> None:
        self.said.append("abandoned")


class Field:
    """An exchange with one upstream."""

    def __init__(self, upstream: Upstream, transport: HttpTransport) -> None:
        self.upstream = upstream
        self.watching = Watching()
        self.verdict = Verdict()
        self.booked: list[Attempt] = []
        request = ClientRequest("POST", "/v1/chat/completions", "", Headers({"X-Client": "theirs"}), b"")
        self.exchange = Exchange(request, self.watching, book=self.booked.append)
        self._transport = transport

    async def begin(self, url: str = "") -> RunningAttempt:
        own: dict[str, str | None] = {"X-Team": "t", "X-Copied": "$x-client"}
        credential = Credential("p", ("openai-chat",), url or self.upstream.url, SECRET, headers=own)
        candidate = Candidate(credential, "m", ModelFacts("m"))
        call = UpstreamCall(Purpose.GENERATE, "openai-chat", "POST", "", "", Headers(), b"{}")
        return await begin(self.exchange, candidate, call, self._transport, self.verdict)

    @property
    def record(self) -> Attempt:
        return self.exchange.attempts[-1]


@pytest.fixture
async def field(upstream: Upstream) -> AsyncIterator[Field]:
    transport = HttpTransport(client_context(), TimeLimits(None, None, None), "direct")
    yield Field(upstream, transport)
    await transport.close()


async def test_what_is_sent_and_what_comes_back_is_recorded(field: Field) -> None:
    more = asyncio.Event()
    field.upstream.script(Answer(status=207, headers={"X-Own": "1"}, body=[b"first ", more, b"second"]))
    attempt = await field.begin()
    record = field.record
    assert (record.number, record.provider, record.model, record.format) == (1, "p", "m", "openai-chat")
    assert SECRET not in repr(record.credential)
    assert record.credential.startswith("p sk-t")
    assert (record.status, record.response_headers["x-own"]) == (207, "1")
    assert record.peer == ("127.0.0.1", field.upstream.port)
    assert {"x-team", "x-copied", "authorization"} <= record.secret_headers
    assert field.watching.told == ["started", "answered"]

    more.set()
    assert b"".join([piece async for piece in attempt.chunks()]) == b"first second"
    assert record.response_bytes == 12
    attempt.end(Usage(input=1, output=2), "stop")
    assert (record.usage, record.finish_reason, record.error) == (Usage(input=1, output=2), "stop", "")
    assert record.started_s <= record.headers_s <= record.first_byte_s <= record.ended_s
    assert field.watching.told == ["started", "answered", "ended"]
    assert field.verdict.said == ["served"]
    assert field.booked == [record]
    assert field.upstream.requests[0].headers["x-copied"] == "theirs"


async def test_attempts_are_counted(field: Field) -> None:
    for number in (1, 2, 3):
        attempt = await field.begin()
        await attempt.read(9999)
        attempt.end()
        assert field.record.number == number
    assert len(field.exchange.attempts) == 3


async def test_an_upstream_that_cannot_be_reached_has_no_response(field: Field) -> None:
    with pytest.raises(UpstreamUnreachable):
        await field.begin("http://upstream.invalid")
    record = field.record
    assert "upstream.invalid" in record.error
    assert (record.status, record.headers_s, record.first_byte_s) == (0, 0.0, 0.0)
    assert record.ended_s >= record.started_s
    assert field.watching.told == ["started", "ended"]
    assert field.booked == [record]


@pytest.mark.parametrize("read", [True, False])
async def test_an_answer_that_is_cut_is_a_failure(field: Field, read: bool) -> None:
    field.upstream.script(Answer(body=[b"half"], cut=True))
    attempt = await field.begin()
    with pytest.raises(UpstreamCut) as caught:
        if read:
            await attempt.read(99)
        else:
            assert [piece async for piece in attempt.chunks()] == []
    if not read:
        attempt.end(failure=caught.value)
    assert field.record.error == caught.value.message
    assert field.watching.told == ["started", "answered", "ended"]
    assert field.verdict.said == [caught.value]


async def test_an_answer_that_is_too_large_is_given_up(field: Field) -> None:
    field.upstream.script(Answer(body=[b"0123456789", asyncio.Event()]))
    attempt = await field.begin()
    with pytest.raises(UpstreamGarbled):
        await attempt.read(9)
    await field.upstream.requests[0].disconnected.wait()
    assert "exceeds" in field.record.error


async def test_a_client_that_leaves_while_the_upstream_is_silent(field: Field) -> None:
    field.upstream.script(Answer(hang=True))
    task = asyncio.create_task(field.begin())
    await field.upstream.received()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await field.upstream.requests[0].disconnected.wait()
    assert field.record.error == "the client went away"
    assert field.watching.told == ["started", "ended"]


async def test_a_client_that_leaves_while_the_answer_comes(field: Field) -> None:
    field.upstream.script(Answer(body=[b"first", asyncio.Event()]))
    attempt = await field.begin()
    task = asyncio.create_task(attempt.read(99))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await field.upstream.requests[0].disconnected.wait()
    assert field.record.error == "the client went away"
    assert field.verdict.said == ["abandoned"]


@pytest.mark.parametrize("hook", ["started", "answered"])
async def test_a_client_that_leaves_while_someone_looks(field: Field, hook: str) -> None:
    """mitmproxy can hold an attempt in a hook, for a user who intercepts it, when the client goes."""
    field.upstream.script(Answer(body=[b"first", asyncio.Event()]))
    field.watching.waits[hook] = asyncio.Event()
    task = asyncio.create_task(field.begin())
    await field.watching.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert field.watching.told[-1] == "ended"
    assert field.record.error == "the client went away"
    if hook == "answered":
        async with asyncio.timeout(5):
            await field.upstream.requests[0].disconnected.wait()


async def test_what_an_observer_changes_is_sent(field: Field) -> None:
    def change(request: UpstreamRequest) -> None:
        request.headers["X-Added"] = "by hand"
        request.body = b'{"edited":true}'

    field.watching.change = change
    attempt = await field.begin()
    await attempt.read(9999)
    attempt.end()
    received = field.upstream.requests[0]
    assert (received.headers["x-added"], received.json) == ("by hand", {"edited": True})


async def test_a_key_that_an_upstream_quotes_is_masked(field: Field) -> None:
    attempt = await field.begin()
    attempt.end(failure=UpstreamGarbled(f"{SECRET} is no key"))
    assert field.record.error == f"{mask(SECRET)} is no key"


async def test_an_error_of_our_own_shows_its_kind_only(field: Field) -> None:
    field.upstream.script(Answer(body=[b"first", asyncio.Event()]))
    attempt = await field.begin()
    attempt.end(failure=ZeroDivisionError("with a secret in it"))
    assert field.record.error == "ZeroDivisionError"
    assert field.verdict.said == ["abandoned"]
    await field.upstream.requests[0].disconnected.wait()


async def test_an_attempt_that_is_passed_over_says_nothing_of_its_credential(field: Field) -> None:
    field.upstream.script(Answer(status=404, body=[b"first", asyncio.Event()]))
    attempt = await field.begin()
    attempt.pass_over("asked in another way")
    assert field.record.error == "asked in another way"
    assert field.watching.told[-1] == "ended"
    assert field.verdict.said == []
    await field.upstream.requests[0].disconnected.wait()
