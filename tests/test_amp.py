"""cliproxy.amp: Amp gets its models from here where they are offered, and everything else from its own server.

Two mock upstreams: one offers the models, the other is Amp's server.
"""

import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from cliproxy.amp import Amp
from cliproxy.config.schema import Ampcode
from cliproxy.exchange import ClientRequest, Headers
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format
from tests import native
from tests.answers import Answer
from tests.calls import MODELS
from tests.processes import CLIENT_KEY
from tests.site import Noting, Site, ask, body_of, plain, refused, request
from tests.upstream import Upstream
from tests.wire.vendors import read

AMP_KEY, OTHER_AMP_KEY, OTHER_CLIENT_KEY = "sk-test-amp-key", "sk-test-other-amp-key", "sk-test-other-client-key"
PROVIDERS: dict[Format, str] = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
}
MANAGEMENT = (
    "/api/internal?userDisplayBalanceInfo", "/api/user", "/api/auth/x", "/api/meta", "/api/ads", "/api/telemetry",
    "/api/threads/T-1", "/api/otel/v1/traces", "/api/tab/llm-proxy", "/threads/T-1.md", "/docs", "/settings",
    "/auth/cli-login", "/threads.rss", "/news.rss", "/api/provider/openai/v1/files",
)  # fmt: skip


@pytest.fixture
async def site(upstream: Upstream) -> AsyncIterator[Site]:
    site = Site(upstream)
    yield site
    await site.close()


@pytest.fixture
async def amp() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


def configured(amp: Upstream, **more: Any) -> dict[str, Any]:
    keys = {name.replace("_", "-"): value for name, value in more.items()}
    return {"ampcode": {"upstream-url": amp.url, "upstream-api-key": AMP_KEY, **keys}}


def amps(format: Format, model: str = "", **more: Any) -> ClientRequest:
    """Amp's request for a model."""
    asked = request(format, model=model, **more)
    asked.path = f"/api/provider/{PROVIDERS[format]}{asked.path}"
    return asked


def amp_of(offered: Sequence[str] = (), **config: Any) -> Amp:
    return Amp(Ampcode.model_validate(config), lambda name: name.partition("(")[0] in offered)


def mapping(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"from": source, "to": target, **more}


# ---------------------------------------------------------------- which model answers


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("here", "here"),
        ("here(high)", "here(high)"),
        ("elsewhere", "here"),
        ("ELSEWHERE", "here"),
        ("elsewhere(high)", "here(high)"),
        ("deep", "here(low)"),
        ("deep(high)", "here(low)"),
        ("codex/high/elsewhere", "here"),
        ("opus-5-20990101", "also-here"),
        ("opus", "also-here"),
        ("prefix-elsewhere", None),
        ("lost", None),
        ("lost-and-found", "here"),
        ("unknown", None),
    ],
)
def test_a_mapping_stands_in_for_what_is_not_offered(asked: str, answers: str | None) -> None:
    rules = [
        mapping("here", "also-here"),
        mapping("elsewhere", "here"),
        mapping("codex/elsewhere", "here"),
        mapping("deep", "here(low)"),
        mapping("^opus(-5.*)?$", "also-here", regex=True),
        mapping("lost", "nowhere"),
        mapping("lost-and", "nowhere", regex=True),
        mapping("found", "here", regex=True),
    ]
    assert amp_of(("here", "also-here"), model_mappings=rules).local(asked) == answers


def test_a_mapping_can_go_before_what_is_offered() -> None:
    rules = [mapping("here", "also-here"), mapping("other", "nowhere")]
    amp = amp_of(("here", "also-here", "other"), model_mappings=rules, force_model_mappings=True)
    assert [amp.local(name) for name in ("here", "also-here", "other", "unknown")] == [
        "also-here",
        "also-here",
        "other",
        None,
    ]


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("format", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_models_that_are_offered_answer_here(site: Site, amp: Upstream, format: Format, stream: bool) -> None:
    gateway = site.gateway(configured(amp))
    for server in PROVIDERS:
        reply = await ask(gateway, amps(format, MODELS[server], stream=stream))
        assert reply.status == 200
        assert read(format, reply.body, stream=stream).text == "hello from upstream"
    assert len(site.upstream.requests) == len(PROVIDERS)
    assert amp.requests == []


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("/api/provider/groq/chat/completions", "openai-chat"),
        ("/api/provider/xai/responses", "openai-responses"),
        ("/api/provider/google/v1beta1/publishers/google/models/gemini-model:generateContent", "gemini"),
    ],
)
async def test_providers_have_paths_of_their_own(site: Site, amp: Upstream, path: str, format: Format) -> None:
    asked = request(format)
    asked.path = path
    reply = await ask(site.gateway(configured(amp)), asked)
    assert (reply.status, read(format, reply.body, stream=False).text) == (200, "hello from upstream")
    assert amp.requests == []


@pytest.mark.parametrize("format", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_nobody_offers_is_amps(site: Site, amp: Upstream, format: Format, stream: bool) -> None:
    asked = amps(format, "amps-own", stream=stream)
    asked.headers["anthropic-beta"] = "context-1m-2025-08-07"
    amp.script(native.text(format, words=("hello from amp",), stream=stream))
    reply = await ask(site.gateway(configured(amp)), asked)
    assert (reply.status, read(format, reply.body, stream=stream).text) == (200, "hello from amp")
    [received] = amp.requests
    assert (received.method, received.path, received.body) == ("POST", asked.path, body_of(asked))
    assert received.headers["anthropic-beta"] == "context-1m-2025-08-07"
    assert site.upstream.requests == []


async def test_a_compressed_request_reaches_amp_as_it_was(site: Site, amp: Upstream) -> None:
    asked = amps("anthropic", "amps-own")
    asked.body = packed = gzip.compress(body_of(asked))
    asked.headers["content-encoding"] = "gzip"
    amp.script(native.text("anthropic"))
    assert (await ask(site.gateway(configured(amp)), asked)).status == 200
    [received] = amp.requests
    assert (received.body, received.headers["content-encoding"]) == (packed, "gzip")


async def test_a_request_that_comes_in_pieces_reaches_amp_whole(site: Site, amp: Upstream) -> None:
    asked = amps("anthropic", "amps-own")
    whole = body_of(asked)

    async def pieces() -> AsyncIterator[bytes]:
        yield gzip.compress(whole)[:10]
        yield gzip.compress(whole)[10:]

    asked.body = pieces()
    asked.headers["content-encoding"] = "gzip"
    amp.script(native.text("anthropic"))
    assert (await ask(site.gateway(configured(amp)), asked)).status == 200
    [received] = amp.requests
    assert received.body == whole
    assert "content-encoding" not in received.headers


@pytest.mark.parametrize("format", PROVIDERS)
async def test_a_stand_in_answers_under_the_name_that_amp_used(site: Site, amp: Upstream, format: Format) -> None:
    config = configured(amp, model_mappings=[mapping("amps-own", MODELS[format])])
    asked = amps(format, "amps-own")
    reply = await ask(site.gateway(config), asked)
    assert reply.status == 200
    assert reply.json["modelVersion" if format == "gemini" else "model"] == "amps-own"
    [received] = site.upstream.requests
    assert "upstream-model" in received.path + received.body.decode()
    assert amp.requests == []


async def test_a_stand_in_may_be_a_name_for_several_models(site: Site, amp: Upstream) -> None:
    config = configured(amp, model_mappings=[mapping("amps-own", "smart")])
    config["models"] = {"smart": {"targets": ["no-such-model", "anthropic-model"]}}
    reply = await ask(site.gateway(config), amps("anthropic", "amps-own"))
    assert (reply.status, reply.json["model"]) == (200, "amps-own")


async def test_counting_is_for_whoever_has_the_model(site: Site, amp: Upstream) -> None:
    gateway = site.gateway(configured(amp))
    for model, counter in (("anthropic-model", site.upstream), ("amps-own", amp)):
        asked = amps("anthropic", model)
        asked.path += "/count_tokens"
        body = b'{"input_tokens": 42}'
        counter.script(Answer(headers={"content-type": "application/json"}, body=body))
        assert (await ask(gateway, asked)).json == {"input_tokens": 42}


async def test_without_amps_server_an_unknown_model_is_unknown(site: Site) -> None:
    reply = await ask(site.gateway(), amps("anthropic", "amps-own"))
    assert "unknown model 'amps-own'" in refused("anthropic", 404, reply)
    assert (await ask(site.gateway(), amps("anthropic"))).status == 200


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/provider/anthropic/v1/models", lambda body: [m["id"] for m in body["data"] if not body["has_more"]]),
        ("/api/provider/google/v1beta/models", lambda body: [m["name"].removeprefix("models/") for m in body["models"]]),
        ("/api/provider/openai/v1/models", lambda body: [m["id"] for m in body["data"] if body["object"] == "list"]),
        ("/api/provider/groq/models", lambda body: [m["id"] for m in body["data"] if body["object"] == "list"]),
    ],
)  # fmt: skip
async def test_lists_are_of_the_models_here(site: Site, amp: Upstream, path: str, names: Any) -> None:
    reply = await ask(site.gateway(configured(amp)), plain("GET", path))
    assert {*MODELS.values()} <= {*names(reply.json)}
    assert amp.requests == []


async def test_amps_list_of_vertexs_models_is_its_own(site: Site, amp: Upstream) -> None:
    path = "/api/provider/google/v1beta1/publishers/google/models/any"
    amp.script(Answer(body=b"{}"))
    assert (await ask(site.gateway(configured(amp)), plain("GET", path))).status == 200
    assert amp.requests[0].path == path


# ---------------------------------------------------------------- everything else


@pytest.mark.parametrize("asked", MANAGEMENT)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_rest_is_passed_on_as_it_is(site: Site, amp: Upstream, method: str, asked: str) -> None:
    path, _, query = asked.partition("?")
    amp.script(Answer(status=201, headers={"x-amp": "yes", "content-type": "text/plain"}, body=b"from amp"))
    body = b"\x00anything" if method == "POST" else b""
    reply = await ask(site.gateway(configured(amp)), plain(method, path, body, query))
    assert (reply.status, reply.body, reply.headers["x-amp"]) == (201, b"from amp", "yes")
    [received] = amp.requests
    assert (received.method, received.path, received.query, received.body) == (method, path, query, body)


async def test_without_amps_server_its_routes_are_off(site: Site) -> None:
    for path in ("/api/user", "/threads"):
        reply = await ask(site.gateway(), plain("GET", path))
        assert "ampcode.upstream-url" in refused("openai-chat", 404, reply)


PLACES: list[tuple[str, dict[str, str]]] = [
    ("", {"authorization": f"Bearer {CLIENT_KEY}"}),
    ("", {"x-api-key": CLIENT_KEY}),
    (f"key={CLIENT_KEY}&limit=3", {}),
    (f"auth_token={CLIENT_KEY}&limit=3", {"cookie": "session=other-programs"}),
]


@pytest.mark.parametrize(("query", "headers"), PLACES)
async def test_amps_key_takes_the_place_of_the_clients(
    site: Site, amp: Upstream, query: str, headers: Mapping[str, str]
) -> None:
    gateway = site.gateway(configured(amp))
    asked = amps("anthropic", "amps-own")
    for path, body in ((asked.path, asked.body), ("/api/threads", b"")):
        amp.script(Answer(body=b"{}"))
        assert (await ask(gateway, ClientRequest("POST", path, query, Headers(headers), body))).status == 200
    for received in amp.requests:
        assert received.headers["authorization"] == f"Bearer {AMP_KEY}"
        assert received.headers["x-api-key"] == AMP_KEY
        seen = received.path + received.query + str(list(received.headers.items()))
        assert CLIENT_KEY not in seen
        assert "other-programs" not in seen
        assert received.query in ("", "limit=3")


async def test_each_client_may_have_its_own_key_at_amp(site: Site, amp: Upstream) -> None:
    config = configured(amp, upstream_api_keys=[{"upstream-api-key": OTHER_AMP_KEY, "api-keys": [OTHER_CLIENT_KEY]}])
    gateway = site.gateway({**config, "api-keys": [CLIENT_KEY, OTHER_CLIENT_KEY]})
    for client, key in ((CLIENT_KEY, AMP_KEY), (OTHER_CLIENT_KEY, OTHER_AMP_KEY)):
        amp.script(Answer(body=b"{}"))
        headers = Headers({"Authorization": f"Bearer {client}"})
        assert (await ask(gateway, ClientRequest("GET", "/api/user", "", headers, b""))).status == 200
        assert amp.requests[-1].headers["authorization"] == f"Bearer {key}"


async def test_without_a_key_none_is_sent(site: Site, amp: Upstream) -> None:
    amp.script(Answer(body=b"{}"))
    await ask(site.gateway(configured(amp, upstream_api_key="")), plain("GET", "/api/user"))
    assert not {"authorization", "x-api-key"} & {name.lower() for name in amp.requests[0].headers}


@pytest.mark.parametrize("path", ["/api/user", "/threads", "/api/provider/anthropic/v1/messages"])
async def test_a_client_without_a_key_is_refused(site: Site, amp: Upstream, path: str) -> None:
    reply = await ask(site.gateway(configured(amp)), ClientRequest("POST", path, "", Headers(), b"{}"))
    assert reply.status == 401
    assert amp.requests == []


async def test_the_attempt_is_seen_and_its_key_is_not(site: Site, amp: Upstream) -> None:
    amp.script(Answer(body=b"{}"))
    noting = Noting()
    await ask(site.gateway(configured(amp)), plain("GET", "/api/user"), noting)
    [attempt] = noting.ended
    assert (attempt.provider, attempt.status) == ("amp", 200)
    assert {"authorization", "x-api-key"} <= attempt.secret_headers
    assert AMP_KEY not in attempt.credential


PEERS = [
    ("127.0.0.1", 200), ("127.9.9.9", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("192.0.2.7", 403),
    ("::ffff:192.0.2.7", 403), ("2001:db8::1", 403), ("", 403),
]  # fmt: skip


@pytest.mark.parametrize(("peer", "status"), PEERS)
async def test_account_routes_can_be_kept_to_this_machine(site: Site, amp: Upstream, peer: str, status: int) -> None:
    gateway = site.gateway(configured(amp, restrict_management_to_localhost=True))
    for path in ("/api/user", "/threads"):
        amp.script(Answer(body=b"{}"))
        asked = plain("GET", path, x_forwarded_for="127.0.0.1")
        asked.peer = peer
        assert (await ask(gateway, asked)).status == status
    models = amps("anthropic")
    models.peer = peer
    assert (await ask(gateway, models)).status == 200


async def test_any_machine_may_use_them_otherwise(site: Site, amp: Upstream) -> None:
    amp.script(Answer(body=b"{}"))
    asked = plain("GET", "/api/user")
    asked.peer = "192.0.2.7"
    assert (await ask(site.gateway(configured(amp)), asked)).status == 200


async def test_a_browser_goes_to_amps_own_site(site: Site, amp: Upstream) -> None:
    accept = Headers({"Accept": "text/html,application/xhtml+xml", "Cookie": "session=other-programs"})
    asked = ClientRequest("GET", "/auth/cli-login", f"authToken=x&key={CLIENT_KEY}", accept, b"")
    reply = await ask(site.gateway(configured(amp)), asked)
    assert (reply.status, reply.headers["location"]) == (307, f"{amp.url}/auth/cli-login?authToken=x")
    assert amp.requests == []


async def test_no_page_of_another_site_may_ask_with_the_users_key(site: Site, amp: Upstream) -> None:
    asked = ClientRequest("OPTIONS", "/api/user", "", Headers({"Origin": "https://site.test"}), b"")
    reply = await ask(site.gateway(configured(amp)), asked)
    assert reply.status == 401
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"providers": ["claude"]}, "provider_not_allowed"), ({"models": ["anthropic-*"]}, "model_not_allowed")],
)
async def test_a_keys_limits_hold_for_amps_models_too(
    site: Site, amp: Upstream, limits: Mapping[str, Any], code: str
) -> None:
    config = {**configured(amp), "api-keys": [{"key": CLIENT_KEY, **limits}]}
    gateway = site.gateway(config)
    reply = await ask(gateway, amps("openai-chat", "amps-own"))
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (403, code)
    assert (await ask(gateway, amps("anthropic"))).status == 200
    assert amp.requests == []


def test_a_mapping_must_be_readable() -> None:
    with pytest.raises(ValueError, match="regular expression"):
        Ampcode.model_validate({"model_mappings": [mapping("(", "here", regex=True)]})


def test_its_own_routes_are_off_without_a_server() -> None:
    with pytest.raises(ClientFault, match="upstream-url"):
        amp_of().receive(plain("GET", "/api/user"))
