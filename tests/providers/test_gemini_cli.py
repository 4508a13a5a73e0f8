"""cliproxy.providers.gemini_cli: a Gemini CLI login serves clients of every format."""

import json

import pytest

from cliproxy.providers.gemini_cli import BASE_URL, VENDOR, GeminiCli, variants
from cliproxy.providers.vendor import Place
from tests import native
from tests.answers import Answer
from tests.features.gateways import MODEL, Clients
from tests.features.test_tool_loop import LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import gateway, said
from tests.providers.google import call, candidate, code_assist, credential
from tests.upstream import Upstream

UPSTREAM_MODEL = "gemini-3-pro-preview"


@pytest.mark.parametrize("format", FORMATS)
async def test_a_tools_round_from_clients_of_every_format(format: Format) -> None:
    async with (
        Upstream(judge=code_assist) as google,
        gateway(credential("gemini-cli", google.url, UPSTREAM_MODEL)) as serving,
    ):
        go_through, _ = LOOPS[format]
        loop = await go_through(Clients(serving, "sk-test-client"))
        assert (loop.name, loop.arguments, loop.text) == ("get_weather", {"city": "Paris"}, "hello from upstream")
        assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
        first, second = (received.json for received in google.requests)
        assert (first["model"], first["project"]) == (UPSTREAM_MODEL, "test-project-1")
        assert first["request"]["session_id"] == second["request"]["session_id"]


@pytest.mark.parametrize("format", FORMATS)
async def test_a_whole_answer_for_clients_of_every_format(format: Format) -> None:
    async with (
        Upstream(judge=code_assist) as google,
        gateway(credential("gemini-cli", google.url, UPSTREAM_MODEL)) as serving,
    ):
        assert await said(Clients(serving, "sk-test-client"), format) == "hello from upstream"
        assert google.requests[-1].path == "/v1internal:generateContent"


async def test_tokens_are_counted_by_google() -> None:
    async with (
        Upstream(judge=code_assist) as google,
        gateway(credential("gemini-cli", google.url, UPSTREAM_MODEL)) as serving,
    ):
        clients = Clients(serving, "sk-test-client")
        asked = {"model": MODEL, "system": "be very kind", "messages": [{"role": "user", "content": "hello you"}]}
        reply = await clients.http.post("/v1/messages/count_tokens", json=asked)
        assert reply.json() == {"input_tokens": 5}
        counted = await clients.google.models.count_tokens(model=MODEL, contents="one two three")
        assert counted.total_tokens == 3
        assert {received.path for received in google.requests} == {"/v1internal:countTokens"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_told_with_googles_words_and_wait(upstream: Upstream, stream: bool) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "40s"}
    error = {"error": {"code": 429, "message": "no more", "status": "RESOURCE_EXHAUSTED", "details": [info]}}
    body = json.dumps([error] if stream else error).encode()
    upstream.script(Answer(status=429, headers={"content-type": "application/json"}, body=body))
    async with gateway(credential("gemini-cli", upstream.url, UPSTREAM_MODEL), request_retry=0) as serving:
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
        reply = await Clients(serving, "sk-test-client").http.post("/v1/chat/completions", json=asked)
        assert (reply.status_code, reply.json()["error"]["message"]) == (429, "no more")
        assert int(reply.headers["retry-after"]) == 40


def test_an_account_without_a_project_names_none() -> None:
    nameless = candidate("gemini-cli", UPSTREAM_MODEL, project_id="")
    request = GeminiCli().request(nameless, call({"contents": []}))
    assert isinstance(request.body, bytes)
    assert json.loads(request.body) == {"model": UPSTREAM_MODEL, "request": {"contents": []}}


def test_each_project_is_a_variant_of_the_account() -> None:
    place = Place(BASE_URL)
    assert variants({"project_id": "a,b"}, place) == ({"project_id": "a"}, {"project_id": "b"})
    assert variants({}, place) == ({},)


def test_no_client_is_registered_for_the_user() -> None:
    registration = VENDOR.registration
    assert registration
    assert (registration.client_id, registration.client_secret) == ("", "")
    assert registration.redirect_uri == "http://localhost:8085/oauth2callback"
    assert registration.authorize_params == {"access_type": "offline", "prompt": "consent"}
