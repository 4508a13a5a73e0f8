"""Settings by provider: listed, replaced, changed one by one, and removed."""

from typing import Any

import pytest

from tests.management.conftest import At
from tests.management.desk import Desk

VALUES: dict[str, tuple[str, Any, Any]] = {
    "oauth-excluded-models": ("models", ["gpt-5-*"], ["o3"]),
    "oauth-model-alias": ("aliases", [{"name": "gpt-5", "alias": "best"}], [{"name": "o3", "alias": "old"}]),
    "oauth-request-scoped-errors": (
        "rules",
        [{"status": 400, "action": "stop"}],
        [{"status": 418, "action": "continue"}],
    ),
}


@pytest.mark.parametrize("name", VALUES)
async def test_a_map_goes_through_its_life(desk: Desk, name: str) -> None:
    called, one, other = VALUES[name]
    assert await desk.get(f"/{name}") == {name: {}}
    assert (await desk.ask("PUT", f"/{name}", {"Codex": one})).status == 200
    assert await desk.get(f"/{name}") == {name: {"codex": one}}
    assert (await desk.ask("PATCH", f"/{name}", {"provider": "claude", called: other})).status == 200
    assert (await desk.ask("PATCH", f"/{name}", {"channel": "codex", called: other})).status == 200
    assert await desk.get(f"/{name}") == {name: {"codex": other, "claude": other}}
    assert (await desk.ask("PATCH", f"/{name}", {"provider": "claude", called: []})).status == 200
    assert await desk.get(f"/{name}") == {name: {"codex": other}}
    assert (await desk.ask("DELETE", f"/{name}", query={"provider": "codex"})).status == 200
    assert await desk.get(f"/{name}") == {name: {}}
    assert (await desk.ask("PUT", f"/{name}", {"items": {"codex": one}})).status == 200
    assert await desk.get(f"/{name}") == {name: {"codex": one}}


@pytest.mark.parametrize("name", VALUES)
async def test_what_is_missing_is_told(desk: Desk, name: str) -> None:
    called = VALUES[name][0]
    assert (await desk.ask("PATCH", f"/{name}", {called: []})).status == 400
    assert (await desk.ask("PATCH", f"/{name}", {"provider": "codex"})).status == 400
    assert (await desk.ask("PATCH", f"/{name}", {"provider": "codex", called: []})).status == 404
    assert (await desk.ask("DELETE", f"/{name}")).status == 400
    assert (await desk.ask("DELETE", f"/{name}", query={"provider": "codex"})).status == 404


async def test_values_that_the_file_may_not_have_are_refused(desk: Desk) -> None:
    reply = await desk.ask("PUT", "/oauth-model-alias", {"codex": [{"alias": "no name"}]})
    assert (reply.status, reply.json["error"]) == (422, "invalid_config")


async def test_comments_beside_other_providers_stay(desk_with: At) -> None:
    desk = await desk_with("oauth-excluded-models:\n  codex: [a]  # why\n  claude: [b]\n# end\n")
    await desk.ask("PATCH", "/oauth-excluded-models", {"provider": "claude", "models": ["c", "d"]})
    assert "  codex: [a]  # why\n  claude: [c, d]\n# end\n" in desk.config_text()
