"""cliproxy.providers.cloud_code_account: a login's project, found or made, and what Google says of its quotas."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, OAuthFault
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import antigravity, gemini_cli
from cliproxy.providers.cloud_code_account import (
    MAX_POLLS,
    POLL_EVERY_S,
    CloudCodeAccount,
    discover,
    identify,
    window,
)
from cliproxy.providers.vendor import Place, Quota, Vendor, Window
from tests import native
from tests.answers import Answer
from tests.providers.accounts import TOKEN
from tests.upstream import Upstream

FREE = {"id": "free-tier", "name": "Free", "isDefault": True}
STANDARD = {"id": "standard-tier", "name": "Standard", "userDefinedCloudaicompanionProject": True}


def answer(value: Any) -> Answer:
    return Answer(headers={"content-type": "application/json"}, body=json.dumps(value).encode())


def made(project: Any) -> Answer:
    return answer({"name": "operations/op-1", "done": True, "response": {"cloudaicompanionProject": project}})


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


class Slept:
    """Takes the place of sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def project(upstream: Upstream, http: httpx.AsyncClient, *answers: Answer, slept: Slept | None = None) -> str:
    upstream.script(*answers)
    return await CloudCodeAccount(upstream.url, TOKEN, http).project(sleep=slept or Slept())


@pytest.mark.parametrize("named", ["p-1", {"id": "p-1", "name": "mine"}])
async def test_google_names_the_project(upstream: Upstream, http: httpx.AsyncClient, named: Any) -> None:
    found = await project(upstream, http, answer({"currentTier": FREE, "cloudaicompanionProject": named}))
    assert found == "p-1"
    [asked] = upstream.requests
    assert (asked.method, asked.path) == ("POST", "/v1internal:loadCodeAssist")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["user-agent"].startswith("cliproxy")
    assert asked.json == {
        "metadata": {
            "ideType": "IDE_UNSPECIFIED",
            "platform": "PLATFORM_UNSPECIFIED",
            "pluginType": "GEMINI",
        }
    }


@pytest.mark.parametrize(
    ("loaded", "tier"),
    [
        ({"allowedTiers": [STANDARD, FREE]}, "free-tier"),
        ({"currentTier": {"id": "legacy-tier"}}, "legacy-tier"),
        ({}, "free-tier"),
    ],
)
async def test_a_new_account_is_set_up(upstream: Upstream, http: httpx.AsyncClient, loaded: Any, tier: str) -> None:
    slept = Slept()
    under_way = answer({"name": "operations/op-1", "done": False})
    found = await project(
        upstream, http, answer(loaded), under_way, under_way, made({"id": "made-1", "name": "made"}), slept=slept
    )
    assert (found, slept.seconds) == ("made-1", [POLL_EVERY_S] * 2)
    assert [(asked.method, asked.path) for asked in upstream.requests[1:]] == [
        ("POST", "/v1internal:onboardUser"),
        ("GET", "/v1internal/operations/op-1"),
        ("GET", "/v1internal/operations/op-1"),
    ]
    assert upstream.requests[1].json["tierId"] == tier
    assert "cloudaicompanionProject" not in upstream.requests[1].json


async def test_setting_up_takes_only_so_long(upstream: Upstream, http: httpx.AsyncClient) -> None:
    slept = Slept()
    with pytest.raises(EndpointTrouble):
        never = [answer({"name": "operations/op-1"})] * (MAX_POLLS + 1)
        await project(upstream, http, answer({}), *never, slept=slept)
    assert len(slept.seconds) == MAX_POLLS


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ([answer({"allowedTiers": [{**STANDARD, "isDefault": True}]})], "no_project", "project_id"),
        ([answer({"currentTier": STANDARD})], "no_project", "project_id"),
        ([answer({}), made({})], "no_project", "project_id"),
        (
            [
                answer(
                    {
                        "ineligibleTiers": [
                            {"reasonMessage": "Not in your country."},
                            {"reasonMessage": "Verify your account.", "validationUrl": "https://verify.test"},
                        ]
                    }
                )
            ],
            "ineligible",
            "Not in your country.; Verify your account. https://verify.test",
        ),
        ([native.error("gemini", 403, "the API is off")], "permission_denied", "the API is off"),
    ],
)
async def test_an_account_that_gets_no_project(
    upstream: Upstream, http: httpx.AsyncClient, answers: list[Answer], code: str, words: str
) -> None:
    with pytest.raises(GrantRefused, match=words) as refused:
        await project(upstream, http, *answers)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "trouble",
    [
        native.error("gemini", 503, "busy"),
        native.error("gemini", 429, "slower", retry_after="7"),
        Answer(body=b"<html>"),
        answer([1]),
        Answer(raw=b"not http"),
    ],
)
async def test_troubles_that_pass(upstream: Upstream, http: httpx.AsyncClient, trouble: Answer) -> None:
    with pytest.raises(EndpointTrouble) as raised:
        await project(upstream, http, trouble)
    assert raised.value.retry_after_s == (7 if trouble.status == 429 else None)


# ---------------------------------------------------------------- for the table of vendors

VENDORS = pytest.mark.parametrize("vendor", [gemini_cli.VENDOR, antigravity.VENDOR], ids=lambda vendor: vendor.name)


def place_at(vendor: Vendor, url: str) -> Place:
    registration = vendor.registration
    assert registration
    return Place(url, "", replace(registration, userinfo_url=f"{url}/userinfo?alt=json"))


@VENDORS
async def test_a_new_login_says_whose_it_is(upstream: Upstream, http: httpx.AsyncClient, vendor: Vendor) -> None:
    upstream.script(answer({"email": "me@example.com"}), answer({"cloudaicompanionProject": "p-1"}))
    found = await vendor.identify(Tokens(TOKEN), place_at(vendor, upstream.url), http)
    assert found == {"email": "me@example.com", "project_id": "p-1"}
    assert {asked.headers["authorization"] for asked in upstream.requests} == {f"Bearer {TOKEN}"}
    assert vendor.file_stem(found) == "me@example.com"


@pytest.mark.parametrize("trouble", [native.error("gemini", 503), answer({"currentTier": STANDARD})])
async def test_a_login_is_kept_though_its_project_is_not_known_yet(
    upstream: Upstream, http: httpx.AsyncClient, trouble: Answer
) -> None:
    upstream.script(answer({"email": "me@example.com"}), trouble)
    found = await identify(Tokens(TOKEN), place_at(gemini_cli.VENDOR, upstream.url), http)
    assert found == {"email": "me@example.com"}


async def test_a_login_of_no_use_fails(upstream: Upstream, http: httpx.AsyncClient) -> None:
    upstream.script(answer({}), answer({"ineligibleTiers": [{"reasonMessage": "Too young."}]}))
    with pytest.raises(OAuthFault, match="Too young"):
        await identify(Tokens(TOKEN), place_at(gemini_cli.VENDOR, upstream.url), http)


async def test_the_project_is_found_later_at_the_accounts_own_address(
    upstream: Upstream, http: httpx.AsyncClient
) -> None:
    upstream.script(answer({"cloudaicompanionProject": "p-1"}))
    fields = {"access_token": TOKEN, "base_url": upstream.url}
    assert await discover(fields, Place("http://elsewhere.test"), http) == {"project_id": "p-1"}


RESET, RESET_S = "2026-03-01T00:00:00Z", 1772323200.0


async def test_gemini_clis_quotas(upstream: Upstream, http: httpx.AsyncClient) -> None:
    buckets = [
        {"modelId": "gemini-2.5-pro", "tokenType": "REQUESTS", "remainingFraction": 0.25, "resetTime": RESET},
        {"tokenType": "REQUESTS"},
        {"remainingFraction": 1},
    ]
    upstream.script(answer({"buckets": buckets}), answer({"currentTier": FREE, "paidTier": {"id": "g1-pro-tier"}}))
    fields = {"access_token": TOKEN, "project_id": "p-1,p-2"}
    assert gemini_cli.VENDOR.quota
    assert await gemini_cli.VENDOR.quota(fields, Place(upstream.url), http) == Quota(
        "g1-pro-tier", (Window("gemini-2.5-pro", 0.75, RESET_S), Window("REQUESTS", None))
    )
    assert (upstream.requests[0].path, upstream.requests[0].json) == (
        "/v1internal:retrieveUserQuota",
        {"project": "p-1"},
    )


async def test_antigravitys_quotas(upstream: Upstream, http: httpx.AsyncClient) -> None:
    models = {
        "gemini-3-flash": {"quotaInfo": {"remainingFraction": 1, "resetTime": RESET}},
        "claude-sonnet-4-5": {"quotaInfo": {"resetTime": RESET}},
        "tab-model": {},
    }
    upstream.script(answer({"models": models}), answer({"currentTier": FREE}))
    fields = {"access_token": TOKEN, "project_id": "p-1"}
    assert antigravity.VENDOR.quota
    assert await antigravity.VENDOR.quota(fields, Place(upstream.url), http) == Quota(
        "Free", (Window("gemini-3-flash", 0.0, RESET_S), Window("claude-sonnet-4-5", 1.0, RESET_S))
    )
    assert upstream.requests[0].path == "/v1internal:fetchAvailableModels"


@pytest.mark.parametrize(("left", "used"), [(0, 1.0), (1.5, 0.0), (-1, 1.0), (None, None), ("1", None)])
def test_a_share_is_within_0_and_1(left: Any, used: float | None) -> None:
    assert window("w", {"remainingFraction": left}).used == used
