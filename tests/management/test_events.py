"""What happens is told while it happens: exchanges, credentials, configurations, logins, the log."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cliproxy.management import events
from cliproxy.management.inventory import inventory
from tests.auth_files import AUTH_FILES
from tests.management.conftest import At
from tests.management.desk import Desk
from tests.usage.exchanges import attempt, exchange

KEYS = "claude-api-key: [{api-key: sk-test-1, base-url: 'http://127.0.0.1:9'}]\n"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOKED_EVERY_S", 0.01)


class Listener:
    """Reads a stream of events."""

    def __init__(self, body: Any) -> None:
        self._body = aiter(body)
        self._rest = b""

    async def frame(self) -> str:
        while b"\n\n" not in self._rest:
            self._rest += await anext(self._body)
        frame, _, self._rest = self._rest.partition(b"\n\n")
        return frame.decode()

    async def next(self) -> tuple[str, Any]:
        """The next event, comments passed over."""
        while (frame := await self.frame()).startswith(":"):
            pass
        name, data = frame.split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@asynccontextmanager
async def listening(desk: Desk, topics: str = "") -> AsyncIterator[Listener]:
    answer = await desk.answer("GET", "/events", query={"topics": topics})
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    listener = Listener(answer.body)
    name, hello = await listener.next()
    assert (name, hello.keys()) == ("hello", {"version", "now_s"})
    yield listener
    await answer.close()


async def test_exchanges_are_told_when_they_begin_and_end(desk: Desk) -> None:
    over = exchange(attempt(), dropped=["thinking"])
    async with listening(desk, "exchanges") as listener:
        desk.operator.begun(over)
        desk.operator.settled(over)
        name, begun = await listener.next()
        assert (name, begun["id"], begun["model_asked"]) == ("exchange-begun", over.id, "sonnet")
        name, ended = await listener.next()
        assert (name, ended["id"], ended["status"], ended["dropped"]) == ("exchange", over.id, 200, ["thinking"])
        assert "seq" not in ended and ended["cost_usd"] > 0
    assert not desk.operator.feed.wants("exchanges")


async def test_what_is_under_way_is_told_to_those_who_come_later(desk: Desk) -> None:
    running, over = exchange(), exchange()
    for each in (running, over):
        desk.operator.begun(each)
    desk.operator.settled(over)
    async with listening(desk, "exchanges") as listener:
        name, begun = await listener.next()
        assert (name, begun["id"]) == ("exchange-begun", running.id)
        desk.operator.settled(running)
        name, ended = await listener.next()
        assert (name, ended["id"]) == ("exchange", running.id)


async def test_what_changes_about_a_credential_is_told_once(desk_with: At) -> None:
    desk = await desk_with(KEYS)
    (key,) = [entry for entry in inventory(desk.operator) if entry.kind == "key"]
    credential = key.credentials[0]
    async with listening(desk, "credentials") as listener:
        desk.memory.pool.cooldowns.sideline(
            credential.id, "", None, seconds=60, reason="quota", status=429, message="used up"
        )
        name, view = await listener.next()
        assert (name, view["auth_index"], view["state"], view["reason"]) == (
            "credential",
            key.auth_index,
            "cooling",
            "used up",
        )
        desk.memory.pool.cooldowns.clear(credential.id)
        assert (await listener.next())[1]["state"] == "ready"


async def test_credentials_that_come_and_go_are_told(desk: Desk) -> None:
    desk.auth_dir.mkdir()
    path = desk.auth_dir / "codex.json"
    async with listening(desk, "credentials") as listener:
        path.write_text(json.dumps(AUTH_FILES["codex-me@example.com-plus.json"]), "utf-8")
        await desk.operator.look_at_accounts()
        name, view = await listener.next()
        assert (name, view["name"]) == ("credential", "codex.json")
        path.unlink()
        await desk.operator.look_at_accounts()
        assert await listener.next() == ("credential-gone", {"auth_index": view["auth_index"]})


async def test_another_configuration_is_told(desk: Desk) -> None:
    async with listening(desk, "config") as listener:
        await desk.ask("PUT", "/config.yaml", body=(desk.config_text() + "nonsense: 1\n").encode())
        name, data = await listener.next()
        assert name == "config" and "nonsense" in data["warnings"][0]
        assert data["version"] == (await desk.ask("GET", "/config.yaml")).headers["etag"].strip('"')


async def test_logins_are_told(desk: Desk) -> None:
    text = desk.config_text() + "providers: {codex: {oauth: {client-id: test-client}}}\n"
    await desk.ask("PUT", "/config.yaml", body=text.encode())
    async with listening(desk, "logins") as listener:
        begun = await desk.get("/codex-auth-url", flow="browser")
        assert await listener.next() == (
            "login",
            {"state": begun["state"], "provider": "codex", "status": "wait", "error": ""},
        )
        await desk.ask("DELETE", "/oauth-session", query={"state": begun["state"]})
        assert (await listener.next())[1]["error"] == "cancelled"


async def test_the_log_is_told_to_those_who_ask(desk: Desk) -> None:
    import logging

    desk.operator.log.attach()
    async with listening(desk, "log") as listener:
        logging.getLogger("test.events").warning("look here")
        name, record = await listener.next()
        assert (name, record["level"], record["text"]) == ("log", "WARNING", "look here")


async def test_all_but_the_log_by_default(desk: Desk) -> None:
    async with listening(desk):
        feed = desk.operator.feed
        assert [feed.wants(topic) for topic in ("exchanges", "credentials", "config", "logins", "log")] == [
            True
        ] * 4 + [False]


async def test_silence_is_broken_by_comments(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SILENCE_S", 0.02)
    async with listening(desk, "config") as listener:
        assert (await listener.frame()).startswith(":")


async def test_an_unknown_topic_is_refused(desk: Desk) -> None:
    reply = await desk.ask("GET", "/events", query={"topics": "exchanges,weather"})
    assert (reply.status, reply.json["error"]) == (400, "unknown topic")


async def test_a_listener_that_leaves_is_forgotten(desk: Desk) -> None:
    for _ in range(3):
        async with listening(desk):
            assert len(desk.operator.feed._subscriptions) == 1
    assert desk.operator.feed._subscriptions == []
    assert len(asyncio.all_tasks()) == 1
