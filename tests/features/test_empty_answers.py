"""A well-formed answer that says nothing is worth another try, and the client's when there is none."""

import json
from pathlib import Path

import pytest
import yaml

from cliproxy.config import parse_config
from cliproxy.exchange import ClientRequest, Headers
from cliproxy.gateway import Gateway
from cliproxy.transport.client import HttpTransport, TimeLimits
from tests import native
from tests.answers import Answer
from tests.certificates import client_context
from tests.upstream import Upstream

EMPTY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3},
}
NOTHING = Answer(headers={"content-type": "application/json"}, body=json.dumps(EMPTY).encode())
ASKED = {
    "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
}


async def ask(upstream: Upstream, path: str, keys: int) -> tuple[int, bytes]:
    entries = [{"api-key": f"sk-test-{number}"} for number in range(keys)]
    section = {"name": "p", "base-url": f"{upstream.url}/v1", "api-key-entries": entries, "models": ["m"]}
    config = parse_config(yaml.safe_dump({"openai-compatibility": [section]}), Path(__file__).name).config
    transport = HttpTransport(client_context(), TimeLimits(None, None, None))
    try:
        request = ClientRequest("POST", path, "", Headers(), json.dumps(ASKED[path]).encode())
        answer = await Gateway(config, transport).handle(request)
        assert isinstance(answer.body, bytes)
        return answer.status, answer.body
    finally:
        await transport.close()


@pytest.mark.parametrize("path", ASKED)
async def test_another_credential_is_asked(upstream: Upstream, path: str) -> None:
    upstream.script(NOTHING, native.text("openai-chat"))
    status, body = await ask(upstream, path, keys=2)
    assert (status, len(upstream.requests)) == (200, 2)
    assert b"hello" in body


@pytest.mark.parametrize("path", ASKED)
async def test_where_there_is_none_the_client_gets_it(upstream: Upstream, path: str) -> None:
    upstream.script(NOTHING)
    status, _ = await ask(upstream, path, keys=1)
    assert (status, len(upstream.requests)) == (200, 1)
