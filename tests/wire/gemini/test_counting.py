"""cliproxy.wire.gemini.counting: bodies of countTokens."""

import json
from typing import Any

import pytest

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini.counting import decode_count_request, encode_count
from cliproxy.wire.model import Text, Turn
from tests.wire.gemini.judge import client

CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]


@pytest.mark.parametrize(
    "body",
    [
        {"contents": CONTENTS},
        {"generateContentRequest": {"model": "models/x", "contents": CONTENTS}},
        {"generate_content_request": {"contents": CONTENTS}},
    ],
)
def test_both_kinds_of_body(body: dict[str, Any]) -> None:
    request = decode_count_request(body, model="gemini-2.5-pro")
    assert (request.model, request.turns) == ("gemini-2.5-pro", [Turn("user", [Text("hi")])])


def test_faults() -> None:
    with pytest.raises(ClientFault, match="contents"):
        decode_count_request({}, model="m")
    with pytest.raises(ClientFault, match="generateContentRequest must be an object"):
        decode_count_request({"generateContentRequest": 5}, model="m")


def test_counts() -> None:
    body = encode_count(42)
    sdk = client(json.dumps(body).encode(), "application/json")
    assert sdk.models.count_tokens(model="m", contents="hi").total_tokens == 42
