"""cliproxy.providers.openai: URLs and the bearer token of the two OpenAI formats."""

import pytest

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Headers
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.openai import address
from cliproxy.wire.model import Format

BASE = "https://host.test/v1"


def call(purpose: Purpose, format: Format, path: str = "", query: str = "") -> UpstreamCall:
    return UpstreamCall(purpose, format, "POST", path, query, Headers({"X-Own": "1"}), b"{}")


def credential(secret: str = "sk-test-key", base_url: str = BASE) -> Credential:
    return Credential("p", ("openai-chat",), base_url, secret)


@pytest.mark.parametrize(
    ("purpose", "format", "path", "query", "url"),
    [
        (Purpose.GENERATE, "openai-chat", "", "", "/chat/completions"),
        (Purpose.GENERATE, "openai-responses", "", "", "/responses"),
        (Purpose.COUNT_TOKENS, "openai-responses", "", "", "/responses/input_tokens"),
        (Purpose.GENERATE, "openai-chat", "/v1/chat/completions", "api-version=1", "/chat/completions?api-version=1"),
        (Purpose.GENERATE, "openai-responses", "/v1/responses", "", "/responses"),
        (Purpose.NATIVE, "openai-responses", "/v1/responses/r_1/input_items", "after=x", "/responses/r_1/input_items?after=x"),
        (Purpose.NATIVE, "openai-chat", "/v1/files/f_1/content", "", "/files/f_1/content"),
    ],
)  # fmt: skip
def test_urls(purpose: Purpose, format: Format, path: str, query: str, url: str) -> None:
    asked = call(purpose, format, path, query)
    for base_url in (BASE, "https://host.test/api/codex"):
        assert address(credential(base_url=base_url), "m", asked)[0] == base_url + url


def test_a_key_is_a_bearer_token() -> None:
    asked = call(Purpose.GENERATE, "openai-chat")
    _, headers = address(credential(), "m", asked)
    assert list(headers.items()) == [("X-Own", "1"), ("Authorization", "Bearer sk-test-key")]
    assert list(asked.headers.items()) == [("X-Own", "1")], "one call may be addressed several times"


def test_without_a_key_none_is_sent() -> None:
    _, headers = address(credential(secret=""), "m", call(Purpose.GENERATE, "openai-chat"))
    assert "authorization" not in headers
