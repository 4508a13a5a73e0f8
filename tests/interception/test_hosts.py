"""The table of vendors' hosts: what is a call of an API there, and what is done with it."""

import pytest

from cliproxy.config.schema import Intercept
from cliproxy.interception.hosts import VENDOR_HOSTS, InterceptedHosts
from cliproxy.routes import match

CALLS = [
    ("POST", "api.anthropic.com", "/v1/messages", "/v1/messages"),
    ("POST", "api.anthropic.com", "/v1/messages/count_tokens", "/v1/messages/count_tokens"),
    ("GET", "api.anthropic.com", "/v1/models", "/v1/models"),
    ("POST", "api.openai.com", "/v1/responses", "/v1/responses"),
    ("POST", "api.openai.com", "/v1/embeddings", "/v1/embeddings"),
    ("POST", "chatgpt.com", "/backend-api/codex/responses", "/backend-api/codex/responses"),
    (
        "POST",
        "generativelanguage.googleapis.com",
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
    ),
    ("POST", "generativelanguage.googleapis.com", "/v1beta/openai/chat/completions", "/v1/chat/completions"),
    ("POST", "cloudcode-pa.googleapis.com", "/v1internal:loadCodeAssist", "/v1internal:loadCodeAssist"),
    ("POST", "portal.qwen.ai", "/v1/chat/completions", "/v1/chat/completions"),
    ("POST", "dashscope.aliyuncs.com", "/compatible-mode/v1/chat/completions", "/v1/chat/completions"),
    ("POST", "api.z.ai", "/api/coding/paas/v4/chat/completions", "/v1/chat/completions"),
    ("POST", "api.z.ai", "/api/anthropic/v1/messages", "/v1/messages"),
]

OTHER_CALLS = [
    ("POST", "api.anthropic.com", "/api/event_logging/v2/batch"),
    ("HEAD", "api.anthropic.com", "/"),
    ("GET", "api.anthropic.com", "/v1/messages"),
    # The path is OpenAI's too, and would go there.
    ("GET", "api.anthropic.com", "/v1/files"),
    ("GET", "chatgpt.com", "/backend-api/codex/models"),
    ("GET", "chatgpt.com", "/backend-api/wham/accounts/check"),
    ("GET", "api.openai.com", "/healthz"),
    ("GET", "api.openai.com", "/v1/ws"),
    ("OPTIONS", "api.openai.com", "/v1/responses"),
    ("POST", "api.openai.com", "/api/provider/openai/chat/completions"),
    ("POST", "api.openai.com", "/v1/unheard-of"),
]


@pytest.fixture(scope="module")
def hosts() -> InterceptedHosts:
    return InterceptedHosts(Intercept())


@pytest.mark.parametrize(("method", "name", "path", "ours"), CALLS)
def test_calls_of_an_api_have_a_path_of_the_gateways(
    hosts: InterceptedHosts, method: str, name: str, path: str, ours: str
) -> None:
    host = hosts.find(name)
    assert host
    assert host.api_call(method, path) == ours
    assert match(method, ours)


@pytest.mark.parametrize(("method", "name", "path"), OTHER_CALLS)
def test_other_calls_are_none_of_the_gateways_business(
    hosts: InterceptedHosts, method: str, name: str, path: str
) -> None:
    host = hosts.find(name)
    assert host
    assert host.api_call(method, path) is None


def test_a_websocket_is_a_call_where_the_gateway_has_one(hosts: InterceptedHosts) -> None:
    host = hosts.find("api.openai.com")
    assert host
    assert host.api_call("GET", "/v1/responses") is None
    assert host.api_call("GET", "/v1/responses", websocket=True) == "/v1/responses"
    assert host.api_call("GET", "/v1/ws", websocket=True) is None


@pytest.mark.parametrize("name", ["example.com", "anthropic.com", "x.api.anthropic.com", "api.anthropic.com.example"])
def test_other_hosts_are_not_found(hosts: InterceptedHosts, name: str) -> None:
    assert hosts.find(name) is None


@pytest.mark.parametrize("name", ["API.Anthropic.com", "api.anthropic.com."])
def test_a_name_is_found_however_it_is_written(hosts: InterceptedHosts, name: str) -> None:
    host = hosts.find(name)
    assert host
    assert host.provider == "claude"


def test_the_config_adds_hosts_and_says_what_is_done_with_each() -> None:
    config = Intercept(
        mode="pool", hosts={"api.openai.com": "route", "llm.corp.example": "observe", "*.azure.example": "pool"}
    )
    hosts = InterceptedHosts(config)
    treatments = {
        name: hosts.treatment(host)
        for name in ("api.anthropic.com", "api.openai.com", "llm.corp.example", "eu.azure.example")
        if (host := hosts.find(name))
    }
    assert treatments == {
        "api.anthropic.com": "pool", "api.openai.com": "route", "llm.corp.example": "observe", "eu.azure.example": "pool"
    }  # fmt: skip
    assert hosts.find("azure.example") is None
    added = hosts.find("llm.corp.example")
    assert added
    assert added.api_call("POST", "/proxy/v1/messages") == "/v1/messages"
    assert {"llm.corp.example", "*.azure.example", "api.anthropic.com"} < set(hosts.names)


def test_one_word_can_stand_for_all_hosts() -> None:
    hosts = InterceptedHosts(Intercept(hosts={"api.openai.com": "route"}), "pool")
    assert {hosts.treatment(host) for name in hosts.names if (host := hosts.find(name))} == {"pool"}


def test_no_host_stands_in_the_table_twice() -> None:
    assert len({host.name for host in VENDOR_HOSTS}) == len(VENDOR_HOSTS)
