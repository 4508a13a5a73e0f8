"""The gateway in front of the service: clients of all four formats, and what the service's errors come to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from anthropic import APIStatusError

from cliproxy.agent import USER_AGENT
from cliproxy.gateway import Gateway
from cliproxy.transport.client import HttpTransport, TimeLimits
from tests.features.gateways import MODEL, Clients, Site
from tests.features.test_tool_loop import CITY, LOOPS, QUESTION, TELLS, WARMTH
from tests.native import FORMATS, Format
from tests.providers.kiro.accounts import UPSTREAM_MODEL, FakeAccount, credential
from tests.providers.kiro.event_stream import called, ended, exception, said, thought
from tests.providers.kiro.service import PROFILE, TARGET, Refused, Service
from tests.site import ask, refused, request

USAGE = {"uncachedInputTokens": 11, "outputTokens": 7}


class Front:
    """Gateways over accounts alone."""

    def __init__(self, site: Site, transport: HttpTransport) -> None:
        self._site = site
        self._transport = transport

    def gateway(self, *accounts: tuple[Service, FakeAccount]) -> Gateway:
        credentials = [credential(service.url, account) for service, account in accounts]
        return Gateway(self._site.config(), self._transport, accounts=credentials)

    def clients(self, service: Service, account: FakeAccount | None = None) -> Clients:
        return self._site.clients(self.gateway((service, account or FakeAccount())))


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    transport = HttpTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), TimeLimits(5, 5, 5))
    async with Site() as site:
        yield Front(site, transport)
        await transport.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service(needs_profile=True) as running:
        yield running


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("endpoint", ["ide", "cli"])
@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered(front: Front, service: Service, client: Format, endpoint: str) -> None:
    """Streamed, by the vendors' SDKs."""
    service.script(
        [*called("get_weather", CITY), *ended("TOOL_USE", USAGE)],
        [*said("hello", " from", " upstream"), *ended(usage=USAGE)],
    )
    account = FakeAccount(fields={"profile_arn": PROFILE, "preferred_endpoint": endpoint})
    go_through, finishes = LOOPS[client]
    loop = await go_through(front.clients(service, account))
    assert (loop.name, loop.arguments, loop.text) == ("get_weather", CITY, "hello from upstream")
    assert loop.finishes == finishes
    assert loop.tokens == {(11, 7)}
    assert loop.models == {UPSTREAM_MODEL if client == "anthropic" else MODEL}
    first, second = service.requests
    for received in (first, second):
        assert received.current["modelId"] == UPSTREAM_MODEL
        [tool] = received.current["userInputMessageContext"]["tools"]
        spec = tool["toolSpecification"]
        assert (spec["name"], spec["description"]) == ("get_weather", TELLS)
        assert spec["inputSchema"]["json"]["required"] == ["city"]
        assert received.headers["user-agent"] == USER_AGENT
        assert received.headers.get("x-amz-target") == (TARGET if endpoint == "cli" else None)
    assert first.current["content"] == second.history[0]["userInputMessage"]["content"] == QUESTION
    [use] = second.history[1]["assistantResponseMessage"]["toolUses"]
    [result] = second.current["userInputMessageContext"]["toolResults"]
    assert (use["name"], use["input"], use["toolUseId"]) == ("get_weather", CITY, result["toolUseId"])
    [content] = result["content"]
    assert WARMTH in content["text"]
    ids = {received.body["conversationState"]["conversationId"] for received in (first, second)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("openai-chat", lambda body: body["choices"][0]["message"]["content"]),
        ("openai-responses", lambda body: body["output"][-1]["content"][0]["text"]),
        ("anthropic", lambda body: body["content"][-1]["text"]),
        ("gemini", lambda body: body["candidates"][0]["content"]["parts"][-1]["text"]),
    ],
)
async def test_whole_answers(front: Front, service: Service, client: Format, text: Callable[[Any], str]) -> None:
    service.script([*said("hello", " from", " upstream"), *ended()])
    reply = await ask(front.gateway((service, FakeAccount())), request(client, model=MODEL))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert text(reply.json) == "hello from upstream"


async def test_thinking_is_shown_to_who_asked(front: Front, service: Service) -> None:
    service.script([*thought("Let me see."), *said("It is warm."), *ended()])
    message = await front.clients(service).anthropic.messages.create(
        model=MODEL,
        max_tokens=4096,
        messages=[{"role": "user", "content": "hello"}],
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert [block.type for block in message.content] == ["thinking", "text"]


async def test_tokens_are_counted_here(front: Front, service: Service) -> None:
    counted = await front.clients(service).anthropic.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": "hello"}]
    )
    assert counted.input_tokens > 0
    assert not service.requests


# ---------------------------------------------------------------- errors


async def test_a_token_that_has_expired_is_renewed(front: Front, service: Service) -> None:
    service.script([*said("hi"), *ended()])
    account = FakeAccount(token="test-access-0", next_token="test-access-1")
    reply = await ask(front.gateway((service, account)), request("anthropic", model=MODEL))
    assert (reply.status, account.refusals) == (200, 1)


async def test_a_token_that_stays_refused(front: Front, service: Service) -> None:
    account = FakeAccount(token="test-access-0")
    reply = await ask(front.gateway((service, account)), request("openai-chat", model=MODEL))
    assert (reply.status, account.refusals) == (403, 1)
    assert "bearer token" in reply.json["error"]["message"]
    assert "test-access-0" not in reply.body.decode()


async def test_an_account_whose_token_stays_refused_rests_for_all_models(front: Front, service: Service) -> None:
    service.script(*[[*said("hi"), *ended()]] * 2)
    refused = FakeAccount(token="test-access-0")
    running = front.gateway((service, refused), (service, FakeAccount(id="kiro:second")))
    for model in (MODEL, f"kiro/{UPSTREAM_MODEL}"):
        assert (await ask(running, request("openai-chat", model=model))).status == 200
    assert refused.refusals == 1


@pytest.mark.parametrize(
    "trouble",
    [
        Refused(429, "ThrottlingException", "Too many requests."),
        Refused(429, "ThrottlingException", "You have reached the limit.", "MONTHLY_REQUEST_COUNT"),
        Refused(402, "ServiceQuotaExceededException", "You have reached the limit.", "MONTHLY_REQUEST_COUNT"),
        Refused(403, "AccessDeniedException", "Your account is suspended.", "TEMPORARILY_SUSPENDED"),
        Refused(400, "ValidationException", "Invalid model. Please select another.", "INVALID_MODEL_ID"),
        Refused(500, "InternalServerException", "Encountered an unexpected error."),
        [exception("throttlingException", message="Slow down.")],
        [exception("InternalServerException", message="Broken.")],
        [said("never read")[0][:-1]],
        [b"<html>no event stream</html>"],
    ],
)
@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
async def test_another_account_serves(front: Front, client: Format, trouble: Any) -> None:
    """As long as the client has nothing of the answer."""
    async with Service() as bad, Service() as good:
        bad.script(trouble)
        good.script([*said("hello"), *ended()])
        running = front.gateway((bad, FakeAccount()), (good, FakeAccount(id="kiro:second")))
        reply = await ask(running, request(client, stream=True, model=MODEL))
        assert (reply.status, len(good.requests)) == (200, 1)
        assert b"hello" in reply.body


@pytest.mark.parametrize(
    "trouble",
    [
        Refused(400, "ValidationException", "Input is too long.", "CONTENT_LENGTH_EXCEEDS_THRESHOLD"),
        Refused(400, "ValidationException", "Improperly formed request.", "REQUEST_BODY_INVALID"),
        [exception("ValidationException", message="Input is too long.", reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD")],
    ],
)
async def test_a_request_fault_is_nobody_elses(front: Front, trouble: Any) -> None:
    async with Service() as bad, Service() as good:
        bad.script(trouble)
        running = front.gateway((bad, FakeAccount()), (good, FakeAccount(id="kiro:second")))
        reply = await ask(running, request("openai-chat", stream=True, model=MODEL))
        assert (reply.status, len(good.requests)) == (400, 0)


@pytest.mark.parametrize("client", FORMATS)
async def test_an_exception_in_mid_stream_is_told(front: Front, service: Service, client: Format) -> None:
    begun = asyncio.Event()
    service.script([*said("hello", " from"), begun, exception("throttlingException", message="Slow down.")])
    running = front.gateway((service, FakeAccount()))
    answer = await running.handle(request(client, stream=True, model=MODEL))
    assert answer.status == 200
    assert not isinstance(answer.body, bytes)
    first = await anext(answer.body)
    begun.set()
    rest = b"".join([piece async for piece in answer.body])
    assert b"hello" in first
    assert b"Slow down." in rest


@pytest.mark.parametrize("client", FORMATS)
async def test_a_stream_that_is_cut_short_is_told(front: Front, service: Service, client: Format) -> None:
    service.script([*said("hello"), said(" from")[0][:-1]])
    reply = await ask(front.gateway((service, FakeAccount())), request(client, stream=True, model=MODEL))
    assert b"ended before its end" in reply.body


async def test_what_the_service_cannot_be_told_is_the_clients_fault(front: Front, service: Service) -> None:
    with pytest.raises(APIStatusError, match="behind a URL"):
        await front.clients(service).anthropic.messages.create(
            model=MODEL,
            max_tokens=9,
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}],
                }
            ],
        )
    assert not service.requests


async def test_the_services_errors_are_told_in_the_clients_format(front: Front, service: Service) -> None:
    service.script(Refused(400, "ValidationException", "Input is too long.", "CONTENT_LENGTH_EXCEEDS_THRESHOLD"))
    reply = await ask(front.gateway((service, FakeAccount())), request("anthropic", model=MODEL))
    assert refused("anthropic", 400, reply) == "Input is too long."
