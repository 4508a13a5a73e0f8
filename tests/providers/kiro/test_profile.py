"""cliproxy.providers.kiro.profile: which profile an account uses, asked for once."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.providers.kiro.profile import discover
from cliproxy.providers.vendor import Fields, Place
from tests.answers import Answer
from tests.upstream import Upstream

ARN = "arn:aws:codewhisperer:eu-central-1:000000000000:profile/TEST"
IDC: Fields = {"auth_method": "IdC", "provider": "Enterprise", "access_token": "test-access-1"}


def answer(status: int = 200, **body: Any) -> Answer:
    return Answer(status=status, headers={"content-type": "application/json"}, body=json.dumps(body).encode())


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def test_each_region_is_asked(upstream: Upstream, http: httpx.AsyncClient) -> None:
    upstream.script(answer(profiles=[]), answer(profiles=[{"profileName": "test"}, {"arn": ARN}]))
    found = await discover(IDC, Place(f"{upstream.url}/{{region}}"), http)
    assert found == {"profile_arn": ARN}
    assert [request.path for request in upstream.requests] == ["/us-east-1/", "/eu-central-1/"]
    request = upstream.requests[0]
    assert request.headers["x-amz-target"] == "AmazonCodeWhispererService.ListAvailableProfiles"
    assert request.headers["authorization"] == "Bearer test-access-1"


@pytest.mark.parametrize(
    "refusal", [answer(403, message="AWS Builder ID is not supported for this operation."), answer(profiles=[])]
)
async def test_an_account_without_a_profile_is_asked_once(
    upstream: Upstream, http: httpx.AsyncClient, refusal: Answer
) -> None:
    upstream.script(refusal)
    assert await discover(IDC, Place(upstream.url), http) == {"profile_arn": "none"}
    assert len(upstream.requests) == 1


async def test_a_builder_id_is_not_asked(upstream: Upstream, http: httpx.AsyncClient) -> None:
    found = await discover({**IDC, "provider": "BuilderId"}, Place(upstream.url), http)
    assert found == {"profile_arn": "none"}
    assert not upstream.requests


@pytest.mark.parametrize("trouble", [answer(500), answer(401), Answer(body=b"<html>"), Answer(raw=b"")])
async def test_troubles_say_nothing_of_the_account(
    upstream: Upstream, http: httpx.AsyncClient, trouble: Answer
) -> None:
    upstream.script(trouble)
    with pytest.raises(EndpointTrouble):
        await discover(IDC, Place(upstream.url), http)


async def test_an_address_that_is_none(http: httpx.AsyncClient) -> None:
    with pytest.raises(EndpointTrouble):
        await discover(IDC, Place("no address"), http)
