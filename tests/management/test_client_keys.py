"""Clients' keys: CLIProxyAPI's way with plain text, and objects with what a key may do."""

from typing import Any

import pytest

from tests.management.conftest import At
from tests.management.desk import Desk

KEYS = """\
api-keys:
  - sk-test-1  # one
  - name: laptop  # two
    key: sk-test-2
    rpm: 5
"""


@pytest.fixture
async def keyed(desk_with: At) -> Desk:
    return await desk_with(KEYS)


async def keys(desk: Desk) -> list[str]:
    return (await desk.get("/api-keys"))["api-keys"]


async def test_keys_are_listed_as_text(keyed: Desk) -> None:
    assert await keys(keyed) == ["sk-test-1", "sk-test-2"]


@pytest.mark.parametrize("wrapped", [False, True])
async def test_keys_are_replaced_and_what_a_key_may_do_stays(keyed: Desk, wrapped: bool) -> None:
    items: list[Any] = ["sk-test-3", "sk-test-2", {"key": "sk-test-4", "name": "ci"}]
    reply = await keyed.ask("PUT", "/api-keys", {"items": items} if wrapped else items)
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert await keys(keyed) == ["sk-test-3", "sk-test-2", "sk-test-4"]
    config = keyed.applied[-1].config
    assert [(key.name, key.rpm) for key in config.api_keys] == [("", 0), ("laptop", 5), ("ci", 0)]
    assert "name: laptop  # two" in keyed.config_text()


async def test_all_keys_can_be_taken_away(keyed: Desk) -> None:
    assert (await keyed.ask("PUT", "/api-keys", [])).status == 200
    assert await keys(keyed) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"old": "sk-test-1", "new": "sk-new"}, ["sk-new", "sk-test-2"]),
        ({"old": "sk-nobody", "new": "sk-new"}, ["sk-test-1", "sk-test-2", "sk-new"]),
        ({"index": 0, "value": "sk-new"}, ["sk-new", "sk-test-2"]),
        ({"index": 1, "value": {"key": "sk-new", "rpm": 9}}, ["sk-test-1", "sk-new"]),
        ({"index": 1, "value": {"rpm": 9}}, ["sk-test-1", "sk-test-2"]),
    ],
)
async def test_a_key_is_changed_or_added(keyed: Desk, body: Any, expected: list[str]) -> None:
    assert (await keyed.ask("PATCH", "/api-keys", body)).status == 200
    assert await keys(keyed) == expected


async def test_text_in_the_place_of_an_object_is_another_key_that_may_do_the_same(keyed: Desk) -> None:
    await keyed.ask("PATCH", "/api-keys", {"old": "sk-test-2", "new": "sk-new"})
    key = keyed.applied[-1].config.api_keys[1]
    assert (key.key.get_secret_value(), key.name, key.rpm) == ("sk-new", "laptop", 5)
    assert "# one" in keyed.config_text() and "# two" in keyed.config_text()


@pytest.mark.parametrize("body", [{}, {"old": "a"}, {"index": 0}, {"value": "x"}])
async def test_a_change_that_lacks_something_is_refused(keyed: Desk, body: Any) -> None:
    reply = await keyed.ask("PATCH", "/api-keys", body)
    assert (reply.status, reply.json["error"]) == (400, "missing fields")


@pytest.mark.parametrize("index", [-1, 2, 10**6])
async def test_a_key_that_is_not_there_is_not_found(keyed: Desk, index: int) -> None:
    assert (await keyed.ask("PATCH", "/api-keys", {"index": index, "value": "x"})).status == 404
    assert (await keyed.ask("DELETE", "/api-keys", query={"index": index})).status == 404


@pytest.mark.parametrize("query", [{"index": 0}, {"value": "sk-test-1"}])
async def test_a_key_is_removed(keyed: Desk, query: Any) -> None:
    assert (await keyed.ask("DELETE", "/api-keys", query=query)).status == 200
    assert await keys(keyed) == ["sk-test-2"]
    assert (await keyed.ask("DELETE", "/api-keys")).status == 400


async def test_the_templates_keys_are_refused(keyed: Desk) -> None:
    reply = await keyed.ask("PUT", "/api-keys", ["your-api-key-1"])
    assert (reply.status, reply.json["error"]) == (422, "invalid_config")
    assert await keys(keyed) == ["sk-test-1", "sk-test-2"]


async def test_what_keys_may_do_is_shown_without_the_keys(desk_with: At) -> None:
    desk = await desk_with(
        "api-keys: [{name: ci, key: sk-test-9, budget-usd: 5, models: [gpt-*], expires: 2099-01-01}]\n"
    )
    reply = await desk.ask("GET", "/client-keys")
    (view,) = reply.json["client-keys"]
    assert (view["index"], view["name"], view["budget_usd"], view["spent_usd"]) == (0, "ci", 5, 0)
    assert (view["models"], view["expires"]) == (["gpt-*"], "2099-01-01T00:00:00+00:00")
    assert "sk-test-9" not in reply.text and view["mask"].startswith("sk")
