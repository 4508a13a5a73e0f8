"""Rows that run are offered, rows that cannot are named with the reason."""

from pathlib import Path

import pytest

from bench.formats import Format
from bench.rows import BARE, DIRECT, GATEWAY, LOGGING, TRANSLATING, UNBOOKED, gateway_config, running

STAND_IN = """
from mitmproxy import ctx, http

class StandIn:
    def load(self, loader):
        loader.add_option("cliproxy_config", str, "", "")
        ctx.options.connection_strategy = "lazy"

    def request(self, flow):
        flow.response = http.Response.make({status}, b"not built yet")

addons = [StandIn()]
"""


@pytest.mark.parametrize("status", [200, 501])
async def test_rows_that_cannot_be_measured_say_why(tmp_path: Path, status: int) -> None:
    addon = tmp_path / "stand_in.py"
    addon.write_text(STAND_IN.format(status=status), encoding="utf-8")
    async with running(tmp_path, translate=True, addon=addon) as field:
        assert [row.name for row in field.rows] == [DIRECT, BARE]
        assert field.failed[GATEWAY].startswith("0 of 1 deltas" if status == 200 else "status 501")
        assert "listening at" in field.failed[GATEWAY]
        refused = field.failed if status == 200 else field.skipped
        assert all("not built yet" in refused[row] for row in TRANSLATING)


async def test_a_gateway_that_does_not_start_leaves_the_other_rows(tmp_path: Path) -> None:
    async with running(tmp_path, translate=False, addon=tmp_path / "missing.py") as field:
        assert [row.name for row in field.rows] == [DIRECT, BARE]
    assert list(field.failed) == [GATEWAY, UNBOOKED, LOGGING]
    assert "No such script" in field.failed[GATEWAY]


@pytest.mark.parametrize(
    ("answering", "section", "base_url"),
    [
        ("openai-chat", "openai-compatibility", "http://127.0.0.1:1/v1"),
        ("anthropic", "claude-api-key", "http://127.0.0.1:1"),
    ],
)
def test_the_gateway_gets_one_upstream_of_the_wanted_format(
    tmp_path: Path, answering: Format, section: str, base_url: str
) -> None:
    config = gateway_config(tmp_path, answering, 1)
    assert [entry["base-url"] for entry in config[section]] == [base_url]
    assert set(config) == {"auth-dir", "api-keys", section}
