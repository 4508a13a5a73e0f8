"""cliproxy.providers.vertex: Vertex AI with a service account's token, and with a key of the config."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from cliproxy.config import parse_config
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.record import Credential
from cliproxy.providers.call import Purpose
from cliproxy.providers.vendor import Place
from cliproxy.providers.vertex import BASE_URL, VENDOR, Vertex, base_url_of
from tests import native
from tests.answers import Answer
from tests.features.gateways import MODEL, Clients
from tests.features.test_tool_loop import LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import answer, gateway
from tests.providers.google import VERTEX_PATH, call, candidate, credential, service_account, vertex
from tests.upstream import Upstream

OLD, NEW = "gemini-2.5-pro", "gemini-3-pro-preview"


def key(base_url: str, model: str = NEW) -> Credential:
    """A credential of the config."""
    entry = {"api-key": "test-key-1", "base-url": base_url, "models": [{"name": model, "alias": MODEL}]}
    [found] = credentials_of(parse_config(json.dumps({"demo": False, "vertex-api-key": [entry]})).config)
    return found


@pytest.mark.parametrize("model", [OLD, NEW])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_tools_round_from_clients_of_every_format(format: Format, model: str) -> None:
    async with (
        Upstream(judge=vertex) as google,
        gateway(credential("vertex", google.url, model, location="eu")) as serving,
    ):
        go_through, _ = LOOPS[format]
        loop = await go_through(Clients(serving, "sk-test-client"))
        assert (loop.name, loop.arguments, loop.text) == ("get_weather", {"city": "Paris"}, "hello from upstream")
        assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
        path = f"/v1/projects/test-project-1/locations/eu/publishers/google/models/{model}:streamGenerateContent"
        assert {(received.path, received.query) for received in google.requests} == {(path, "alt=sse")}


@pytest.mark.parametrize("format", FORMATS)
async def test_a_key_of_the_config_serves_clients_of_every_format(format: Format) -> None:
    async with Upstream(judge=vertex) as google, gateway(key(google.url)) as serving:
        go_through, _ = LOOPS[format]
        loop = await go_through(Clients(serving, "sk-test-client"))
        assert (loop.name, loop.text) == ("get_weather", "hello from upstream")
        assert google.requests[0].path == f"/v1/publishers/google/models/{NEW}:streamGenerateContent"
        assert "authorization" not in google.requests[0].headers


@pytest.mark.parametrize(
    ("providers", "base_url"), [({}, BASE_URL), ({"vertex": {"base-url": "http://own.test"}}, "http://own.test")]
)
def test_keys_are_used_at_the_host_of_no_location(providers: Any, base_url: str) -> None:
    text = json.dumps({"demo": False, "providers": providers, "vertex-api-key": [{"api-key": "test-key-1"}]})
    [found] = credentials_of(parse_config(text).config)
    assert (found.provider, found.dialect, found.formats, found.base_url) == ("vertex", "vertex", ("gemini",), base_url)


async def test_a_client_without_sse_gets_an_array(upstream: Upstream) -> None:
    body = b"[%b]" % native.text("gemini").whole
    upstream.script(Answer(headers={"content-type": "application/json"}, body=[body]))
    async with gateway(credential("vertex", upstream.url, NEW)) as serving:
        asked = {"contents": [{"parts": [{"text": "hello"}]}]}
        reply = await Clients(serving, "sk-test-client").http.post(
            f"/v1beta/models/{MODEL}:streamGenerateContent", json=asked
        )
        assert reply.json()[0]["candidates"][0]["finishReason"] == "STOP"
        assert upstream.requests[0].query == ""


async def test_tokens_are_counted_by_google() -> None:
    async with Upstream(judge=vertex) as google, gateway(credential("vertex", google.url, NEW)) as serving:
        clients = Clients(serving, "sk-test-client")
        asked = {"model": MODEL, "system": "be kind", "messages": [{"role": "user", "content": "hello"}]}
        assert (await clients.http.post("/v1/messages/count_tokens", json=asked)).json() == {"input_tokens": 31}
        assert (await clients.google.models.count_tokens(model=MODEL, contents="one")).total_tokens == 31
        first, second = google.requests
        assert first.json.keys() >= {"contents", "systemInstruction"}
        assert second.json == {"contents": [{"role": "user", "parts": [{"text": "one"}]}]}


# ---------------------------------------------------------------- Imagen


@pytest.mark.parametrize("format", ["gemini", "openai-chat"])
async def test_an_image_is_drawn(format: Format) -> None:
    async with (
        Upstream(judge=vertex) as google,
        gateway(credential("vertex", google.url, "imagen-4.0-generate-001")) as serving,
    ):
        clients = Clients(serving, "sk-test-client")
        if format == "gemini":
            stream = await clients.google.models.generate_content_stream(model=MODEL, contents="a cat")
            [chunk] = [chunk async for chunk in stream]
            image = chunk.candidates[0].content.parts[0].inline_data.data
        else:
            asked = {"model": MODEL, "messages": [{"role": "user", "content": "a cat"}]}
            message = (await clients.http.post("/v1/chat/completions", json=asked)).json()["choices"][0]["message"]
            image = base64.b64decode(message["images"][0]["image_url"]["url"].partition(",")[2])
        assert image == b"image"
        found = VERTEX_PATH.fullmatch(google.requests[0].path)
        assert found
        assert (found["method"], google.requests[0].query) == ("predict", "")


async def test_an_image_that_google_holds_back() -> None:
    async with (
        Upstream(judge=vertex) as google,
        gateway(credential("vertex", google.url, "imagen-4.0-generate-001")) as serving,
    ):
        answer = await Clients(serving, "sk-test-client").google.models.generate_content(
            model=MODEL, contents="something forbidden"
        )
        assert answer.candidates[0].finish_reason == "IMAGE_SAFETY"


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(("model", "kept"), [(OLD, False), (NEW, True), ("gemini-flash-latest", True)])
def test_ids_of_calls_are_new_to_vertex(model: str, kept: bool) -> None:
    contents = [
        {"role": "model", "parts": [{"functionCall": {"id": "1", "name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "1", "name": "f", "response": {}}}]},
    ]
    request = Vertex().request(candidate("vertex", model), call({"contents": contents}))
    assert isinstance(request.body, bytes)
    parts = [part for content in json.loads(request.body)["contents"] for part in content["parts"]]
    assert [("id" in next(iter(part.values()))) for part in parts] == [kept, kept]


def test_names_cannot_change_the_path() -> None:
    asked = candidate("vertex", "a/../b", project_id="p?x", location="l#y")
    url = Vertex().request(asked, call({"contents": []})).url
    assert url.endswith("/v1/projects/p%3Fx/locations/l%23y/publishers/google/models/a%2F..%2Fb:generateContent")


def test_no_other_method_is_vertexs() -> None:
    assert Vertex().purposes == {Purpose.GENERATE, Purpose.COUNT_TOKENS}


# ---------------------------------------------------------------- the account


@pytest.mark.parametrize(
    ("fields", "base_url", "found"),
    [
        ({}, BASE_URL, "https://us-central1-aiplatform.googleapis.com"),
        ({"location": "europe-west4"}, BASE_URL, "https://europe-west4-aiplatform.googleapis.com"),
        ({"location": "eu"}, BASE_URL, "https://aiplatform.eu.rep.googleapis.com"),
        ({"location": "global"}, BASE_URL, BASE_URL),
        ({"location": "europe-west4"}, "http://own.test", "http://own.test"),
        ({"base_url": "http://file.test"}, "http://own.test", "http://file.test"),
    ],
)
def test_each_location_has_a_host(fields: dict[str, Any], base_url: str, found: str) -> None:
    assert base_url_of(fields, Place(base_url)) == found


def test_the_project_may_stand_in_the_key_file_only() -> None:
    fields = {"service_account": {"project_id": "p-1"}}
    assert VENDOR.file_stem(fields) == "p-1"
    asked = candidate("vertex", NEW, service_account=fields["service_account"], project_id=None)
    path = Vertex().request(asked, call({"contents": []})).url
    assert "/projects/p-1/locations/us-central1/" in path


async def test_a_token_is_minted_with_the_accounts_key(upstream: Upstream) -> None:
    upstream.script(answer({"access_token": "test-access-2", "expires_in": 3599, "token_type": "Bearer"}))
    account = service_account(upstream.url)
    assert VENDOR.renew
    async with httpx.AsyncClient(trust_env=False) as http:
        tokens = await VENDOR.renew({"service_account": account}, Place(BASE_URL), http)
    assert tokens.access_token == "test-access-2"
    assertion = parse_qs(upstream.requests[0].body.decode())["assertion"][0]
    claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    assert (claims["iss"], claims["scope"]) == (
        account["client_email"],
        "https://www.googleapis.com/auth/cloud-platform",
    )
