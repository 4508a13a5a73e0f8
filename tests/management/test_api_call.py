"""Calls for panels: with a credential's token, to its own provider, and nowhere that nobody named."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cliproxy.management import api_call
from cliproxy.management.endpoint import MAX_BODY_BYTES
from cliproxy.management.inventory import inventory
from cliproxy.management.reach import is_known, is_own, origin_of
from tests.answers import Answer
from tests.auth_files import AUTH_FILES
from tests.management.desk import Desk, desk_of
from tests.upstream import Upstream

TOKEN = {"Authorization": "Bearer $TOKEN$"}
PLAIN = {"content-type": "text/plain"}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
async def other() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
async def desk(upstream: Upstream, other: Upstream, tmp_path: Path) -> AsyncIterator[Desk]:
    """An account of codex at `upstream`, a key of claude at `other`."""
    more = f"providers: {{codex: {{base-url: '{upstream.url}/backend-api/codex'}}}}\n"
    more += f"claude-api-key: [{{api-key: sk-test-claude, base-url: '{other.url}'}}]\n"
    (tmp_path / "auth").mkdir()
    login = AUTH_FILES["codex-me@example.com-plus.json"] | {"expired": "2099-01-01T00:00:00Z"}
    (tmp_path / "auth" / "codex.json").write_text(json.dumps(login), "utf-8")
    async with desk_of(tmp_path, more) as running:
        yield running


async def index_of(desk: Desk, kind: str) -> str:
    found = (await desk.get("/credentials"))["credentials"]
    return next(one["auth_index"] for one in found if one["kind"] == kind)


async def call(desk: Desk, url: str, kind: str = "", **fields: Any) -> Any:
    index = await index_of(desk, kind) if kind else ""
    return await desk.ask("POST", "/api-call", {"auth_index": index, "method": "GET", "url": url, **fields})


async def test_an_accounts_token_goes_to_its_provider(desk: Desk, upstream: Upstream) -> None:
    upstream.script(Answer(status=418, headers=PLAIN | {"x-quota": "7"}, body="später".encode()))
    reply = await call(
        desk, f"{upstream.url}/wham/usage?x=1", "account", method="post", header={**TOKEN, "X-Id": "a"}, data='{"a":1}'
    )
    assert reply.status == 200, reply.text
    assert (reply.json["status_code"], reply.json["body"], reply.json["header"]["X-Quota"]) == (418, "später", ["7"])
    (received,) = upstream.requests
    assert (received.method, received.path, received.query, received.body) == ("POST", "/wham/usage", "x=1", b'{"a":1}')
    assert received.headers["authorization"] == "Bearer test-access-codex" and received.headers["x-id"] == "a"
    assert "test-access-codex" not in reply.text


async def test_a_keys_secret_goes_to_its_upstream(desk: Desk, other: Upstream) -> None:
    other.script(Answer(headers=PLAIN, body=b"fine"))
    reply = await call(desk, f"{other.url}/v1/x", "key", header={"x-api-key": "$TOKEN$", "Host": "evil.example"})
    assert reply.json["body"] == "fine"
    assert other.requests[0].headers["x-api-key"] == "sk-test-claude"
    assert other.requests[0].headers["host"] == f"127.0.0.1:{other.port}"


@pytest.mark.parametrize("name", ["auth_index", "authIndex", "AuthIndex"])
async def test_the_index_has_several_names(desk: Desk, upstream: Upstream, name: str) -> None:
    upstream.script(Answer(headers=PLAIN, body=b""))
    body = {name: await index_of(desk, "account"), "method": "GET", "url": upstream.url, "header": TOKEN}
    assert (await desk.ask("POST", "/api-call", body)).status == 200
    assert upstream.requests[0].headers["authorization"] == "Bearer test-access-codex"


async def test_a_token_goes_to_no_other_provider(desk: Desk, other: Upstream) -> None:
    reply = await call(desk, f"{other.url}/x", "account", header=TOKEN)
    assert (reply.status, reply.json["error"]) == (403, "host not allowed")
    assert other.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:{port1}/x", "https://127.0.0.1:{port}/x",
        "http://localhost:{port}/x", "https://evil.example/", "http://[::1]:{port}/",
    ],
)  # fmt: skip
async def test_calls_go_to_upstreams_only(desk: Desk, upstream: Upstream, url: str) -> None:
    reply = await call(desk, url.format(port=upstream.port, port1=upstream.port + 1), header={})
    assert (reply.status, reply.json["error"]) == (403, "host not allowed")
    assert "api-call-hosts" in reply.json["message"]
    assert upstream.requests == []


@pytest.mark.parametrize(
    "url", ["", "x", "file:///etc/passwd", "ftp://h/", "http://", "//h/x", "http://h:99999/", "http://u:p@h/"]
)
async def test_what_is_no_address_is_refused(desk: Desk, url: str) -> None:
    reply = await call(desk, url)
    assert (reply.status, reply.json["error"]) == (400, "invalid url")


async def test_the_vendors_own_hosts_are_known(desk: Desk) -> None:
    entries = inventory(desk.operator)
    account = next(entry for entry in entries if entry.kind == "account")
    for url in (
        "https://chatgpt.com/backend-api/wham/usage", "https://api.anthropic.com/api/oauth/usage",
        "https://cloudcode-pa.googleapis.com/v1internal:retrieveUserQuota", "https://api.kimi.com/coding/v1/usages",
    ):  # fmt: skip
        origin = origin_of(url)
        assert origin and is_known(desk.operator, origin, entries)
        assert is_own(desk.operator, origin, account) is (origin[1] == "chatgpt.com")


async def test_the_operator_may_name_more_hosts(desk: Desk, other: Upstream) -> None:
    reply = await desk.ask("GET", "/config.yaml")
    text = reply.text.replace("remote-management:\n", "remote-management:\n  api-call-hosts: [127.0.0.1]\n")
    assert (await desk.ask("PUT", "/config.yaml", body=text.encode())).status == 200
    other.script(Answer(headers=PLAIN, body=b"fine"))
    assert (await call(desk, f"{other.url}/x", "account", header=TOKEN)).status == 200
    assert other.requests[0].headers["authorization"] == "Bearer test-access-codex"


async def test_a_redirect_is_told_and_not_followed(desk: Desk, upstream: Upstream, other: Upstream) -> None:
    upstream.script(Answer(status=302, headers={"location": other.url}, body=b""))
    reply = await call(desk, upstream.url, "account", header=TOKEN)
    assert (reply.json["status_code"], reply.json["header"]["Location"]) == (302, [other.url])
    assert other.requests == []


@pytest.mark.parametrize(
    "fields",
    [{"method": "TRACE"}, {"method": ""}, {"header": {"X": "a\r\nb"}}, {"header": {"X y": "a"}}, {"header": {"X": 1}}],
)
async def test_requests_that_cannot_be_sent_are_refused(desk: Desk, upstream: Upstream, fields: Any) -> None:
    reply = await call(desk, upstream.url, **fields)
    assert reply.status in (400, 502)
    assert upstream.requests == []


async def test_a_token_that_nobody_has_is_told(desk: Desk, upstream: Upstream) -> None:
    for index in ("", "nobody"):
        body = {"auth_index": index, "method": "GET", "url": upstream.url, "header": TOKEN}
        reply = await desk.ask("POST", "/api-call", body)
        assert (reply.status, reply.json["error"]) == (400, "auth token not found")
    assert upstream.requests == []


async def test_a_login_that_has_lapsed_is_told(desk: Desk, upstream: Upstream) -> None:
    login = AUTH_FILES["codex-me@example.com-plus.json"] | {"expired": "2020-01-01T00:00:00Z", "refresh_token": ""}
    (desk.auth_dir / "codex.json").write_text(json.dumps(login), "utf-8")
    await desk.operator.look_at_accounts()
    reply = await call(desk, upstream.url, "account", header=TOKEN)
    assert (reply.status, reply.json["error"]) == (400, "auth token refresh failed")


async def test_only_the_configurations_proxies_are_used(desk: Desk, upstream: Upstream) -> None:
    reply = await call(desk, upstream.url, proxy_url="http://127.0.0.1:1")
    assert (reply.status, reply.json["error"]) == (403, "proxy not allowed")
    upstream.script(Answer(headers=PLAIN, body=b"fine"))
    assert (await call(desk, upstream.url, proxy_url="direct")).json["body"] == "fine"


async def test_an_upstream_that_is_away_is_told_without_its_address(desk: Desk, upstream: Upstream) -> None:
    upstream.script(Answer(raw=b""))
    reply = await call(desk, upstream.url, "account", header=TOKEN)
    assert (reply.status, reply.json["error"]) == (502, "request failed")


async def test_calls_have_a_time_limit(desk: Desk, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_call, "TIME_LIMIT_S", 0.05)
    upstream.script(Answer(hang=True))
    reply = await call(desk, upstream.url)
    assert (reply.status, reply.json["error"], reply.json["message"]) == (502, "request failed", "TimeoutError")


async def test_answers_have_a_size(desk: Desk, upstream: Upstream) -> None:
    upstream.script(Answer(headers=PLAIN, body=b"x" * (MAX_BODY_BYTES + 1)))
    assert (await call(desk, upstream.url)).json["error"] == "answer too large"
