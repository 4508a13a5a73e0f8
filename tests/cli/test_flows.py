"""`cliproxy flows redact` as its own process, on files that hold secrets."""

import json
from pathlib import Path

import pytest
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader, FlowWriter
from mitmproxy.test import tflow

from tests import native
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Program, spawn, written

COMMAND = ("python", "-m", "cliproxy.cli", "flows", "redact")
TOKEN = "test-access-token-of-an-account"
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0In0.c2lnbmF0dXJl"
PRIVATE = "the private words of a user"
SECRETS = (CLIENT_KEY, UPSTREAM_KEY, TOKEN, JWT)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config with keys, and an account beside it."""
    auth_dir = tmp_path / "auth"
    auth_dir.mkdir()
    (auth_dir / "claude.json").write_text(json.dumps({"type": "claude", "access_token": TOKEN}), "utf-8")
    keys = {"api-keys": [CLIENT_KEY], "claude-api-key": [{"api-key": UPSTREAM_KEY}], "auth-dir": str(auth_dir)}
    return written(tmp_path, keys)


def old_flow() -> HTTPFlow:
    """As a program saved it that thinks nothing of it."""
    flow = tflow.tflow(resp=True)
    flow.request.path = f"/v1/messages?key={CLIENT_KEY}"
    flow.request.headers["authorization"] = f"Bearer {TOKEN}"
    flow.request.headers["content-type"] = "application/json"
    body = {"model": "m", "messages": [{"role": "user", "content": f"{PRIVATE}: {UPSTREAM_KEY} {TOKEN} {JWT}"}]}
    flow.request.content = json.dumps(body).encode()
    assert flow.response
    flow.response.headers["content-type"] = "text/event-stream"
    flow.response.headers["content-encoding"] = "gzip"
    flow.response.headers["set-cookie"] = f"session={JWT}"
    flow.response.content = native.text("anthropic", words=[f"{PRIVATE} {JWT}"], stream=True).whole
    flow.comment = f"tried with {UPSTREAM_KEY}"
    return flow


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "old.flows"
    with path.open("wb") as opened:
        writer = FlowWriter(opened)
        for flow in (old_flow(), tflow.ttcpflow(), tflow.twebsocketflow(), tflow.tflow(err=True)):
            writer.add(flow)
    return path


def har() -> dict[str, object]:
    """As browsers and proxies write them."""
    pair = {"name": "Authorization", "value": f"Bearer {TOKEN}"}
    request = {
        "method": "POST",
        "url": f"https://x.test/v1?key={CLIENT_KEY}",
        "headers": [pair, {"name": "accept", "value": "*/*"}],
        "queryString": [{"name": "key", "value": CLIENT_KEY}, {"name": "alt", "value": "sse"}],
        "cookies": [{"name": "session", "value": JWT}],
        "postData": {
            "mimeType": "application/json",
            "text": json.dumps({"model": "m", "content": f"{PRIVATE} {UPSTREAM_KEY}"}),
        },
    }
    content = {"mimeType": "text/plain", "encoding": "base64", "text": "c2stdGVzdC11cHN0cmVhbS1rZXk="}
    response = {"status": 200, "headers": [], "content": content, "redirectURL": ""}
    messages = [{"type": "send", "data": json.dumps({"type": "response.create", "input": f"{PRIVATE} {UPSTREAM_KEY}"})}]
    entry = {"request": request, "response": response, "_webSocketMessages": messages}
    return {"log": {"version": "1.2", "entries": [entry]}}


async def redacted(*arguments: str) -> str:
    """What the command says; it must end well."""
    program = await spawn(Program, *COMMAND, *arguments)
    assert await program.ended() == 0, program.text
    return program.text


def leaks(path: Path, *more: str) -> list[str]:
    return [text for text in (*SECRETS, *more) if text.encode() in path.read_bytes()]


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def left_behind(folder: Path) -> list[Path]:
    return list(folder.glob(".*"))


async def test_a_file_is_redacted_in_place(file: Path, config: Path) -> None:
    assert len(leaks(file)) == len(SECRETS)
    said = await redacted(str(file), "--config", str(config))
    assert "4 flows" in said
    assert not leaks(file)
    with file.open("rb") as opened:
        flow, *others = FlowReader(opened).stream()
    assert len(others) == 3
    assert isinstance(flow, HTTPFlow)
    assert flow.response
    assert PRIVATE in (flow.request.text or "")
    assert PRIVATE in (flow.response.text or "")
    assert flow.comment.startswith("tried with sk-t…#")
    once = content_of(file)
    await redacted(str(file), "--config", str(config))
    assert content_of(file) == once


async def test_the_old_file_stays_where_another_is_named(file: Path, config: Path, tmp_path: Path) -> None:
    before, target = content_of(file), tmp_path / "new.flows"
    await redacted(str(file), str(target), "--config", str(config), "--no-content")
    assert content_of(file) == before
    assert not leaks(target, PRIVATE)
    with target.open("rb") as opened:
        flow, *_ = FlowReader(opened).stream()
    assert isinstance(flow, HTTPFlow)
    assert flow.request.json()["messages"][0]["role"] == "user"


@pytest.mark.parametrize("no_content", [False, True])
async def test_a_har_file_is_redacted(config: Path, tmp_path: Path, no_content: bool) -> None:
    file = tmp_path / "old.har"
    file.write_text(json.dumps(har()), "utf-8")
    await redacted(str(file), "--config", str(config), *(["--no-content"] if no_content else []))
    assert not leaks(file, "c2stdGVzdC11cHN0cmVhbS1rZXk=", *([PRIVATE] if no_content else []))
    after = json.loads(file.read_text("utf-8"))
    [entry] = after["log"]["entries"]
    assert entry["request"]["queryString"][1] == {"name": "alt", "value": "sse"}
    assert entry["request"]["headers"][1] == {"name": "accept", "value": "*/*"}
    assert json.loads(entry["request"]["postData"]["text"])["model"] == "m"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"{}", b'{"log": {}}', b"12:truncated"])
async def test_what_is_no_file_of_flows_stays_as_it_is(tmp_path: Path, config: Path, content: bytes) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    program = await spawn(Program, *COMMAND, str(file), "--config", str(config))
    if content:
        assert await program.ended() == 1
        assert str(file) in program.text
    else:
        assert await program.ended() == 0
    assert content_of(file) == content
    assert not left_behind(tmp_path)


async def test_a_file_that_is_not_there(tmp_path: Path, config: Path) -> None:
    program = await spawn(Program, *COMMAND, str(tmp_path / "none"), "--config", str(config))
    assert await program.ended() == 1
    assert "No such file" in program.text
