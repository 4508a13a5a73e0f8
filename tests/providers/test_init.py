"""cliproxy.providers: a call as an HTTP request, with the config's own headers in it."""

from collections.abc import Mapping
from typing import Any

import pytest

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers import prepare
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.wire.model import FORMATS, Format, ModelFacts

SECRET = "sk-test-key"


def prepared(
    format: Format = "openai-chat", *, own: Mapping[str, str | None] | None = None,
    client: Mapping[str, str] | None = None, sent: Mapping[str, str] | None = None, **credential: Any,
) -> UpstreamRequest:  # fmt: skip
    candidate = Candidate(
        Credential("p", (format,), "https://host.test/v1", SECRET, headers=own or {}, **credential),
        "m",
        ModelFacts("m"),
    )
    call = UpstreamCall(Purpose.GENERATE, format, "POST", "", "", Headers(sent or {}), b"{}")
    return prepare(candidate, call, Headers(client or {}))


@pytest.mark.parametrize(
    ("format", "path", "header", "value"),
    [
        ("openai-chat", "/v1/chat/completions", "authorization", f"Bearer {SECRET}"),
        ("openai-responses", "/v1/responses", "authorization", f"Bearer {SECRET}"),
        ("anthropic", "/v1/messages", "authorization", f"Bearer {SECRET}"),
        ("gemini", "/v1/v1beta/models/m:generateContent", "x-goog-api-key", SECRET),
    ],
)
def test_every_format_has_its_address(format: Format, path: str, header: str, value: str) -> None:
    request = prepared(format)
    assert (request.method, request.url, request.body) == ("POST", f"https://host.test{path}", b"{}")
    assert request.headers[header] == value
    assert request.proxy_url is None


@pytest.mark.parametrize("format", FORMATS)
def test_the_configs_headers_come_last(format: Format) -> None:
    own = {
        "X-Team": "t-1",
        "x-shared": "$X-Client",
        "X-Gone": None,
        "authorization": "Basic own",
        "x-none": "$X-Missing",
    }
    request = prepared(
        format,
        own=own,
        client={"x-client": "theirs"},
        sent={"X-GONE": "1", "X-Shared": "old", "x-none": "old", "X-Kept": "1"},
    )
    assert request.headers.getall("x-team") == ["t-1"]
    assert request.headers.getall("X-Shared") == ["theirs"]
    assert request.headers.getall("Authorization") == ["Basic own"]
    assert request.headers["X-Kept"] == "1"
    assert not {"x-gone", "x-none"} & {name.lower() for name in request.headers}


def test_a_config_can_copy_the_clients_own_key_where_it_says_so() -> None:
    own = {"Authorization": "$Authorization"}
    assert prepared(own=own, client={"authorization": "Bearer theirs"}).headers["authorization"] == "Bearer theirs"


@pytest.mark.parametrize("proxy", ["direct", "socks5://127.0.0.1:9"])
def test_the_credentials_proxy_is_used(proxy: str) -> None:
    assert prepared(proxy_url=proxy).proxy_url == proxy
