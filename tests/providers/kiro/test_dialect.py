"""cliproxy.providers.kiro.dialect: what is sent where, under whose name."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.kiro import VENDOR
from cliproxy.wire.model import ModelFacts, ThinkingFacts
from tests.providers.kiro.accounts import UPSTREAM_MODEL, FakeAccount, credential
from tests.providers.kiro.event_stream import CONTENT_TYPE
from tests.providers.kiro.service import PROFILE, TARGET, check

BODY = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}


def call(headers: Mapping[str, str] | None = None, *, stream: bool = False) -> UpstreamCall:
    sent, body = Headers(headers or {}), json.dumps(BODY).encode()
    return UpstreamCall(Purpose.GENERATE, "anthropic", "POST", "/v1/messages", "beta=true", sent, body, stream)


def candidate(base_url: str = VENDOR.base_url, **fields: str) -> Candidate:
    account = FakeAccount(fields=fields)
    return Candidate(credential(base_url, account), UPSTREAM_MODEL, ModelFacts(UPSTREAM_MODEL))


def sent(to: Candidate, headers: Mapping[str, str] | None = None) -> tuple[UpstreamRequest, Any]:
    """The request and its body, checked as the service would."""
    request = VENDOR.dialect.request(to, call(headers))
    assert isinstance(request.body, bytes)
    body = json.loads(request.body)
    check(body)
    return request, body


@pytest.mark.parametrize(
    ("fields", "url", "kind", "target", "origin"),
    [
        ({}, "https://q.us-east-1.amazonaws.com/generateAssistantResponse", "application/json", None, "AI_EDITOR"),
        (
            {"preferred_endpoint": "cli", "region": "eu-central-1"},
            "https://q.eu-central-1.amazonaws.com/",
            "application/x-amz-json-1.0",
            TARGET,
            "CLI",
        ),
    ],
)
def test_either_endpoint(fields: dict[str, str], url: str, kind: str, target: str | None, origin: str) -> None:
    request, body = sent(candidate(**fields))
    assert (request.method, request.url) == ("POST", url)
    assert (request.headers["content-type"], request.headers.get("x-amz-target")) == (kind, target)
    assert body["conversationState"]["currentMessage"]["userInputMessage"]["origin"] == origin


def test_the_profile_says_the_region() -> None:
    arn = PROFILE.replace("us-east-1", "eu-central-1")
    request, body = sent(candidate(profile_arn=arn, region="us-west-2"))
    assert request.url.startswith("https://q.eu-central-1.amazonaws.com/")
    assert body["profileArn"] == arn


def test_addresses_of_the_config() -> None:
    request, _ = sent(candidate("https://runtime.{region}.example/base/", region="eu-central-1"))
    assert request.url == "https://runtime.eu-central-1.example/base/generateAssistantResponse"


def test_it_says_what_it_is_and_nothing_of_the_client() -> None:
    request, _ = sent(
        candidate(), {"user-agent": "claude-cli/2.0", "anthropic-beta": "x", "x-api-key": "sk-test-client"}
    )
    assert dict(request.headers) == {
        "Authorization": "Bearer test-access-1",
        "Content-Type": "application/json",
        "Accept": CONTENT_TYPE,
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
    }


def test_tokens_of_a_companys_own_identity_provider() -> None:
    assert sent(candidate(auth_method="external_idp"))[0].headers["TokenType"] == "EXTERNAL_IDP"


def test_what_it_has_no_place_for_is_named() -> None:
    asked = call()
    body = {**BODY, "temperature": 0.5, "stop_sequences": ["END"], "tool_choice": {"type": "auto"}}
    asked.body = json.dumps(body).encode()
    VENDOR.dialect.request(candidate(), asked)
    assert asked.dropped == ["temperature: Kiro has no place for it", "stop_sequences: Kiro has no place for it"]


@pytest.mark.parametrize(("provider", "settable"), [("BuilderId", False), ("Enterprise", True)])
def test_who_may_set_how_much_a_model_reasons(provider: str, settable: bool) -> None:
    account = FakeAccount(fields={"auth_method": "IdC", "provider": provider})
    facts = ModelFacts("claude-opus-4.6", thinking=ThinkingFacts(levels=("low", "high")), known=True)
    to = Candidate(credential(VENDOR.base_url, account, facts.name), facts.name, facts)
    asked = call()
    asked.body = json.dumps({**BODY, "thinking": {"type": "adaptive"}}).encode()
    request = VENDOR.dialect.request(to, asked)
    assert isinstance(request.body, bytes)
    assert ("additionalModelRequestFields" in json.loads(request.body)) is settable


def test_a_key_without_an_account() -> None:
    to = Candidate(Credential("kiro", ("anthropic",), VENDOR.base_url, "sk-test-key"), "auto", ModelFacts("auto"))
    assert sent(to)[0].headers["Authorization"] == "Bearer sk-test-key"


def test_only_event_streams_are_read() -> None:
    to = candidate()
    for headers, kind in (
        ({"content-type": CONTENT_TYPE}, "text/event-stream"),
        ({}, "text/event-stream"),
        ({"content-type": "application/json"}, None),
    ):
        reader = VENDOR.dialect.reader(to, call(stream=True), Headers(headers))
        assert (reader and reader.content_type) == kind
    whole = VENDOR.dialect.reader(to, call(), Headers({"content-type": CONTENT_TYPE}))
    assert whole
    assert whole.content_type == "application/json"


def test_what_the_service_can_be_asked_for() -> None:
    assert VENDOR.dialect.purposes == {Purpose.GENERATE}
    assert VENDOR.dialect.token_refusals == {401, 403}
