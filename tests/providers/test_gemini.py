"""cliproxy.providers.gemini: the model and the method in the path, and the key's header."""

import pytest

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Headers
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.gemini import address

BASE = "https://host.test"


def addressed(
    purpose: Purpose = Purpose.GENERATE, path: str = "", query: str = "", *, model: str = "gemini-2.5-pro",
    action: str = "", stream: bool = False, secret: str = "sk-test-key", base_url: str = BASE,
) -> tuple[str, Headers]:  # fmt: skip
    call = UpstreamCall(purpose, "gemini", "POST", path, query, Headers(), b"{}", stream, action)
    return address(Credential("gemini", ("gemini",), base_url, secret), model, call)


@pytest.mark.parametrize(
    ("purpose", "stream", "url"),
    [
        (Purpose.GENERATE, False, "/v1beta/models/gemini-2.5-pro:generateContent"),
        (Purpose.GENERATE, True, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        (Purpose.COUNT_TOKENS, False, "/v1beta/models/gemini-2.5-pro:countTokens"),
    ],
)
@pytest.mark.parametrize("base_url", [BASE, f"{BASE}/v1beta"])
def test_urls_of_translated_calls(purpose: Purpose, stream: bool, url: str, base_url: str) -> None:
    assert addressed(purpose, stream=stream, base_url=base_url)[0] == BASE + url


@pytest.mark.parametrize("version", ["v1beta", "v1"])
@pytest.mark.parametrize(
    ("purpose", "action", "query"),
    [
        (Purpose.GENERATE, "generateContent", ""),
        (Purpose.GENERATE, "streamGenerateContent", "alt=sse"),
        (Purpose.GENERATE, "streamGenerateContent", ""),
        (Purpose.COUNT_TOKENS, "countTokens", ""),
        (Purpose.NATIVE, "embedContent", "x=1"),
    ],
)
def test_a_client_of_the_same_format_says_version_method_and_query(
    version: str, purpose: Purpose, action: str, query: str
) -> None:
    url, _ = addressed(purpose, f"/{version}/models/", query, action=action, stream=True)
    assert url == f"{BASE}/{version}/models/gemini-2.5-pro:{action}" + (f"?{query}" if query else "")


def test_native_paths_are_the_clients_own() -> None:
    url, _ = addressed(Purpose.NATIVE, "/upload/v1beta/files", "uploadType=resumable", model="")
    assert url == f"{BASE}/upload/v1beta/files?uploadType=resumable"


@pytest.mark.parametrize(
    ("model", "written"),
    [("a b", "a%20b"), ("a/../b", "a%2F..%2Fb"), ("a?b#c", "a%3Fb%23c"), ("a\r\nb", "a%0D%0Ab"), ("é:1", "%C3%A9%3A1")],
)
def test_a_models_name_cannot_change_the_path(model: str, written: str) -> None:
    for url in (addressed(model=model)[0], addressed(path="/v1beta/models/", action="generateContent", model=model)[0]):
        assert url == f"{BASE}/v1beta/models/{written}:generateContent"


def test_the_key_has_googles_header() -> None:
    _, headers = addressed()
    assert list(headers.items()) == [("x-goog-api-key", "sk-test-key")]
    assert not addressed(secret="")[1]
