"""`cliproxy doctor` as its own process: nothing of the machine but what a test puts there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Program, assert_clean, config_for, spawn, written
from tests.upstream import Upstream

COMMAND = ("python", "-m", "cliproxy.cli", "doctor")


async def doctor(path: Path, *arguments: str) -> tuple[int, str]:
    program = await spawn(Program, *COMMAND, "--config", str(path), *arguments)
    code = await program.ended()
    assert_clean(program)
    return code, program.text


def config(folder: Path, upstream: Upstream, port: int, **keys: Any) -> Path:
    """Everything that is written stays in the folder."""
    own: Mapping[str, Any] = {
        "port": port,
        "auth-dir": str(folder / "auth"),
        "models-file": str(folder / "models.json"),
        "certs-dir": str(folder / "certs"),
        "usage": {"path": str(folder / "usage.db")},
        "proxy-url": "direct",
    }
    path = written(folder, {**config_for(upstream), **own, **keys})
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tools, no proxies, and lines as long as they are."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("PATH", os.defpath)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def test_a_machine_that_is_well_ends_with_0(tmp_path: Path, upstream: Upstream, free_port: int) -> None:
    code, text = await doctor(config(tmp_path, upstream, free_port), "--online")
    assert code == 0, text
    for said in ("mitmproxy", "is valid", f"http://127.0.0.1:{free_port} is free", "→ cliproxy serve", "answers after"):
        assert said in text
    assert len(upstream.requests) >= 1


async def test_without_being_asked_no_upstream_is_reached(tmp_path: Path, upstream: Upstream, free_port: int) -> None:
    code, _ = await doctor(config(tmp_path, upstream, free_port))
    assert (code, upstream.requests) == (0, [])


async def test_warnings_end_with_1_and_errors_with_2(tmp_path: Path, upstream: Upstream, free_port: int) -> None:
    code, text = await doctor(config(tmp_path, upstream, free_port, porth=1))
    assert code == 1
    assert "porth: unknown key" in text
    faulty = tmp_path / "faulty.yaml"
    faulty.write_text("port: many\n", "utf-8")
    code, text = await doctor(faulty)
    assert code == 2
    assert "faulty.yaml:1:" in text


async def test_scripts_get_json_without_secrets(tmp_path: Path, upstream: Upstream, free_port: int) -> None:
    (tmp_path / "auth").mkdir()
    login = {
        "type": "claude",
        "access_token": "test-access-1",
        "expired": "2020-01-01T00:00:00Z",
        "email": "me@a.example",
    }
    (tmp_path / "auth" / "claude-1.json").write_text(json.dumps(login), "utf-8")
    path = config(tmp_path, upstream, free_port)
    code, text = await doctor(path, "--json")
    findings = json.loads(text)
    assert code == 1
    assert {"about", "level", "text", "mend"} == set(findings[0])
    assert {finding["level"] for finding in findings} <= {"ok", "note", "warning", "error"}
    (expired,) = [finding for finding in findings if "expired" in finding["text"]]
    assert (expired["level"], expired["mend"]) == ("warning", f"cliproxy login claude --config {path}")
    for secret in ("test-access", CLIENT_KEY, UPSTREAM_KEY):
        assert secret not in text
