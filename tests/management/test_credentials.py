"""How each credential is: ready, cooling, disabled, expired; and what can be done about it."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cliproxy.credentials.cooldown import ALL_MODELS
from cliproxy.exchange import CLIENT_LEFT
from cliproxy.management.inventory import entry_of
from tests.answers import Answer
from tests.auth_files import AUTH_FILES
from tests.management.conftest import At
from tests.management.desk import Desk, desk_of
from tests.oauth.authorization_server import AuthorizationServer
from tests.upstream import Upstream
from tests.usage.exchanges import attempt, exchange

KEYS = "claude-api-key:\n  - {api-key: sk-test-1, base-url: http://127.0.0.1:9, models: [{name: a}, {name: b}]}\n"
LATER = "2099-01-01T00:00:00Z"


async def only(desk: Desk, kind: str = "account") -> dict[str, Any]:
    (one,) = [one for one in (await desk.get("/credentials"))["credentials"] if one["kind"] == kind]
    return one


async def place(desk: Desk, name: str = "codex-me@example.com-plus.json", **fields: Any) -> None:
    desk.auth_dir.mkdir(exist_ok=True)
    login = AUTH_FILES[name] | {"expired": LATER} | fields
    (desk.auth_dir / name).write_text(json.dumps(login), "utf-8")
    await desk.operator.look_at_accounts()


def sideline(desk: Desk, auth_index: str, model: str = ALL_MODELS, seconds: float = 600.0) -> None:
    credential = entry_of(desk.operator, auth_index).credentials[0]
    desk.memory.pool.cooldowns.sideline(
        credential.id, model, None, seconds=seconds, reason="quota", status=429, message="the quota is used up"
    )


async def test_the_demo_alone_is_there_at_first(desk: Desk) -> None:
    (demo,) = (await desk.get("/credentials"))["credentials"]
    assert (demo["kind"], demo["provider"], demo["state"], demo["usable"]) == ("demo", "demo", "ready", True)


async def test_an_account_tells_what_it_is_without_its_tokens(desk: Desk) -> None:
    await place(desk, plan_type="plus", note="mine")
    reply = await desk.ask("GET", "/credentials")
    one = await only(desk)
    facts = {
        "provider": "codex", "label": "codex me@example.com", "name": "codex-me@example.com-plus.json", "state": "ready",
        "email": "me@example.com", "plan": "plus", "note": "mine", "renewable": True, "quota": None, "cooldowns": [],
    }  # fmt: skip
    assert {name: one[name] for name in facts} == facts
    assert one["expires_at_s"] > time.time()
    assert "test-access" not in reply.text and "test-refresh" not in reply.text


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({"disabled": True}, "disabled", ""),
        ({"expired": "2020-01-01T00:00:00Z", "refresh_token": ""}, "expired", "log in again"),
        ({"expired": "2020-01-01T00:00:00Z"}, "ready", ""),
    ],
)
async def test_the_states_of_an_account(desk: Desk, fields: Any, state: str, reason: str) -> None:
    await place(desk, **fields)
    one = await only(desk)
    assert (one["state"], one["usable"]) == (state, state == "ready")
    assert reason in one["reason"]


async def test_a_login_that_was_refused_for_good_is_told(desk: Desk) -> None:
    await place(desk)
    (account,) = desk.operator.running.accounts
    account.file = account.file.with_login_error("invalid_grant", "the login was revoked")
    one = await only(desk)
    assert (one["state"], one["reason"], one["renewable"]) == ("login needed", "the login was revoked", False)


async def test_a_cooldown_is_shown_and_forgotten(desk_with: At) -> None:
    desk = await desk_with(KEYS)
    index = (await only(desk, "key"))["auth_index"]
    sideline(desk, index, "a")
    sideline(desk, index, "b", 900.0)
    one = await only(desk, "key")
    assert (one["state"], one["usable"], one["reason"]) == ("cooling", False, "the quota is used up")
    assert one["until_s"] == max(cooldown["until_s"] for cooldown in one["cooldowns"])
    cooldown = one["cooldowns"][0]
    assert (cooldown["model"], cooldown["reason"], cooldown["status"]) == ("a", "quota", 429)
    reply = await desk.ask("POST", "/reset-quota", {"auth_index": index})
    assert reply.json == {"status": "ok", "auth_index": index, "models": ["a", "b"]}
    assert (await only(desk, "key"))["state"] == "ready"


async def test_one_sidelined_model_leaves_the_others_usable(desk_with: At) -> None:
    desk = await desk_with(KEYS)
    sideline(desk, (await only(desk, "key"))["auth_index"], "a")
    one = await only(desk, "key")
    assert (one["state"], one["usable"]) == ("cooling", True)


async def test_nobodys_cooldowns_are_not_found(desk: Desk) -> None:
    assert (await desk.ask("POST", "/reset-quota", {"auth_index": "nobody"})).status == 404
    assert (await desk.ask("POST", "/reset-quota", {})).status == 400
    assert (await desk.get("/credentials", auth_index="nobody")) == {"credentials": []}


async def test_successes_and_failures_are_counted_by_credential(desk_with: At) -> None:
    desk = await desk_with(KEYS)
    label = (await only(desk, "key"))["label"]
    for fields in ({}, {}, {"status": 500, "error": "no"}, {"status": 200, "error": CLIENT_LEFT}):
        desk.operator.settled(exchange(attempt(credential=label, **fields)))
    desk.operator.settled(exchange(attempt(credential="someone else")))
    one = await only(desk, "key")
    assert (one["success"], one["failed"]) == (2, 1)
    assert one["recent_requests"][-1] | {"time_s": 0} == {"time_s": 0, "success": 2, "failed": 1}
    assert [slot["success"] for slot in one["recent_requests"][:-1]] == [0] * 19
    assert (await desk.get("/api-key-usage"))["claude"]["http://127.0.0.1:9|sk-test-1"]["success"] == 2


# ---------------------------------------------------------------- asking vendors


@pytest.fixture
async def vendor(tmp_path: Path) -> AsyncIterator[tuple[Desk, Upstream, AuthorizationServer]]:
    async with Upstream() as upstream, AuthorizationServer() as server:
        oauth = f"{{client-id: test-client, token-url: '{server.url}/oauth/token'}}"
        provider = f"{{base-url: '{upstream.url}', quota-url: '{upstream.url}/usage', oauth: {oauth}}}"
        async with desk_of(tmp_path, f"providers: {{codex: {provider}}}\n") as desk:
            yield desk, upstream, server


async def test_a_vendor_is_asked_what_is_left(vendor: tuple[Desk, Upstream, AuthorizationServer]) -> None:
    desk, upstream, _ = vendor
    await place(desk)
    window = {"used_percent": 42, "limit_window_seconds": 18000, "reset_at": 1_900_000_000}
    body = {"plan_type": "plus", "rate_limit": {"primary_window": window, "secondary_window": None}}
    upstream.script(Answer(headers={"content-type": "application/json"}, body=json.dumps(body).encode()))
    index = (await only(desk))["auth_index"]
    reply = await desk.ask("POST", f"/credentials/{index}/quota")
    assert reply.status == 200, reply.text
    assert reply.json["quota"]["windows"][0]["used"] == pytest.approx(0.42)
    assert (await only(desk))["quota"] == reply.json["quota"]
    upstream.script(Answer(status=500, body=b"no"))
    failed = await desk.ask("POST", f"/credentials/{index}/quota")
    assert (failed.status, failed.json["error"]) == (502, "quota query failed")


async def test_a_token_is_renewed_on_demand(vendor: tuple[Desk, Upstream, AuthorizationServer]) -> None:
    desk, _, server = vendor
    await place(desk, refresh_token=server.issuer.issue()["refresh_token"])
    one = await only(desk)
    reply = await desk.ask("POST", f"/credentials/{one['auth_index']}/renew")
    assert reply.status == 200
    assert len(server.token_requests) == 1
    assert reply.json["last_refresh_s"] > one["last_refresh_s"]
    await place(desk, refresh_token="test-refresh-nobody")
    failed = await desk.ask("POST", f"/credentials/{one['auth_index']}/renew")
    assert (failed.status, failed.json["error"]) == (502, "renewal failed")
    assert "test-refresh" not in failed.text


async def test_what_cannot_be_asked_or_renewed_says_so(desk: Desk) -> None:
    index = (await only(desk, "demo"))["auth_index"]
    assert (await desk.ask("POST", f"/credentials/{index}/quota")).status == 409
    assert (await desk.ask("POST", f"/credentials/{index}/renew")).status == 409
    assert (await desk.ask("POST", "/credentials/nobody/renew")).status == 404
