"""The gateway as a library between real sockets: upstreams with a personality each, and what the client sees of them."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import yaml

from cliproxy.config import parse_config
from cliproxy.config.schema import Config
from cliproxy.credentials.cooldown import PROBE_AFTER_S
from cliproxy.credentials.pool import Pool
from cliproxy.exchange import Answer as Served
from cliproxy.exchange import AnswerCut, ClientRequest, Headers
from cliproxy.gateway import Gateway
from cliproxy.memory import Memory
from cliproxy.transport.client import HttpTransport, TimeLimits
from tests import native
from tests.answers import Answer
from tests.native import FORMATS, Format
from tests.upstream import Received, Upstream
from tests.virtual_time import Clock

PATHS: Mapping[Format, str] = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/model:generateContent",
}
SECTIONS: Mapping[Format, str] = {
    "openai-responses": "codex-api-key",
    "anthropic": "claude-api-key",
    "gemini": "gemini-api-key",
}

Options = Mapping[str, Any]


class Field:
    """A gateway over upstreams; each key has one of its own, which answers as the test scripts."""

    def __init__(self, running: AsyncExitStack) -> None:
        self.clock = Clock()
        self.pool = Pool(self.clock)
        self.keys: dict[str, Upstream] = {}
        self._running = running
        # Nothing here speaks TLS; a context without authorities is made in no time.
        self._transport = HttpTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), TimeLimits(5, 5, 5))
        running.push_async_callback(self._transport.close)

    async def key(self, name: str, *answers: Answer) -> Upstream:
        """Another key; without answers it serves."""
        upstream = await self._running.enter_async_context(Upstream())
        upstream.script(*answers)
        self.keys[name] = upstream
        return upstream

    def config(self, format: Format = "anthropic", options: Options | None = None, **keys: Options) -> Config:
        """All keys offer `model`. options: of the top level; keys: of one key each."""
        entries = [
            {
                "api-key": f"sk-test-key-of-{name}",
                "base-url": upstream.url,
                "models": [{"name": "model"}],
                **keys.get(name, {}),
            }
            for name, upstream in self.keys.items()
        ]
        return parse_config(yaml.safe_dump({SECTIONS[format]: entries, "demo": False, **(options or {})})).config

    def gateway(self, format: Format = "anthropic", options: Options | None = None, **keys: Options) -> Gateway:
        return Gateway(self.config(format, options, **keys), self._transport, Memory(self.pool))

    @property
    def asked(self) -> dict[str, int]:
        """How often each key was asked."""
        return {name: len(upstream.requests) for name, upstream in self.keys.items()}


@pytest.fixture
async def field() -> AsyncIterator[Field]:
    async with AsyncExitStack() as running:
        yield Field(running)


def request(
    format: Format = "anthropic", *, stream: bool = False, model: str = "model", text: str = "hello", **headers: str
) -> ClientRequest:
    path = PATHS[format].replace("model:", f"{model}:")
    message = {"role": "user", "content": text}
    body: dict[str, Any] = {"model": model, "stream": stream}
    match format:
        case "openai-responses":
            body["input"] = text
        case "anthropic":
            body |= {"max_tokens": 64, "messages": [message]}
        case "openai-chat":
            body["messages"] = [message]
        case "gemini":
            body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
            path = path.replace(":generate", ":streamGenerate") if stream else path
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    query = "alt=sse" if format == "gemini" and stream else ""
    return ClientRequest("POST", path, query, Headers(sent), json.dumps(body).encode())


async def whole(answer: Served) -> bytes:
    if isinstance(answer.body, bytes):
        return answer.body
    return b"".join([piece async for piece in answer.body])


async def ask(gateway: Gateway, **asked: Any) -> tuple[int, Headers, bytes]:
    answer = await gateway.handle(request(**asked))
    return answer.status, answer.headers, await whole(answer)


def hanging() -> Answer:
    return Answer(hang=True)


def limited(**headers: str) -> Answer:
    return native.error("anthropic", 429, "the limit is reached", **headers)


# ---------------------------------------------------------------- a personality for each key


PERSONALITIES: Mapping[str, Callable[[], Sequence[Answer]]] = {
    "429": lambda: [limited()],
    "429 with retry-after": lambda: [limited(retry_after="30")],
    "429 of a window": lambda: [
        limited(**{"anthropic-ratelimit-unified-5h-status": "rejected",
                   "anthropic-ratelimit-unified-5h-reset": "1763001000"})],
    "401": lambda: [native.error("anthropic", 401)],
    "403": lambda: [native.error("anthropic", 403)],
    "404": lambda: [native.error("anthropic", 404)],
    "500": lambda: [native.error("anthropic", 500)],
    "529": lambda: [native.error("anthropic", 529)],
    "a redirect": lambda: [Answer(status=307, headers={"location": "/elsewhere"})],
    "no HTTP": lambda: [Answer(raw=b"SSH-2.0-OpenSSH\r\n")],
    "closes the connection": lambda: [Answer(raw=b"")],
    "an empty 200": lambda: [Answer(headers={"content-type": "application/json"})],
    "an empty stream": lambda: [Answer(headers={"content-type": "text/event-stream"})],
    "HTML": lambda: [Answer(headers={"content-type": "text/html"}, body=b"<html>Log in</html>")],
    "an error event first": lambda: [
        Answer(
            headers={"content-type": "text/event-stream"},
            body=[b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'],
        )],
    "cut before the first event": lambda: [
        Answer(headers={"content-type": "text/event-stream"}, body=[b"event: message_st"], cut=True)],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("personality", PERSONALITIES.values(), ids=PERSONALITIES)
async def test_the_next_key_serves(field: Field, personality: Callable[[], Sequence[Answer]], stream: bool) -> None:
    await field.key("odd", *personality())
    await field.key("fine")
    status, headers, body = await ask(field.gateway(), stream=stream)
    assert (status, headers["x-cliproxy-served-by"]) == (200, "claude/model")
    assert b"upstream" in body
    assert field.asked == {"odd": 1, "fine": 1}
    odd, fine = (upstream.requests[0] for upstream in field.keys.values())
    keys = [one.headers["authorization"].removeprefix("Bearer ") for one in (odd, fine)]
    assert keys == ["sk-test-key-of-odd", "sk-test-key-of-fine"]
    assert odd.body == fine.body


async def test_a_key_that_nobody_listens_for_is_passed_over(field: Field) -> None:
    async with Upstream() as gone:
        pass
    await field.key("fine")
    await field.key("gone")
    gateway = field.gateway(gone={"base-url": gone.url, "priority": 1})
    assert (await ask(gateway))[0] == 200
    assert field.asked == {"fine": 1, "gone": 0}


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_fault_is_told_as_it_came_and_asks_nobody_else(field: Field, status: int) -> None:
    await field.key("a", native.error("anthropic", status, "this is wrong"))
    await field.key("b")
    told, _, body = await ask(field.gateway())
    assert (told, json.loads(body)["error"]["message"]) == (status, "this is wrong")
    assert field.asked == {"a": 1, "b": 0}
    assert not field.pool.cooldowns.dump()


async def test_500_then_ok_is_served_by_the_same_key_in_another_round(field: Field) -> None:
    await field.key("a", native.error("anthropic", 500))
    assert (await ask(field.gateway(options={"request-retry": 1})))[0] == 200
    assert field.asked == {"a": 2}


async def test_request_retry_of_a_key_wins(field: Field) -> None:
    await field.key("a", *[native.error("anthropic", 500)] * 5)
    await field.key("b", *[native.error("anthropic", 500)] * 5)
    gateway = field.gateway(options={"request-retry": 1}, a={"request-retry": 0}, b={"request-retry": 3})
    assert (await ask(gateway))[0] == 503
    assert field.asked == {"a": 1, "b": 4}


async def test_a_refused_key_rests_for_all_its_models(field: Field) -> None:
    await field.key("bad", native.error("anthropic", 401))
    await field.key("fine")
    models = {"models": [{"name": "model"}, {"name": "other"}]}
    gateway = field.gateway(bad=models, fine=models)
    for model in ("model", "other", "other"):
        assert (await ask(gateway, model=model))[0] == 200
    assert field.asked == {"bad": 1, "fine": 3}


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_while_the_only_key_rests_the_client_is_told_why(field: Field, status: int) -> None:
    await field.key("a", *[native.error("anthropic", status, "not with this key")])
    gateway = field.gateway()
    await ask(gateway)
    told, headers, body = await ask(gateway)
    assert told == 503
    assert b"not with this key" in body
    assert int(headers["retry-after"]) > 0
    assert field.asked == {"a": 1}


async def test_disable_cooling_asks_again_at_once(field: Field) -> None:
    await field.key("a", limited(retry_after="300"))
    gateway = field.gateway(a={"disable-cooling": True})
    assert [(await ask(gateway))[0] for _ in range(2)] == [429, 200]


async def test_request_scoped_errors_overrule_the_table(field: Field) -> None:
    await field.key("a", native.error("anthropic", 400, "the pool of this reseller is dry"))
    await field.key("b", native.error("anthropic", 500, "do not repeat this"))
    await field.key("c")
    gateway = field.gateway(
        a={"request-scoped-errors": [{"status": 400, "match": ["is dry"], "action": "continue-and-cooldown"}]},
        b={"request-scoped-errors": [{"status": 500, "match-regexr": ["do not .+"], "action": "stop"}]},
    )
    status, _, body = await ask(gateway)
    assert (status, json.loads(body)["error"]["message"]) == (500, "do not repeat this")
    assert (await ask(gateway))[0] == 200
    assert field.asked == {"a": 1, "b": 1, "c": 1}


# ---------------------------------------------------------------- streams


async def test_failover_keeps_streaming(field: Field) -> None:
    rest = asyncio.Event()
    said = native.text("anthropic", stream=True)
    pieces = [piece for piece in said.body if isinstance(piece, bytes)]
    await field.key("a", native.error("anthropic", 529))
    await field.key("b", replace(said, body=[*pieces[:4], rest, *pieces[4:]]))
    answer = await field.gateway().handle(request(stream=True))
    assert not isinstance(answer.body, bytes)
    received = b""
    while b"hello" not in received:
        received += await anext(answer.body)
    assert b"message_stop" not in received
    rest.set()
    received += await whole(answer)
    assert received == said.whole


@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
async def test_after_the_first_byte_a_cut_is_an_error_in_the_clients_format_and_nothing_is_sent_again(
    field: Field, client: Format
) -> None:
    said = native.text("anthropic", stream=True)
    pieces = [piece for piece in said.body if isinstance(piece, bytes)]
    await field.key("a", replace(said, body=pieces[:4], cut=True))
    await field.key("b")
    status, _, body = await ask(field.gateway(options={"request-retry": 3}), format=client, stream=True)
    assert status == 200
    assert b"hello" in body
    last = body.strip().split(b"\n\n")[-1] if client == "anthropic" else body
    assert b"error" in last
    assert b"message_stop" not in body
    assert field.asked == {"a": 1, "b": 0}


async def test_a_whole_answer_that_is_cut_is_asked_for_again(field: Field) -> None:
    await field.key("a", replace(native.text("anthropic"), cut=True))
    await field.key("b")
    assert (await ask(field.gateway()))[0] == 200
    assert field.asked == {"a": 1, "b": 1}


async def test_bootstrap_retries_are_for_streams_only(field: Field) -> None:
    await field.key("a", *[native.error("anthropic", 500)] * 2)
    gateway = field.gateway(options={"streaming": {"bootstrap-retries": 1}})
    assert (await ask(gateway))[0] == 500
    assert (await ask(gateway, stream=True))[0] == 200


# ---------------------------------------------------------------- several at once


async def gone(received: Received) -> None:
    await asyncio.wait_for(received.disconnected.wait(), 5)


DISPATCHES: Mapping[str, Options] = {
    "race": {"type": "race", "max-parallel": 2},
    "hedged": {"type": "hedged", "max-parallel": 2, "delay-ms": 10},
}


@pytest.mark.parametrize("dispatch", DISPATCHES.values(), ids=DISPATCHES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_loser_is_cancelled_and_costs_the_client_nothing(
    field: Field, dispatch: Options, stream: bool
) -> None:
    slow = await field.key("slow", hanging(), hanging())
    fast = await field.key("fast")
    gateway = field.gateway(options={"upstream-strategy": {"dispatch": dispatch}})
    status, _, body = await ask(gateway, stream=stream)
    assert (status, body) == (200, native.text("anthropic", model="model", stream=stream).whole)
    await gone((await slow.received())[0])
    assert not field.pool.cooldowns.dump()
    assert len(fast.requests) == 1


async def test_a_slow_first_byte_costs_no_more_than_the_hedges_delay(field: Field) -> None:
    late = asyncio.Event()
    slow = await field.key("slow", replace(native.text("anthropic", words=["late"]), gate=late))
    await field.key("fast", hanging())
    gateway = field.gateway(options={"upstream-strategy": {"dispatch": DISPATCHES["hedged"]}})
    asking = asyncio.ensure_future(ask(gateway))
    await field.keys["fast"].received()
    late.set()
    assert b"late" in (await asking)[2]
    assert len(slow.requests) == 1


@pytest.mark.parametrize("dispatch", [*DISPATCHES.values(), {"type": "serial"}], ids=[*DISPATCHES, "serial"])
async def test_a_client_that_leaves_cancels_all_attempts(field: Field, dispatch: Options) -> None:
    a = await field.key("a", hanging())
    b = await field.key("b", hanging())
    gateway = field.gateway(options={"upstream-strategy": {"dispatch": dispatch}})
    asking = asyncio.ensure_future(gateway.handle(request()))
    asked = [a] if dispatch["type"] == "serial" else [a, b]
    received = [(await upstream.received())[0] for upstream in asked]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for one in received:
        await gone(one)
    assert sum(field.asked.values()) == len(asked)
    assert not field.pool.cooldowns.dump()


async def test_a_client_that_leaves_in_mid_stream_cancels_the_attempt(field: Field) -> None:
    said = native.text("anthropic", stream=True)
    pieces = [piece for piece in said.body if isinstance(piece, bytes)]
    a = await field.key("a", replace(said, body=[*pieces[:4], asyncio.Event()]))
    answer = await field.gateway(a={"max-concurrent": 1}).handle(request(stream=True))
    assert not isinstance(answer.body, bytes)
    await anext(answer.body)
    await answer.close()
    await gone(a.requests[0])
    assert not field.pool.cooldowns.dump()
    assert (await ask(field.gateway(a={"max-concurrent": 1})))[0] == 200


async def test_max_concurrent_sends_what_is_too_much_elsewhere_and_frees_its_place(field: Field) -> None:
    release = asyncio.Event()
    a = await field.key("a", replace(native.text("anthropic"), gate=release))
    await field.key("b")
    gateway = field.gateway(
        options={"routing": {"strategy": "fill-first"}}, a={"max-concurrent": 1}, b={"max-concurrent": 1}
    )
    first = asyncio.ensure_future(ask(gateway))
    await a.received()
    assert (await ask(gateway))[0] == 200
    assert field.asked == {"a": 1, "b": 1}
    release.set()
    assert (await first)[0] == 200
    await ask(gateway)
    assert field.asked == {"a": 2, "b": 1}


async def test_where_all_are_busy_the_client_is_told_to_come_back(field: Field) -> None:
    a = await field.key("a", hanging())
    gateway = field.gateway(a={"max-concurrent": 1})
    first = asyncio.ensure_future(ask(gateway))
    await a.received()
    status, headers, body = await ask(gateway)
    assert (status, headers["retry-after"]) == (503, "2")
    assert b"max-concurrent" in body
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


# ---------------------------------------------------------------- sessions

AFFINE: Options = {"routing": {"session-affinity": True, "session-affinity-ttl": "1h"}}


async def served_by(field: Field, gateway: Gateway, session: str) -> str:
    before = field.asked
    assert (await ask(gateway, x_session_id=session))[0] == 200
    (name,) = (name for name, count in field.asked.items() if count > before[name])
    return name


async def test_a_conversation_stays_on_its_key_until_that_fails_or_the_ttl_ends(field: Field) -> None:
    a = await field.key("a")
    await field.key("b")
    gateway = field.gateway(options=AFFINE)
    assert [await served_by(field, gateway, "one") for _ in range(3)] == ["a", "a", "a"]
    assert [await served_by(field, gateway, "two") for _ in range(2)] == ["b", "b"]

    a.script(limited(retry_after="60"))
    before = field.asked
    assert (await ask(gateway, x_session_id="one"))[0] == 200
    assert field.asked == {"a": before["a"] + 1, "b": before["b"] + 1}
    field.clock.pass_s(61)
    assert await served_by(field, gateway, "one") == "b", "the cache is there now"

    field.clock.pass_s(3600)
    assert {await served_by(field, gateway, session) for session in ("one", "two")} == {"a", "b"}


async def test_a_conversation_survives_a_reload(field: Field) -> None:
    for name in ("a", "b", "c"):
        await field.key(name)
    gateway = field.gateway(options=AFFINE)
    names = {session: await served_by(field, gateway, session) for session in ("one", "two", "three")}
    field.keys = dict(reversed(field.keys.items()))
    gateway = field.gateway(options=AFFINE)
    assert {session: await served_by(field, gateway, session) for session in names} == names


# ---------------------------------------------------------------- cooldowns


async def test_a_cooldown_is_kept_and_survives_a_reload(field: Field) -> None:
    await field.key("a", limited(retry_after="60"))
    await field.key("b")
    for gateway in (field.gateway(), field.gateway(b={"weight": 3})):
        assert (await ask(gateway))[0] == 200
    assert field.asked == {"a": 1, "b": 2}
    field.clock.pass_s(60)
    for _ in range(2):
        await ask(field.gateway())
    assert field.asked == {"a": 2, "b": 3}


async def test_a_long_cooldown_is_probed_by_exactly_one_request(field: Field) -> None:
    release = asyncio.Event()
    a = await field.key("a", limited(retry_after="86400"), replace(native.text("anthropic"), gate=release))
    await field.key("b")
    gateway = field.gateway(a={"priority": 1})
    await ask(gateway)
    field.clock.pass_s(PROBE_AFTER_S)
    probe = asyncio.ensure_future(ask(gateway))
    await a.received(2)
    for _ in range(3):
        await ask(gateway)
    assert field.asked == {"a": 2, "b": 4}
    release.set()
    assert (await probe)[0] == 200
    await ask(gateway)
    assert field.asked == {"a": 3, "b": 4}


async def test_a_codex_quota_is_the_accounts(field: Field) -> None:
    limit = native.error("openai-responses", 429, "You have hit your usage limit")
    body = {"error": {"type": "usage_limit_reached", "message": "limit", "resets_in_seconds": 600}}
    models = {"models": [{"name": "model"}, {"name": "other"}]}
    await field.key("a", replace(limit, body=json.dumps(body).encode()))
    gateway = field.gateway("openai-responses", a=models)
    assert (await ask(gateway, format="openai-responses"))[0] == 429
    assert (await ask(gateway, format="openai-responses", model="other"))[0] == 429
    assert field.asked == {"a": 1}


# ---------------------------------------------------------------- chains


@pytest.mark.parametrize(
    ("on", "first", "goes_on"),
    [
        (["quota"], limited(), True),
        (["error"], limited(), False),
        (["error"], native.error("anthropic", 500), True),
        (["quota"], native.error("anthropic", 500), False),
        (["context"], native.error("anthropic", 400, "prompt is too long: 9 tokens > 8 maximum"), True),
        (["quota", "error"], native.error("anthropic", 400, "prompt is too long: 9 tokens > 8 maximum"), False),
        (["quota", "error", "context"], native.error("anthropic", 400, "bad request"), False),
    ],
)
async def test_a_chain_goes_on_to_its_next_target_on_its_conditions(
    field: Field, on: list[str], first: Answer, goes_on: bool
) -> None:
    await field.key("a", first)
    await field.key("b")
    gateway = field.gateway(
        options={"models": {"best": {"targets": ["big", "small"], "on": on}}},
        a={"models": [{"name": "big"}]}, b={"models": [{"name": "small"}]},
    )  # fmt: skip
    status, headers, _ = await ask(gateway, model="best")
    assert field.asked == {"a": 1, "b": 1 if goes_on else 0}
    if goes_on:
        assert (status, headers["x-cliproxy-served-by"]) == (200, "claude/small")
        assert json.loads(field.keys["b"].requests[0].body)["model"] == "small"
    else:
        assert status == first.status


# ---------------------------------------------------------------- nobody


KINDS: Mapping[Format, tuple[str, str]] = {
    "openai-chat": ("code", "model_cooldown"),
    "openai-responses": ("code", "model_cooldown"),
    "anthropic": ("type", "rate_limit_error"),
    "gemini": ("status", "RESOURCE_EXHAUSTED"),
}


@pytest.mark.parametrize(("format", "kind"), KINDS.items(), ids=KINDS)
async def test_when_all_quotas_are_used_up_each_clients_format_says_who_and_when(
    field: Field, format: Format, kind: tuple[str, str]
) -> None:
    await field.key("a", limited(retry_after="90"))
    await field.key("b", limited(retry_after="40"))
    gateway = field.gateway()
    for _ in range(2):
        status, headers, body = await ask(gateway, format=format)
        assert (status, headers["retry-after"]) == (429, "40")
        error = json.loads(body)["error"]
        assert error[kind[0]] == kind[1]
        assert error["message"].count("429 the limit is reached") == 2
        assert "asked again in 90 s" in error["message"]
        assert "claude sk-t…#" in error["message"]
        assert "key-of" not in error["message"]
    assert field.asked == {"a": 1, "b": 1}


@pytest.mark.parametrize("format", FORMATS)
async def test_when_nobody_can_serve_for_several_reasons_it_is_503(field: Field, format: Format) -> None:
    await field.key("a", limited(retry_after="90"))
    await field.key("b", native.error("anthropic", 401, "invalid x-api-key"))
    await field.key("c", native.error("anthropic", 500, "oops"))
    status, headers, body = await ask(field.gateway(), format=format, stream=True)
    message = json.loads(body)["error"]["message"]
    assert (status, headers["retry-after"]) == (503, "2")
    for words in ("429 the limit is reached", "401 invalid x-api-key", "500 oops"):
        assert words in message


async def test_a_cut_connection_never_looks_like_an_end(field: Field) -> None:
    said = native.text("gemini", stream=True)
    pieces = [piece for piece in said.body if isinstance(piece, bytes)]
    await field.key("a", replace(said, body=[b"[", pieces[0].removeprefix(b"data: ").strip()], cut=True,
                                 headers={"content-type": "application/json"}))  # fmt: skip
    asked = request("gemini", stream=True)
    answer = await field.gateway("gemini").handle(replace(asked, query=""))
    assert answer.status == 200
    with pytest.raises(AnswerCut):
        await whole(answer)
