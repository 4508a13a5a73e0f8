"""cliproxy.providers.kiro.quota: credits and trials, as the service tells them."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.providers.kiro.quota import quota
from cliproxy.providers.vendor import Fields, Place, Quota, Window
from tests.answers import Answer
from tests.providers.kiro.service import PROFILE
from tests.upstream import Upstream

RESET_S, TRIAL_S = 1777593600.0, 1778000000.0
USAGE: dict[str, Any] = {
    "currentUsage": 5469,
    "currentUsageWithPrecision": 5469.38,
    "displayNamePlural": "Credits",
    "freeTrialInfo": None,
    "nextDateReset": RESET_S,
    "resourceType": "CREDIT",
    "usageLimit": 10000,
    "usageLimitWithPrecision": 10000,
}
FIELDS: Fields = {"access_token": "test-access-1", "profile_arn": PROFILE}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def limits(*usages: dict[str, Any]) -> Answer:
    body = {
        "nextDateReset": RESET_S,
        "subscriptionInfo": {"subscriptionTitle": "KIRO POWER"},
        "usageBreakdownList": list(usages),
    }
    return Answer(headers={"content-type": "application/json"}, body=json.dumps(body).encode())


async def test_credits(upstream: Upstream, http: httpx.AsyncClient) -> None:
    upstream.script(limits(USAGE))
    found = await quota(FIELDS, Place(f"{upstream.url}/{{region}}"), http)
    assert found == Quota("KIRO POWER", (Window("credits", 0.546938, RESET_S),))
    [request] = upstream.requests
    assert (request.method, request.path) == ("GET", "/us-east-1/getUsageLimits")
    assert parse_qs(request.query) == {
        "origin": ["AI_EDITOR"],
        "resourceType": ["AGENTIC_REQUEST"],
        "profileArn": [PROFILE],
    }
    assert request.headers["authorization"] == "Bearer test-access-1"


@pytest.mark.parametrize(
    ("change", "windows"),
    [
        ({"nextDateReset": None}, (Window("credits", 0.546938, RESET_S),)),
        ({"currentUsageWithPrecision": None, "usageLimitWithPrecision": None}, (Window("credits", 0.5469, RESET_S),)),
        ({"currentUsageWithPrecision": 12000.0}, (Window("credits", 1.0, RESET_S),)),
        ({"usageLimit": 0, "usageLimitWithPrecision": 0}, (Window("credits", None, RESET_S),)),
        ({"displayNamePlural": None}, (Window("credit", 0.546938, RESET_S),)),
        (
            {
                "freeTrialInfo": {
                    "freeTrialStatus": "ACTIVE",
                    "currentUsage": 50,
                    "usageLimit": 500,
                    "freeTrialExpiry": TRIAL_S,
                }
            },
            (Window("credits", 0.546938, RESET_S), Window("trial", 0.1, TRIAL_S)),
        ),
        (
            {"freeTrialInfo": {"freeTrialStatus": "EXPIRED", "currentUsage": 500, "usageLimit": 500}},
            (Window("credits", 0.546938, RESET_S),),
        ),
    ],
)
async def test_what_accounts_differ_in(
    upstream: Upstream, http: httpx.AsyncClient, change: dict[str, Any], windows: tuple[Window, ...]
) -> None:
    upstream.script(limits({**USAGE, **change}))
    assert (await quota(FIELDS, Place(upstream.url), http)).windows == windows


async def test_another_address_and_no_profile(upstream: Upstream, http: httpx.AsyncClient) -> None:
    upstream.script(limits())
    fields = {"access_token": "test-access-1", "profile_arn": "none", "preferred_endpoint": "cli"}
    assert await quota(fields, Place("https://service.invalid", f"{upstream.url}/limits"), http) == Quota("KIRO POWER")
    [request] = upstream.requests
    assert (request.path, request.query) == ("/limits", "origin=CLI&resourceType=AGENTIC_REQUEST")


@pytest.mark.parametrize("status", [403, 500])
async def test_troubles(upstream: Upstream, http: httpx.AsyncClient, status: int) -> None:
    upstream.script(Answer(status=status, headers={"content-type": "application/json"}, body=b"{}"))
    with pytest.raises(EndpointTrouble):
        await quota(FIELDS, Place(upstream.url), http)
