"""What is left of exchanges in files: flows saved with `-w` and the HAR export, read after mitmdump has ended."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientError, ClientSession, ClientTimeout
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from addons.labels import ATTEMPT, MARK_FAILED, MARK_SERVED
from tests import native
from tests.answers import Answer
from tests.calls import Call, ask, call, http1
from tests.http2 import Http2Client
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Gateway, config_for, credentials, listening, mitmproxy
from tests.proxies import HttpProxy
from tests.streams import broken, events, held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG_KEY, HEADER_SECRET, PROXY_WORD = "sk-test-wrong-key", "sk-test-header-secret", "sk-test-proxy-word"
SECRETS = (CLIENT_KEY, UPSTREAM_KEY, WRONG_KEY, HEADER_SECRET, PROXY_WORD)
MAX_BODY_BYTES = 3000
SECOND_SCRIPT = Path(__file__).with_name("second_script.py")
UPLOAD = b"a file's bytes"


@dataclass(frozen=True)
class Saved:
    """The two files, and the flows of one of them by the `x-test-case` of the client."""

    flows_file: bytes
    har_file: bytes
    flows: list[HTTPFlow]

    def client(self, case: str) -> HTTPFlow:
        (flow,) = [flow for flow in self._of(case) if ATTEMPT not in flow.metadata]
        return flow

    def attempt(self, case: str) -> HTTPFlow:
        (flow,) = [flow for flow in self._of(case) if ATTEMPT in flow.metadata]
        return flow

    def _of(self, case: str) -> list[HTTPFlow]:
        return [flow for flow in self.flows if flow.request.headers.get("x-test-case") == case]

    @property
    def har(self) -> list[dict[str, Any]]:
        return json.loads(self.har_file)["log"]["entries"]


class Exchanges:
    """Everything that a gateway's life may leave in a file, each with a name of its own."""

    def __init__(self, gateway: Gateway, upstream: Upstream, client: ClientSession) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.client = client

    async def ask(self, case: str, asked: Call, *answers: Answer, body: bytes | None = None, **headers: str) -> None:
        self.upstream.script(*answers)
        with suppress(ClientError):
            await ask(self.client, self.gateway, asked, body=body, x_test_case=case, **headers)

    async def served(self) -> None:
        await self.ask("whole", call("anthropic"))
        await self.ask("stream", call("openai-chat", stream=True))
        await self.ask("long", call("openai-responses", stream=True))
        await self.ask("packed", call("anthropic", stream=True), native.text("anthropic", stream=True).encoded("gzip"))
        asked = call("gemini", stream=True)
        await self.ask("query", Call(f"{asked.path}&key={CLIENT_KEY}", {}, asked.json))
        proxied = call("anthropic", model="proxied-anthropic-model")
        await self.ask("proxied", proxied)
        key = {"authorization": f"Bearer {CLIENT_KEY}"}
        upload = Call("/v1/files", key, {})
        await self.ask("upload", upload, Answer(body=b"{}"), body=UPLOAD, content_type="multipart/form-data")

    async def failed(self) -> None:
        await self.ask("unknown model", call("anthropic", model="nobody"))
        asked = call("anthropic")
        await self.ask("wrong key", Call(f"{asked.path}?key={WRONG_KEY}", {"x-api-key": WRONG_KEY}, asked.json))
        await self.ask("unknown path", Call(f"/nothing?key={CLIENT_KEY}&auth_token={CLIENT_KEY}", {}, {}))
        await self.ask("malformed", call("anthropic"), body=b"{")
        await self.ask("too large", call("anthropic"), body=b"x" * 200_000)
        await self.ask("refused", call("anthropic"), native.error("anthropic", 400))
        await self.ask("dead", call("anthropic", model="dead-anthropic-model"))
        await self.ask("garbled", call("anthropic"), Answer(headers={"content-type": "text/html"}, body=b"<html>"))
        for case in ("answer", "kill"):
            await self.ask(
                f"a script's {case}", Call(f"{asked.path}?key={CLIENT_KEY}", {}, asked.json), x_test_script=case
            )
        await self.ask("cut", call("anthropic", stream=True), broken("anthropic", after=3))

    async def abandoned(self) -> None:
        """The client leaves: within the answer, and within its own body, where no exchange has begun."""
        self.upstream.script(held("anthropic", after=2))
        asked = call("anthropic", stream=True)
        headers = {**asked.headers, "x-test-case": "abandoned"}
        async with self.client.post(self.gateway.url + asked.path, headers=headers, json=asked.json) as answer:
            await answer.content.readany()
        await self.upstream.requests[-1].disconnected.wait()
        _, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        begun = Call(f"{asked.path}?key={CLIENT_KEY}", asked.headers, {})
        writer.write(http1(begun, b'{"half', content_length="100", x_test_case="half sent"))
        await writer.drain()
        writer.close()
        await self.gateway.wait_for("Client disconnected|unexpectedly closed|peer closed")

    async def over_http2(self, tls: SSLContext) -> None:
        asked = call("anthropic", stream=True)
        async with Http2Client(self.gateway.port, tls) as http2:
            headers = {**asked.headers, "x-test-case": "http2"}
            stream = await http2.send("POST", asked.path, headers, json.dumps(asked.json).encode())
            await stream.read()

    async def still_running(self) -> asyncio.Task[None]:
        """An exchange that the gateway's end interrupts."""
        before = len(self.upstream.requests)
        asked = call("anthropic")
        interrupted = Call(f"{asked.path}?key={CLIENT_KEY}", {}, asked.json)
        task = asyncio.create_task(self.ask("interrupted", interrupted, Answer(hang=True)))
        await self.upstream.received(before + 1)
        return task


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def saved(
    tmp_path_factory: pytest.TempPathFactory,
    confdir: Path,
    shared_upstream: Upstream,
    authority: Callable[[], SSLContext],
) -> Saved:
    folder = tmp_path_factory.mktemp("saved")
    flows, har = folder / "flows", folder / "flows.har"
    async with HttpProxy() as proxy, ClientSession(timeout=ClientTimeout(total=20)) as client:
        proxy_url = proxy.url.replace("//", f"//user:{PROXY_WORD}@")
        config = config_for(
            shared_upstream,
            credentials(shared_upstream.url, "proxied-", proxy_url=proxy_url, headers={"X-Team": HEADER_SECRET}),
            credentials("http://127.0.0.1:1", "dead-"),
            max_request_body_bytes=100_000,
            inspect={"max-body-bytes": MAX_BODY_BYTES},
            shutdown_grace_seconds=0,
        )
        arguments = ("-s", str(SECOND_SCRIPT), "-w", str(flows), "--set", f"hardump={har}")
        async with mitmproxy(confdir, *arguments, config=config) as gateway:
            exchanges = Exchanges(await listening(gateway), shared_upstream, client)
            await exchanges.served()
            await exchanges.failed()
            await exchanges.abandoned()
            await exchanges.over_http2(authority())
            interrupted = await exchanges.still_running()
            await gateway.stop()
            await interrupted
    with flows.open("rb") as file:
        read = [flow for flow in FlowReader(file).stream() if isinstance(flow, HTTPFlow)]
    return Saved(flows.read_bytes(), har.read_bytes(), read)


SERVED = ("whole", "stream", "long", "packed", "query", "proxied", "http2", "upload")
FAILED = ("refused", "dead", "garbled", "cut", "abandoned")
WITHOUT_ATTEMPT = (
    "unknown model", "wrong key", "unknown path", "malformed", "too large", "half sent", "a script's answer",
    "a script's kill",
)  # fmt: skip


async def test_no_secret_is_in_any_file(saved: Saved) -> None:
    for secret in SECRETS:
        assert secret.encode() not in saved.flows_file
        assert secret.encode() not in saved.har_file


@pytest.mark.parametrize("case", [*SERVED, *FAILED])
async def test_client_and_attempt_name_each_other(saved: Saved, case: str) -> None:
    client, attempt = saved.client(case), saved.attempt(case)
    assert attempt.metadata[ATTEMPT] == client.id
    assert attempt.id[:8] in client.comment
    assert client.id[:8] in attempt.comment
    assert client.marked == attempt.marked == (MARK_SERVED if case in SERVED else MARK_FAILED)


@pytest.mark.parametrize("case", WITHOUT_ATTEMPT)
async def test_what_was_refused_at_the_door_has_no_attempt(saved: Saved, case: str) -> None:
    assert saved.client(case)
    with pytest.raises(ValueError, match="not enough"):
        saved.attempt(case)


async def test_the_comment_tells_model_provider_credential_and_tokens(saved: Saved) -> None:
    served = r"chat-model → chat/upstream-model → chat sk-t…#"
    attempt = saved.attempt("stream").comment
    assert attempt.startswith(f"attempt 1 · {served}")
    assert " · 11 + 7 tokens · stop · " in attempt
    assert saved.client("stream").comment.startswith(served)


async def test_the_attempt_shows_what_went_upstream_and_where(saved: Saved, shared_upstream: Upstream) -> None:
    attempt = saved.attempt("whole")
    received = next(r for r in shared_upstream.requests if r.headers.get("x-test-case") == "whole")
    assert attempt.request.url == f"{shared_upstream.url}/v1/messages"
    assert attempt.server_conn.address == ("127.0.0.1", shared_upstream.port)
    assert attempt.request.raw_content == received.body
    shown = {name.lower(): value for name, value in attempt.request.headers.items()}
    sent = {name.lower(): value for name, value in received.headers.items()}
    assert shown.pop("authorization").startswith("Bearer sk-t…#")
    assert sent.pop("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert shown == sent


@pytest.mark.parametrize(
    ("case", "known"),
    [
        ("whole", native.text("anthropic", model="upstream-model")),
        ("stream", native.text("openai-chat", model="upstream-model", stream=True)),
        ("query", native.text("gemini", model="upstream-model", stream=True)),
        ("http2", native.text("anthropic", model="upstream-model", stream=True)),
        ("packed", native.text("anthropic", stream=True)),
        ("refused", native.error("anthropic", 400)),
    ],
)
async def test_both_flows_keep_the_answers_body(saved: Saved, case: str, known: Answer) -> None:
    for flow in (saved.client(case), saved.attempt(case)):
        assert flow.response
        assert flow.response.status_code == known.status
        assert flow.response.content == known.whole


async def test_of_a_long_answer_the_end_is_kept(saved: Saved) -> None:
    whole = native.text("openai-responses", model="upstream-model", stream=True).whole
    assert len(whole) > MAX_BODY_BYTES
    for flow in (saved.client("long"), saved.attempt("long")):
        assert flow.response
        assert flow.response.content == whole[-MAX_BODY_BYTES:]
    assert f"the last {MAX_BODY_BYTES} of {len(whole)} bytes kept" in saved.attempt("long").comment


@pytest.mark.parametrize("case", SERVED)
async def test_timings_are_in_order(saved: Saved, case: str) -> None:
    client, attempt = saved.client(case), saved.attempt(case)
    assert client.response
    assert attempt.response
    times = [
        client.request.timestamp_start,
        attempt.request.timestamp_start,
        attempt.response.timestamp_start,
        attempt.response.timestamp_end,
        client.response.timestamp_end,
    ]
    assert all(times)
    assert times == sorted(times)  # pyright: ignore[reportArgumentType] - none of them is None


async def test_failures_say_why(saved: Saved) -> None:
    reasons = {case: flow.error.msg if (flow := saved.attempt(case)).error else "" for case in FAILED}
    assert reasons.pop("refused") == "upstream says no"
    assert "cannot be reached" in reasons.pop("dead")
    assert "text/html" in reasons.pop("garbled")
    assert "cut off" in reasons.pop("cut")
    assert saved.client("abandoned").error
    assert reasons == {"abandoned": "the client went away"}
    partial = saved.attempt("cut").response
    assert partial
    assert partial.content == b"".join(events("anthropic")[:3])


async def test_an_exchange_that_the_end_interrupted_is_saved(saved: Saved) -> None:
    assert saved.client("interrupted").request.path.startswith("/v1/messages?key=sk-t…#")


async def test_har_holds_both_sides(saved: Saved, shared_upstream: Upstream) -> None:
    def entries(case: str) -> Mapping[str, dict[str, Any]]:
        sent = {"name": "x-test-case", "value": case}
        return {e["request"]["url"].partition("?")[0]: e for e in saved.har if sent in e["request"]["headers"]}

    both = entries("query")
    client = both["http://cliproxy.internal/v1beta/models/gemini-model:streamGenerateContent"]
    attempt = both[f"{shared_upstream.url}/v1beta/models/upstream-model:streamGenerateContent"]
    for entry in (client, attempt):
        assert entry["response"]["status"] == 200
        assert "hello" in entry["response"]["content"]["text"]
        assert entry["timings"]["wait"] >= 0
    assert json.loads(attempt["request"]["postData"]["text"]) == call("gemini").json
    for case in (*SERVED, *FAILED):
        assert len(entries(case)) == 2, case
