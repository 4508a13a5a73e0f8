"""Endpoints of the log."""

import logging

import pytest

from tests.management.conftest import At
from tests.management.desk import Desk


@pytest.fixture
async def logging_desk(desk_with: At) -> Desk:
    desk = await desk_with("logging-to-file: true\n")
    desk.operator.logs.folder.mkdir(exist_ok=True)
    (desk.operator.logs.folder / "main.log").write_text("one\n[2026-11-21 10:00:00] two\n", "utf-8")
    (desk.operator.logs.folder / "error-v1-messages-abc123.log").write_text("=== REQUEST INFO ===\n", "utf-8")
    return desk


async def test_lines_are_read_and_read_on(logging_desk: Desk) -> None:
    found = await logging_desk.get("/logs", limit=1)
    assert (found["lines"], found["line-count"]) == (["[2026-11-21 10:00:00] two"], 1)
    assert found["latest-timestamp"] > 1_700_000_000
    with (logging_desk.operator.logs.folder / "main.log").open("a") as log:
        log.write("three\n")
    on = await logging_desk.get("/logs", cursor=found["next-cursor"])
    assert on["lines"] == ["three"] and "cursor-reset" not in on
    assert (await logging_desk.get("/logs", cursor="nonsense"))["cursor-reset"]
    assert (await logging_desk.get("/logs", after=4_000_000_000))["lines"] == []


async def test_the_log_is_emptied(logging_desk: Desk) -> None:
    reply = await logging_desk.ask("DELETE", "/logs")
    assert reply.json == {"success": True, "message": "Logs cleared successfully", "removed": 0}
    assert (await logging_desk.get("/logs"))["lines"] == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_without_files_there_is_nothing_to_read(desk: Desk, method: str) -> None:
    reply = await desk.ask(method, "/logs")
    assert (reply.status, reply.json) == (400, {"error": "logging to file disabled"})


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "x"}, {"after": -1}])
async def test_what_cannot_be_asked_is_refused(logging_desk: Desk, query: dict[str, object]) -> None:
    assert (await logging_desk.ask("GET", "/logs", query=query)).status == 400


async def test_files_of_failed_requests_are_listed_and_downloaded(logging_desk: Desk) -> None:
    (file,) = (await logging_desk.get("/request-error-logs"))["files"]
    assert (file["name"], file["size"]) == ("error-v1-messages-abc123.log", 21)
    for path in (f"/request-error-logs/{file['name']}", "/request-log-by-id/abc123"):
        reply = await logging_desk.ask("GET", path)
        assert (reply.status, reply.text) == (200, "=== REQUEST INFO ===\n")
        assert reply.headers["content-disposition"] == f'attachment; filename="{file["name"]}"'


@pytest.mark.parametrize(
    "path",
    ["/request-error-logs/main.log", "/request-error-logs/..%2Fconfig.yaml", "/request-log-by-id/..%2F..%2Fx",
     "/request-log-by-id/%2e%2e", "/request-error-logs/../config.yaml"],
)  # fmt: skip
async def test_names_lead_nowhere_else(logging_desk: Desk, path: str) -> None:
    assert (await logging_desk.ask("GET", path)).status == 404


async def test_the_newest_is_there_without_files(desk: Desk) -> None:
    desk.operator.log.attach()
    logging.getLogger("test.logs").warning("something happened")
    records = (await desk.get("/logs/recent"))["records"]
    assert records[-1].keys() == {"seq", "time_s", "level", "logger", "text"}
    assert "something happened" in [record["text"] for record in records]
    assert len((await desk.get("/logs/recent", limit=1))["records"]) == 1
