"""Single settings are read as they are in force, and changed in the file without touching the rest of it."""

from typing import Any

import pytest

from cliproxy.management.settings import SETTINGS
from tests.management.desk import Desk

OTHERS: dict[str, Any] = {
    "debug": True,
    "logging-to-file": True,
    "usage-statistics-enabled": False,
    "request-log": True,
    "ws-auth": False,
    "force-model-prefix": True,
    "quota-exceeded/switch-project": True,
    "quota-exceeded/switch-preview-model": True,
    "logs-max-total-size-mb": 7,
    "error-logs-max-files": 3,
    "request-retry": 2,
    "max-retry-credentials": 4,
    "max-retry-interval": 30,
    "proxy-url": "socks5://127.0.0.1:1080",
    "routing/strategy": "fill-first",
}
"""A value for each setting that it does not have by default."""


def test_every_setting_has_a_value_to_be_tried_with() -> None:
    assert {setting.path for setting in SETTINGS} == set(OTHERS)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(("path", "value"), OTHERS.items())
async def test_a_setting_is_changed_and_in_force(desk: Desk, method: str, path: str, value: Any) -> None:
    name = path.rpartition("/")[2]
    before = desk.config_text()
    assert (await desk.get(f"/{path}"))[name] != value
    reply = await desk.ask(method, f"/{path}", {"value": value})
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert await desk.get(f"/{path}") == {name: value}
    kept = [line for line in before.splitlines() if not line.startswith("proxy-url")]
    assert [line for line in desk.config_text().splitlines() if line in kept] == kept


async def test_the_proxy_can_be_taken_away(desk: Desk) -> None:
    assert (await desk.get("/proxy-url"))["proxy-url"] == "direct"
    assert (await desk.ask("DELETE", "/proxy-url")).status == 200
    assert (await desk.get("/proxy-url"))["proxy-url"] == ""
    assert "# nothing of ours leaves this machine" in desk.config_text()


@pytest.mark.parametrize(
    ("path", "short", "meant"), [("routing/strategy", "rr", "round-robin"), ("routing/strategy", "ff", "fill-first")]
)
async def test_short_names_of_strategies_are_understood(desk: Desk, path: str, short: str, meant: str) -> None:
    await desk.ask("PUT", f"/{path}", {"value": short})
    assert await desk.get(f"/{path}") == {"strategy": meant}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"value": "yes"}', b'{"value": null}', b'{"value": 1}', b"{", b"\xff"]
)
async def test_what_is_no_value_is_refused(desk: Desk, body: bytes) -> None:
    before = desk.config_text()
    reply = await desk.ask("PUT", "/debug", body=body)
    assert (reply.status, reply.json["error"]) == (400, "invalid body")
    assert desk.config_text() == before


@pytest.mark.parametrize(
    ("path", "value"), [("request-retry", -1), ("routing/strategy", "by-luck"), ("proxy-url", "ftp://host")]
)
async def test_a_value_that_the_file_may_not_have_is_refused(desk: Desk, path: str, value: Any) -> None:
    before = desk.config_text()
    reply = await desk.ask("PUT", f"/{path}", {"value": value})
    assert (reply.status, reply.json["error"]) == (422, "invalid_config")
    assert reply.json["problems"][0]["line"] > 0
    assert desk.config_text() == before
    assert len(desk.applied) == 1
