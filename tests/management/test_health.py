"""Whether the gateway can serve: in words for its operator, in outlines for everyone."""

from dataclasses import replace

import pytest

from cliproxy.management.inventory import inventory
from cliproxy.stores.file import FileStore
from cliproxy.stores.replica import Replica
from tests.management.conftest import At
from tests.management.desk import Desk
from tests.stores.memory_store import MemoryStore

KEYS = "claude-api-key: [{api-key: sk-test-1, base-url: 'http://127.0.0.1:9'}]\n"


async def test_a_fresh_gateway_is_ready_with_its_demo(desk: Desk) -> None:
    health = await desk.get("/health")
    assert (health["status"], health["mitmweb_url"]) == ("ready", None)
    assert health["checks"]["credentials"] == {"ok": True, "usable": 1, "total": 1, "detail": ""}
    assert health["checks"]["ledger"] == {"ok": True, "enabled": True, "lost": 0, "detail": ""}
    assert health["checks"]["config"]["path"] == str(desk.config_path)
    assert health["checks"]["config"]["version"] == (await desk.ask("GET", "/debug")).headers["etag"].strip('"')


async def test_the_outline_needs_no_key_and_tells_no_details(desk: Desk) -> None:
    reply = await desk.ask("GET", "//readyz", key=None, peer="203.0.113.7")
    assert reply.status == 200
    assert reply.json == {
        "status": "ready",
        "checks": {"credentials": {"ok": True, "usable": 1}, "ledger": {"ok": True}, "config": {"ok": True}},
    }


@pytest.mark.parametrize("more", ["demo: false\n", KEYS])
async def test_without_a_usable_credential_it_is_not_ready(desk_with: At, more: str) -> None:
    desk = await desk_with(more)
    for entry in inventory(desk.operator):
        if entry.kind == "key":
            desk.memory.pool.cooldowns.sideline(
                entry.credentials[0].id, "", None, seconds=60, reason="quota", status=429, message="used up"
            )
    reply = await desk.ask("GET", "/health")
    assert (reply.status, reply.json["status"]) == (503, "not ready")
    assert reply.json["checks"]["credentials"]["detail"]
    ready = await desk.ask("GET", "//readyz", key=None)
    assert (ready.status, ready.json["checks"]["credentials"]["ok"]) == (503, False)


async def test_a_ledger_that_cannot_be_written_is_told(desk: Desk) -> None:
    assert desk.ledger
    desk.ledger.trouble = "the disk /home/me is full"
    reply = await desk.ask("GET", "/health")
    assert (reply.status, reply.json["checks"]["ledger"]["detail"]) == (503, "the disk /home/me is full")
    ready = await desk.ask("GET", "//readyz", key=None)
    assert ready.status == 503 and "/home/me" not in ready.text


async def test_a_file_that_is_not_in_force_is_told(desk: Desk) -> None:
    desk.operator.config_trouble = "config.yaml:3:1: no"
    reply = await desk.ask("GET", "/health")
    check = reply.json["checks"]["config"]
    # It serves all the same, by what the file said before.
    assert (reply.status, check["ok"], check["detail"]) == (200, False, "config.yaml:3:1: no")
    assert (await desk.ask("PUT", "/debug", {"value": True})).status == 200
    assert (await desk.get("/health"))["checks"]["config"]["ok"]


async def test_without_a_ledger_it_is_well(desk_with: At) -> None:
    desk = await desk_with("usage-statistics-enabled: false\n")
    health = await desk.get("/health")
    assert health["checks"]["ledger"] == {"ok": True, "enabled": False, "lost": 0, "detail": ""}


def kept_in_a_store(desk: Desk) -> Replica:
    replica = Replica(FileStore(desk.folder / "copy"), MemoryStore(), lambda: 5.0)
    desk.operator.running = replace(desk.operator.running, replica=replica)
    return replica


async def test_a_store_that_is_away_is_told_and_the_copy_serves(desk: Desk) -> None:
    replica = kept_in_a_store(desk)
    well = {"ok": True, "name": "memory", "away_since_s": None, "detail": ""}
    assert (await desk.get("/health"))["checks"]["store"] == well
    replica._told("it is away")
    found = {"ok": False, "name": "memory", "away_since_s": 5.0, "detail": "it is away"}
    assert (await desk.get("/health"))["checks"]["store"] == found
    ready = await desk.ask("GET", "//readyz", key=None)
    assert (ready.status, ready.json["checks"]["store"]) == (200, {"ok": False})


async def test_documents_that_are_not_alike_are_named(desk: Desk) -> None:
    replica = kept_in_a_store(desk)
    replica.unfit["auths/a.json"] = "no JSON object"
    check = (await desk.get("/health"))["checks"]["store"]
    assert check == {"ok": False, "name": "memory", "away_since_s": None, "detail": "auths/a.json: no JSON object"}
