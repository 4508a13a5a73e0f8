"""The configuration as a whole: read, checked, replaced, and never half-way."""

import asyncio
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from cliproxy.config.loading import ConfigFault, Loaded
from cliproxy.management.config_file import ConfigFile
from cliproxy.management.faults import ManagementFault
from tests.management.conftest import At
from tests.management.desk import KEY, Desk


async def test_the_configuration_in_force_is_told_with_defaults_and_without_what_is_no_panels_business(
    desk_with: At,
) -> None:
    desk = await desk_with("api-keys: [sk-test-1]\nclaude-api-key: [{api-key: sk-test-2, headers: {X-A: b}}]\n")
    config = await desk.get("/config")
    assert config["api-keys"][0]["key"] == "sk-test-1"
    assert config["claude-api-key"][0]["api-key"] == "sk-test-2"
    assert config["claude-api-key"][0]["headers"] == {"X-A": "b"}
    assert config["request-retry"] == 0
    assert not {"host", "port", "auth-dir", "remote-management"} & config.keys()


async def test_the_file_is_given_as_it_stands(desk: Desk) -> None:
    reply = await desk.ask("GET", "/config.yaml")
    assert reply.text == desk.config_text()
    assert reply.headers["content-type"].startswith("application/yaml")


async def test_the_file_is_replaced_and_in_force(desk: Desk) -> None:
    text = desk.config_text() + "debug: true # now\nunknown-key: 1\n"
    reply = await desk.ask("PUT", "/config.yaml", body=text.encode())
    assert (reply.status, reply.json["ok"], reply.json["changed"]) == (200, True, ["config"])
    assert "unknown-key" in reply.json["warnings"][0]
    assert desk.config_text() == text
    assert (await desk.get("/debug"))["debug"]


@pytest.mark.parametrize(
    ("more", "status", "error", "line"),
    [
        ("debug: [\n", 400, "invalid_yaml", 7),
        ("a: b: c\n", 400, "invalid_yaml", 6),
        ("debug: maybe\n", 422, "invalid_config", 6),
        ("claude-api-key:\n  - api-key: sk-secret\n    priority: high\n", 422, "invalid_config", 8),
        ("debug: true\ndebug: false\n", 422, "invalid_config", 7),
    ],
)
async def test_an_invalid_file_is_refused_with_its_line_and_nothing_changes(
    desk: Desk, more: str, status: int, error: str, line: int
) -> None:
    before = desk.config_text()
    lines = before.count("\n")
    reply = await desk.ask("PUT", "/config.yaml", body=(before + more).encode())
    assert (reply.status, reply.json["error"]) == (status, error)
    (problem,) = reply.json["problems"]
    assert problem["line"] - lines + 5 == line
    assert f"config.yaml:{problem['line']}:{problem['column']}: {problem['message']}" == reply.json["message"]
    assert "sk-secret" not in reply.text and KEY not in reply.text
    assert desk.config_text() == before
    assert len(desk.applied) == 1


@pytest.mark.parametrize("body", [b"\xff\xfe", b"- a\n", b"text"])
async def test_what_is_no_configuration_at_all_is_refused(desk: Desk, body: bytes) -> None:
    reply = await desk.ask("PUT", "/config.yaml", body=body)
    assert reply.status in (400, 422)


async def test_a_file_can_be_checked_without_being_written(desk: Desk) -> None:
    before = desk.config_text()
    good = await desk.ask("PUT", "/config.yaml", query={"check": "true"}, body=(before + "debug: true\n").encode())
    assert (good.status, good.json) == (200, {"ok": True, "changed": [], "warnings": []})
    bad = await desk.ask("PUT", "/config.yaml", query={"check": "true"}, body=b"debug: 7\n")
    assert (bad.status, bad.json["problems"][0]["line"]) == (422, 1)
    assert desk.config_text() == before and len(desk.applied) == 1


async def test_a_change_on_an_old_version_is_refused(desk: Desk) -> None:
    etag = (await desk.ask("GET", "/config.yaml")).headers["etag"]
    assert (await desk.ask("GET", "/debug")).headers["etag"] == etag
    first = await desk.ask("PUT", "/debug", {"value": True}, headers={"If-Match": etag})
    assert first.status == 200
    second = await desk.ask("PUT", "/request-retry", {"value": 2}, headers={"If-Match": etag})
    assert (second.status, second.json["error"]) == (412, "version_conflict")
    third = await desk.ask("PUT", "/request-retry", {"value": 2}, headers={"If-Match": first.headers["etag"]})
    assert third.status == 200
    whole = await desk.ask("PUT", "/config.yaml", body=b"{}", headers={"If-Match": etag})
    assert whole.status == 412
    assert (await desk.ask("PUT", "/debug", {"value": False}, headers={"If-Match": "*"})).status == 200


async def test_changes_that_come_together_are_all_made(desk: Desk) -> None:
    changes = {"debug": True, "request-retry": 3, "ws-auth": False, "max-retry-interval": 9, "force-model-prefix": True}
    await asyncio.gather(*(desk.ask("PUT", f"/{path}", {"value": value}) for path, value in changes.items()))
    for path, value in changes.items():
        assert await desk.get(f"/{path}") == {path: value}


async def test_a_client_that_leaves_does_not_stop_a_change_half_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, writing, may_write = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow(path: Path, data: bytes) -> None:
        loop.call_soon_threadsafe(writing.set)
        may_write.wait()
        path.write_bytes(data)

    monkeypatch.setattr("cliproxy.management.config_file.write_atomically", slow)
    asking = asyncio.ensure_future(desk.ask("PUT", "/debug", {"value": True}))
    await writing.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    may_write.set()
    await desk.operator.config_file._tasks.join()
    assert "debug: true" in desk.config_text()
    assert (await desk.get("/debug"))["debug"]


async def test_a_change_that_changes_nothing_is_not_written(desk: Desk) -> None:
    before = desk.config_path.stat().st_ino
    assert (await desk.ask("PUT", "/proxy-url", {"value": "direct"})).status == 200
    assert desk.config_path.stat().st_ino == before
    assert len(desk.applied) == 1


async def test_the_files_mode_stays(desk: Desk) -> None:
    desk.config_path.chmod(0o640)
    await desk.ask("PUT", "/debug", {"value": True})
    assert stat.S_IMODE(desk.config_path.stat().st_mode) == 0o640


async def test_a_link_stays_one(desk: Desk) -> None:
    there = desk.folder / "elsewhere.yaml"
    desk.config_path.rename(there)
    desk.config_path.symlink_to(there)
    await desk.ask("PUT", "/debug", {"value": True})
    assert desk.config_path.is_symlink()
    assert "debug: true" in there.read_text("utf-8")


async def test_a_file_that_cannot_be_replaced_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is mounted by itself into a container."""

    def busy(path: Path, data: bytes) -> None:
        raise OSError(16, os.strerror(16))

    monkeypatch.setattr("cliproxy.management.config_file.write_atomically", busy)
    path = tmp_path / "config.yaml"
    path.write_text("debug: false\n", "utf-8")
    file = ConfigFile(path, lambda loaded: None)
    await file.replace("debug: true\n")
    assert path.read_text("utf-8") == "debug: true\n"


async def test_a_full_disk_is_told_and_nothing_is_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("cliproxy.management.config_file.write_atomically", full)
    path, applied = tmp_path / "config.yaml", list[Loaded]()
    path.write_text("debug: false\n", "utf-8")
    with pytest.raises(ManagementFault, match="No space left") as fault:
        await ConfigFile(path, applied.append).replace("debug: true\n")
    assert (fault.value.status, applied, path.read_text("utf-8")) == (500, [], "debug: false\n")


async def test_what_is_valid_and_yet_not_possible_here_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("port: 1\n", "utf-8")

    def apply(loaded: Loaded) -> None:
        raise ConfigFault(["No certificate: none.pem"])

    with pytest.raises(ManagementFault, match="No certificate") as refused:
        await ConfigFile(path, apply).replace("port: 2\n")
    assert refused.value.status == 422
    assert path.read_text("utf-8") == "port: 1\n"


async def test_configurations_are_put_in_force_on_the_event_loop(tmp_path: Path) -> None:
    threads: list[Any] = []
    path = tmp_path / "config.yaml"
    path.write_text("", "utf-8")
    await ConfigFile(path, lambda loaded: threads.append(threading.current_thread())).replace("debug: true\n")
    assert threads == [threading.main_thread()]


async def test_a_file_that_is_gone_is_told(desk: Desk) -> None:
    desk.config_path.unlink()
    assert (await desk.ask("GET", "/config.yaml")).status == 404
    assert (await desk.ask("PUT", "/debug", {"value": True})).status == 404
    assert not (await desk.ask("GET", "/health")).json["checks"]["config"]["ok"]


async def test_the_latest_version_is_the_running_one(desk: Desk) -> None:
    assert (await desk.get("/latest-version")).keys() == {"latest-version"}
