"""cliproxy.inspection.curl: lines that a real shell and a real curl send as they were meant."""

import asyncio
import shutil

import pytest

from cliproxy.inspection.curl import curl_line
from cliproxy.secrets import mask_header
from tests.upstream import Upstream

BODY = '{"text": "it\'s $HOME, `x` and \\"quotes\\"\\nÄ"}'.encode()


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
async def test_the_line_sends_the_request(upstream: Upstream) -> None:
    headers = [
        ("host", "elsewhere.test"),
        ("x-api-key", mask_header("sk-test-a-key")),
        ("Authorization", mask_header("Bearer sk-test-a-key")),
        ("x-note", "it's $HOME"),
        ("content-type", "application/json"),
        ("content-length", "999"),
    ]
    url = f"{upstream.url}/v1/messages?beta=true&key=a…#123456"
    line = curl_line("POST", url, headers, BODY, "THE_KEY")
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", line, env={"THE_KEY": "from-the-shell", "PATH": "/usr/bin:/bin"}, stdout=asyncio.subprocess.DEVNULL
    )
    [received] = await upstream.received()
    await shell.wait()
    assert (received.method, received.path, received.query) == ("POST", "/v1/messages", "beta=true&key=from-the-shell")
    assert received.body == BODY
    assert received.headers["x-api-key"] == "from-the-shell"
    assert received.headers["authorization"] == "Bearer from-the-shell"
    assert received.headers["x-note"] == "it's $HOME"
    assert received.headers["content-length"] == str(len(BODY))


def test_a_body_that_is_no_text_is_refused() -> None:
    for body in (b"\xff\xfe", b"a\0b"):
        with pytest.raises(ValueError, match="not text"):
            curl_line("POST", "http://x.test/", [], body, "KEY")


def test_methods_and_empty_bodies() -> None:
    assert curl_line("GET", "http://x.test/", [], b"", "K") == "curl -sS -N http://x.test/"
    assert curl_line("POST", "http://x.test/", [], b"", "K") == "curl -sS -N -X POST http://x.test/"
    assert curl_line("PUT", "http://x.test/", [], b"@f", "K").endswith("-X PUT http://x.test/ --data-binary ' @f'")
