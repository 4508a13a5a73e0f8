"""Code Assist's API as Gemini CLI uses it with a Google login: calls in an envelope, and what is said of the account.

Requests have the shapes of Gemini CLI 0.61 (`reference/clients.md` section 3).
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cliproxy.code_assist import enclose, open_request, without_account
from cliproxy.exchange import Answer as Served
from cliproxy.exchange import ClientRequest, Headers
from cliproxy.routes import Operation, error_format, is_ours, match
from cliproxy.wire.errors import ClientFault
from tests import native
from tests.answers import Answer
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Clients, Site, whole
from tests.native import FORMATS, Format
from tests.providers.accounts import gateway
from tests.providers.google import code_assist, credential
from tests.upstream import Upstream

STREAM, GENERATE = "/v1internal:streamGenerateContent?alt=sse", "/v1internal:generateContent"
SESSION = "9f3c-session"
KEY = "sk-test-client"
TOOL = {"name": "get_weather", "description": "Tells.", "parametersJsonSchema": {"type": "object", "properties": {}}}


def envelope(model: str = MODEL, *, tools: bool = False) -> dict[str, Any]:
    """What Gemini CLI posts."""
    return {
        "model": model,
        "project": "cliproxy",
        "user_prompt_id": "prompt-1",
        "request": {
            "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
            "systemInstruction": {"role": "user", "parts": [{"text": "You are an agent."}]},
            "tools": [{"functionDeclarations": [TOOL]}] if tools else [],
            "generationConfig": {"temperature": 1, "topP": 0.95, "topK": 64},
            "session_id": SESSION,
        },
    }


def events(text: str) -> list[Any]:
    """As Gemini CLI reads them, which knows nothing but `data: ` and empty lines."""
    lines = text.splitlines()
    assert all(not line or line.startswith("data: ") for line in lines)
    return [json.loads(line[6:]) for line in lines if line]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running


# ---------------------------------------------------------------- calls for a model


@pytest.mark.parametrize("format", FORMATS)
async def test_a_stream_with_a_call_from_upstreams_of_every_format(site: Site, format: Format) -> None:
    vendor = await site.upstream(format, native.tool_call(format, stream=True))
    reply = await site.clients().http.post(STREAM, json=envelope(tools=True))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream")
    answers = [event["response"] for event in events(reply.text)]
    parts = [part for answer in answers for part in answer["candidates"][0].get("content", {}).get("parts", ())]
    [call] = [part["functionCall"] for part in parts if "functionCall" in part]
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    assert answers[-1]["candidates"][0]["finishReason"] == "STOP"
    assert SESSION.encode() not in vendor.requests[0].body
    assert UPSTREAM_MODEL in vendor.requests[0].path + vendor.requests[0].body.decode()


@pytest.mark.parametrize("format", FORMATS)
async def test_a_whole_answer_from_upstreams_of_every_format(site: Site, format: Format) -> None:
    await site.upstream(format)
    reply = await site.clients().http.post(GENERATE, json=envelope())
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    answer = reply.json()["response"]
    assert answer["candidates"][0]["content"]["parts"][0]["text"] == "hello from upstream"
    assert answer["usageMetadata"]["candidatesTokenCount"] == native.OUTPUT_TOKENS


async def test_without_sse_a_stream_is_an_array(site: Site) -> None:
    await site.upstream("anthropic")
    reply = await site.clients().http.post(STREAM.partition("?")[0], json=envelope())
    assert reply.headers["content-type"] == "application/json"
    assert all(each.keys() == {"response"} for each in reply.json())


async def test_a_call_goes_to_the_account_with_the_accounts_own_project() -> None:
    async with Upstream(judge=code_assist) as google, gateway(credential("gemini-cli", google.url, MODEL)) as serving:
        reply = await Clients(serving, KEY).http.post(STREAM, json=envelope(tools=True))
        assert "functionCall" in events(reply.text)[-1]["response"]["candidates"][0]["content"]["parts"][0]
        [received] = google.requests
        assert (received.json["project"], received.json["request"]["session_id"]) == ("test-project-1", SESSION)


async def test_what_is_put_into_an_envelope_must_not_be_compressed(site: Site) -> None:
    vendor = await site.upstream("gemini")
    headers = {"accept-encoding": "gzip, deflate, br"}
    reply = await site.clients().http.post(GENERATE, json=envelope(), headers=headers)
    assert "response" in reply.json()
    assert vendor.requests[0].headers["accept-encoding"] == "identity"


async def test_tokens_are_counted_without_an_envelope(site: Site) -> None:
    counted = Answer(headers={"content-type": "application/json"}, body=b'{"totalTokens": 8}')
    vendor = await site.upstream("gemini", counted)
    contents = [{"role": "user", "parts": [{"text": "hello"}]}]
    body = {"request": {"model": f"models/{MODEL}", "contents": contents}}
    reply = await site.clients().http.post("/v1internal:countTokens", json=body)
    assert (reply.status_code, reply.json()["totalTokens"]) == (200, 8)
    assert vendor.requests[0].path.endswith(f"/models/{UPSTREAM_MODEL}:countTokens")
    assert vendor.requests[0].json == {"contents": contents}


async def test_an_error_has_googles_shape(site: Site) -> None:
    await site.upstream("anthropic", native.error("anthropic", 400, "too long"))
    reply = await site.clients().http.post(STREAM, json=envelope())
    assert reply.status_code == 400
    assert reply.json()["error"] == {"code": 400, "message": "too long", "status": "INVALID_ARGUMENT"}


async def test_an_error_in_the_stream_is_no_answer(site: Site) -> None:
    cut = native.text("anthropic", stream=True)
    pieces = [piece for piece in cut.body if isinstance(piece, bytes)][:4]
    await site.upstream("anthropic", Answer(headers=cut.headers, body=pieces, cut=True))
    reply = await site.clients().http.post(STREAM, json=envelope())
    *_, last = events(reply.text)
    assert "response" not in last
    assert last["error"]["code"] == 502


async def test_signs_of_life_stand_before_the_envelope(site: Site) -> None:
    gate, answer = asyncio.Event(), native.text("gemini")
    await site.upstream("gemini", Answer(headers=answer.headers, body=answer.body, gate=gate))
    serving = site.over(site.config().model_copy(update={"nonstream_keepalive_interval": 0.01}))
    raw = json.dumps(envelope()).encode()
    given = await serving.handle(ClientRequest("POST", GENERATE, "", Headers(), raw))
    assert not isinstance(given.body, bytes)
    first = await anext(given.body)
    gate.set()
    rest = b"".join([piece async for piece in given.body])
    assert first.strip() == b""
    assert json.loads(first + rest)["response"]["candidates"]


# ---------------------------------------------------------------- the envelope


def test_a_request_is_taken_out_with_its_own_bytes() -> None:
    body = b'{"model": "models/m", "project": "p", "request": {"contents": [{"a":  1.50}], "session_id": "s"}}'
    assert open_request(body) == ("m", "s", b'{"contents":[{"a":  1.50}]}')


def test_a_request_that_only_python_reads() -> None:
    body = b'{"model": "m", "request": {"contents": [NaN, "\\ud800"]}}'
    assert open_request(body).body == '{"contents":[null,"\ufffd"]}'.encode()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "request"),
        (b'{"request": {}}', "model"),
        (b'{"model": 1, "request": {}}', "model"),
        (b'{"model": "m", "request": 1}', None),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_what_is_no_envelope(body: bytes, param: str | None) -> None:
    with pytest.raises(ClientFault) as fault:
        open_request(body)
    assert (fault.value.status, fault.value.param) == (400, param)


class Slices:
    """A body in slices that notes whether it was closed."""

    def __init__(self, *slices: bytes) -> None:
        self._slices = list(slices)
        self.closed = False

    def __aiter__(self) -> "Slices":
        return self

    async def __anext__(self) -> bytes:
        if not self._slices:
            raise StopAsyncIteration
        return self._slices.pop(0)

    async def aclose(self) -> None:
        self.closed = True


async def test_a_stream_is_put_into_envelopes_wherever_it_is_cut() -> None:
    body = native.text("gemini", stream=True).whole
    headers = Headers({"content-type": "text/event-stream"})
    for at in range(len(body) + 1):
        answer = await whole(enclose(Served(200, headers, Slices(body[:at], body[at:])), stream=True))
        assert [event["response"] for event in events(answer.decode())] == events(body.decode())


async def test_an_event_of_several_lines_is_one_line_again() -> None:
    headers = Headers({"content-type": "text/event-stream"})
    body = b'data: {\ndata: "a": 1}\n\ndata: {\ndata: "error": {}}\n\n'
    answer = enclose(Served(200, headers, body), stream=True).body
    assert answer == b'data: {"response":{"a":1}}\n\ndata: {"error":{}}\n\n'


async def test_an_answer_that_nobody_reads_is_closed() -> None:
    slices = Slices(b"")
    await enclose(Served(200, Headers(), slices), stream=True).close()
    assert slices.closed


# ---------------------------------------------------------------- the account

METHODS = {
    "loadCodeAssist": {"metadata": {"ideType": "IDE_UNSPECIFIED", "pluginType": "GEMINI"}},
    "onboardUser": {"tierId": "standard-tier"},
    "retrieveUserQuota": {"project": "cliproxy"},
    "listExperiments": {"project": "cliproxy", "metadata": {}},
    "fetchAdminControls": {"project": "cliproxy"},
    "recordCodeAssistMetrics": {"project": "cliproxy"},
    "setCodeAssistGlobalUserSetting": {"freeTierDataCollectionOptin": True},
}


@pytest.mark.parametrize("method", METHODS)
async def test_without_an_account_gemini_cli_can_go_on(site: Site, method: str) -> None:
    reply = await site.clients().http.post(f"/v1internal:{method}", json=METHODS[method])
    assert (reply.status_code, reply.json()) == (200, without_account(method))


async def test_what_gemini_cli_needs_to_hear(site: Site) -> None:
    http = site.clients().http
    loaded = (await http.post("/v1internal:loadCodeAssist", json={})).json()
    assert loaded["currentTier"]["id"]
    assert loaded["cloudaicompanionProject"]
    onboarded = (await http.post("/v1internal:onboardUser", json={})).json()
    assert onboarded["done"]
    assert onboarded["response"]["cloudaicompanionProject"]["id"] == loaded["cloudaicompanionProject"]
    setting = await http.get("/v1internal:getCodeAssistGlobalUserSetting")
    assert setting.json() == {"freeTierDataCollectionOptin": False}


@pytest.mark.parametrize("path", ["/v1internal:fetchAvailableModels", "/v1internal/operations/op-1"])
async def test_the_rest_needs_an_account(site: Site, path: str) -> None:
    reply = await site.clients().http.post(path, json={})
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1internal:loadCodeAssist"),
        ("POST", "/v1internal:fetchAvailableModels"),
        ("GET", "/v1internal/operations/op-1"),
    ],
)
async def test_the_linked_account_speaks_for_itself(upstream: Upstream, method: str, path: str) -> None:
    said = Answer(status=203, headers={"content-type": "application/json", "x-own": "1"}, body=b'{"tier": 1}')
    upstream.script(said)
    async with gateway(credential("gemini-cli", upstream.url, MODEL)) as serving:
        headers = {"authorization": f"Bearer {KEY}"}
        reply = await Clients(serving, KEY).http.request(method, path, json={"metadata": {}}, headers=headers)
        assert (reply.status_code, reply.content, reply.headers["x-own"]) == (203, b'{"tier": 1}', "1")
        [received] = upstream.requests
        assert (received.method, received.path, received.json) == (method, path, {"metadata": {}})
        assert received.headers["authorization"] == "Bearer test-access-1"


@pytest.mark.parametrize(("provider", "status"), [("gemini-cli", 203), ("other", 200)])
async def test_a_key_may_use_only_its_providers(upstream: Upstream, provider: str, status: int) -> None:
    upstream.script(Answer(status=203, body=b"{}"))
    keys = [{"key": KEY, "providers": [provider]}]
    async with gateway(credential("gemini-cli", upstream.url, MODEL), api_keys=keys) as serving:
        headers = {"authorization": f"Bearer {KEY}"}
        reply = await Clients(serving, KEY).http.post("/v1internal:loadCodeAssist", json={}, headers=headers)
        assert reply.status_code == status


async def test_the_account_is_no_upstream_for_other_native_calls(upstream: Upstream) -> None:
    async with gateway(credential("gemini-cli", upstream.url, MODEL)) as serving:
        assert (await Clients(serving, KEY).http.get("/v1beta/files")).status_code == 404
        assert not upstream.requests


# ---------------------------------------------------------------- routes


def test_routes() -> None:
    generate, count = match("POST", "/v1internal:generateContent"), match("POST", "/v1internal:countTokens")
    assert (generate.operation, generate.enveloped, generate.format) == (Operation.GENERATE, True, "gemini")
    assert (count.operation, count.enveloped) == (Operation.COUNT_TOKENS, True)
    assert match("GET", "/v1internal:anything").operation is Operation.CODE_ASSIST
    assert match("OPTIONS", "/v1internal:loadCodeAssist").operation is Operation.PREFLIGHT
    assert (is_ours("/v1internal:x"), is_ours("/v1internal"), is_ours("/v1internal/x")) == (True, False, False)
    assert error_format("/v1internal:x") == "gemini"
    for method, path in (("GET", "/v1internal:generateContent"), ("DELETE", "/v1internal:loadCodeAssist")):
        with pytest.raises(ClientFault) as fault:
            match(method, path)
        assert fault.value.status == 405
