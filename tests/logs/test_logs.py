"""Files of the log and of single calls: what gets into them, what stays out, and how many there may be."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from cliproxy.config.schema import Config
from cliproxy.exchange import (
    CLIENT_LEFT,
    Answer,
    Attempt,
    ClientRequest,
    Exchange,
    Headers,
    UpstreamRequest,
    UpstreamResponse,
)
from cliproxy.logs.logs import Logs, prune
from cliproxy.logs.recording import MAX_BODY_BYTES, Recording
from cliproxy.logs.writer import MAX_WAITING, Writer

SECRET = "known-secret-of-an-account-1"


class _Response:
    status = 200
    reason = "OK"
    peer: tuple[str, int] | None = None
    headers = Headers({"content-type": "text/event-stream", "set-cookie": "session=upstream-cookie-1234"})

    async def chunks(self) -> AsyncGenerator[bytes]:
        yield b"data: one\n\n"
        yield b"data: two\n\n"

    async def read(self, limit_bytes: int) -> bytes:
        return b"whole"

    def close(self) -> None:
        pass


class _Upstream:
    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        return _Response()


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path / "logs", lambda: {SECRET})
    yield made
    made.close()


async def _asked(logs: Logs, *, status: int = 200, error: str = "", body: bytes = b"hello") -> Exchange:
    """A call with one attempt, answered and settled."""
    headers = Headers({"Authorization": "Bearer sk-test-client-1234567890", "Cookie": "a=cookie-of-client"})
    request = ClientRequest("POST", "/v1/messages", "key=query-key-12345", headers, body, "127.0.0.1")
    recording = logs.recording(None)
    exchange = Exchange(request, recording, model="m", settled=logs.settled)
    sent = UpstreamRequest("POST", "https://up.test/v1?key=up-key-12345", Headers({"X-Own": "own-header-key"}), body)
    attempt = Attempt(1, "claude", "claude #1", "m", "anthropic", sent, frozenset({"x-own"}))
    exchange.attempts.append(attempt)
    response = await recording.carrier(exchange, attempt, _Upstream()).send(sent)
    attempt.response_headers = response.headers
    said = b"".join([chunk async for chunk in response.chunks()])
    recording.attempt_ended(exchange, attempt)
    exchange.error = error
    exchange.answered(status)
    recording.answered(Answer(status, Headers({"content-type": "text/plain"}), said))
    await asyncio.sleep(0)
    return exchange


def _files(logs: Logs) -> list[Path]:
    logs.writer.close()
    return sorted(logs.folder.glob("*.log"))


async def test_a_call_is_written_whole_and_without_secrets(logs: Logs) -> None:
    logs.configure(Config(request_log=True))
    exchange = await _asked(logs, body=f'{{"said": "hello {SECRET}"}}'.encode())
    (path,) = _files(logs)
    text = path.read_text("utf-8")
    assert path.name.startswith("v1-messages-")
    assert path.name.endswith(f"-{exchange.id}.log")
    assert path.stat().st_mode & 0o777 == 0o600
    assert text.count("data: one\n\ndata: two") == 2
    assert text.count('"said": "hello ') == 2
    for secret in (
        SECRET,
        "sk-test-client-1234567890",
        "cookie-of",
        "query-key",
        "up-key",
        "own-header",
        "upstream-cookie",
    ):
        assert secret not in text


async def test_only_what_failed_is_written_without_request_log(logs: Logs) -> None:
    logs.configure(Config())
    await _asked(logs)
    await _asked(logs, status=499, error=CLIENT_LEFT)
    await _asked(logs, status=502, error="the upstream broke")
    (path,) = _files(logs)
    assert path.name.startswith("error-v1-messages-")
    assert "Error: the upstream broke" in path.read_text("utf-8")


async def test_a_capture_ends_by_itself(tmp_path: Path) -> None:
    now = [1000.0]
    logs = Logs(tmp_path, set, lambda: now[0])
    logs.capture(30)
    assert logs.captures_until_s == 1030
    await _asked(logs)
    now[0] = 1031
    assert logs.captures_until_s is None
    await _asked(logs)
    assert len(_files(logs)) == 1


async def test_a_body_is_cut_and_says_so(logs: Logs) -> None:
    logs.configure(Config(request_log=True))
    await _asked(logs, body=b"x" * (MAX_BODY_BYTES + 99_999))
    (path,) = _files(logs)
    assert f"(the first {MAX_BODY_BYTES} of {MAX_BODY_BYTES + 99_999} bytes)" in path.read_text("utf-8")
    assert path.stat().st_size < 2 * MAX_BODY_BYTES + 10_000


async def test_a_disk_that_refuses_is_told_and_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("a file where the directory should be")
    logs = Logs(tmp_path / "logs", set)
    logs.configure(Config(request_log=True))
    await _asked(logs)
    logs.writer.close()
    assert logs.writer.lost == 1
    assert logs.writer.trouble
    assert "log files cannot be written" in caplog.text
    (tmp_path / "logs").unlink()
    await _asked(logs)
    assert len(_files(logs)) == 1
    assert not logs.writer.trouble


def test_errors_are_kept_by_number_and_all_by_size(tmp_path: Path) -> None:
    names = ["main.log", "main-old.log", "notes.txt"]
    names += [f"error-v1-{number:032x}.log" for number in range(4)] + [f"v1-{9:032x}.log"]
    for moment, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (moment, moment))
    prune(tmp_path, 0, 2)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"main.log", "main-old.log", "notes.txt", *names[5:8]}
    prune(tmp_path, 250, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"main.log", "notes.txt", *names[6:8]}


def test_the_log_is_written_masked(logs: Logs) -> None:
    logs.configure(Config(logging_to_file=True))
    logging.getLogger("test.logs").warning("a token: sk-test-0123456789abcdefgh and more")
    (path,) = _files(logs)
    (line,) = [line for line in path.read_text("utf-8").splitlines() if "[test.logs]" in line]
    assert "[warning]" in line
    assert "and more" in line
    assert "0123456789abcdefgh" not in line
    logs.configure(Config())
    logging.getLogger("test.logs").warning("off again")
    logs.writer.close()
    assert "off again" not in path.read_text("utf-8")


def test_a_large_log_is_rotated(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cliproxy.logs.main_log.MAX_FILE_BYTES", 10)
    logs.configure(Config(logging_to_file=True))
    logging.getLogger("test.logs").warning("long enough")
    (path,) = _files(logs)
    assert path.name.startswith("main-")


def test_more_than_can_be_written_is_dropped_and_counted() -> None:
    writer = Writer()
    done: list[int] = []
    for _ in range(MAX_WAITING + 10):
        writer.put(lambda: done.append(1))
    writer.close()
    assert writer.lost >= 9
    assert len(done) + writer.lost == MAX_WAITING + 10


def test_without_a_full_recording_answers_pass_as_they_are(logs: Logs) -> None:
    recording = logs.recording(None)
    assert isinstance(recording, Recording)
    answer = Answer(200, Headers(), b"fine")
    assert recording.answered(answer) is answer
    assert not recording.answer_tape.size_bytes
