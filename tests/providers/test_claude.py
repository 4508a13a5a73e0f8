"""cliproxy.providers.claude: URLs, the version and the two ways to show a key."""

import pytest

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Headers
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.claude import API_VERSION, address

OWN, OTHER = "https://api.anthropic.com", "https://host.test/anthropic"


def addressed(
    base_url: str,
    purpose: Purpose = Purpose.GENERATE,
    path: str = "",
    query: str = "",
    secret: str = "sk-test-key",
    **headers: str,
) -> tuple[str, Headers]:
    sent = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    call = UpstreamCall(purpose, "anthropic", "POST", path, query, sent, b"{}")
    return address(Credential("claude", ("anthropic",), base_url, secret), "m", call)


@pytest.mark.parametrize("base_url", [OWN, OTHER])
@pytest.mark.parametrize(
    ("purpose", "path", "query", "url"),
    [
        (Purpose.GENERATE, "", "", "/v1/messages"),
        (Purpose.COUNT_TOKENS, "", "", "/v1/messages/count_tokens"),
        (Purpose.GENERATE, "/v1/messages", "beta=true", "/v1/messages?beta=true"),
        (Purpose.NATIVE, "/v1/messages/batches", "limit=2", "/v1/messages/batches?limit=2"),
    ],
)
def test_urls(base_url: str, purpose: Purpose, path: str, query: str, url: str) -> None:
    assert addressed(base_url, purpose, path, query)[0] == base_url + url
    assert addressed(base_url + "/v1", purpose, path, query)[0] == base_url + url


def test_the_vendors_own_host_takes_its_own_header() -> None:
    _, headers = addressed(OWN)
    assert headers["x-api-key"] == "sk-test-key"
    assert "authorization" not in headers


def test_other_hosts_take_a_bearer_token() -> None:
    _, headers = addressed(OTHER)
    assert headers["authorization"] == "Bearer sk-test-key"
    assert "x-api-key" not in headers


@pytest.mark.parametrize("base_url", [OWN, OTHER])
def test_without_a_key_none_is_sent(base_url: str) -> None:
    _, headers = addressed(base_url, secret="")
    assert not {"authorization", "x-api-key"} & {name.lower() for name in headers}


def test_the_clients_version_wins_over_ours() -> None:
    assert addressed(OWN)[1]["anthropic-version"] == API_VERSION == "2023-06-01"
    _, headers = addressed(OWN, Anthropic_Version="2099-01-01", anthropic_beta="a,b")
    assert headers.getall("anthropic-version") == ["2099-01-01"]
    assert headers["anthropic-beta"] == "a,b"
