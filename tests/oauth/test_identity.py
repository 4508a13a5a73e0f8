"""Claims are read from whatever calls itself a JWT."""

import base64

import pytest

from cliproxy.oauth.identity import claims
from tests.oauth.grants import id_token


def test_claims_of_an_id_token() -> None:
    said = {"email": "user@example.com", "https://api.openai.com/auth": {"chatgpt_plan_type": "plus"}}
    assert claims(id_token(said)) == said


@pytest.mark.parametrize("length", range(4))
def test_any_padding(length: int) -> None:
    assert claims(id_token({"sub": "x" * length})) == {"sub": "x" * length}


def _with(payload: bytes) -> str:
    return f"e30.{base64.urlsafe_b64encode(payload).decode()}.c2ln"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "sk-test-key",
        "a.b",
        "a.b.c.d",
        "..",
        "a.é.c",
        "a.%%%.c",
        _with(b"[]"),
        _with(b"{"),
        _with(b"\xff\xfe"),
        _with(b"[" * 100000),
        _with(b'"text"'),
    ],
)
def test_rubbish_has_none(token: str) -> None:
    assert claims(token) == {}
