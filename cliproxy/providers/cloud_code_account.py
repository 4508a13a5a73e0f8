"""What Cloud Code says of an account: whose it is, its tier, its project, and how much of its quotas is used up."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, cast

import httpx

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.timestamps import seconds_of
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.queries import ask
from cliproxy.providers.vendor import Place, Window
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.gemini.errors import decode_error
from cliproxy.wire.model import Json

POLL_EVERY_S = 2.0
MAX_POLLS = 15

_METADATA = {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}
_FREE_TIER = "free-tier"

Sleep = Callable[[float], Awaitable[None]]


def google_login(port: int, path: str, *scopes: str) -> Registration:
    """Google's OAuth for installed programs; whoever uses it registers a client of their own.

    port and path: of the redirect. scopes: beside those for Google Cloud and the account's address.
    """
    base = "https://www.googleapis.com/auth"
    names = ("cloud-platform", "userinfo.email", "userinfo.profile", *scopes)
    return Registration(
        "https://oauth2.googleapis.com/token",
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        userinfo_url="https://www.googleapis.com/oauth2/v2/userinfo?alt=json",
        redirect_port=port,
        redirect_path=path,
        scopes=tuple(f"{base}/{name}" for name in names),
        # Without these Google gives a refresh token at the first login only.
        authorize_params={"access_type": "offline", "prompt": "consent"},
    )


class CloudCodeAccount:
    """The methods of Cloud Code that are about one account. All raise GrantRefused and EndpointTrouble."""

    def __init__(self, base_url: str, token: str, http: httpx.AsyncClient) -> None:
        self._url = f"{base_url}/v1internal"
        self._http = http
        self._headers = {"authorization": f"Bearer {token}", "user-agent": USER_AGENT}

    @classmethod
    def of(cls, fields: Mapping[str, Any], place: Place, http: httpx.AsyncClient) -> Self:
        return cls(str(fields.get("base_url") or place.base_url), str(fields.get("access_token") or ""), http)

    async def call(self, method: str, body: Json) -> Json:
        """What a method answers."""
        return await self._asked("POST", f"{self._url}:{method}", json=body)

    async def plan(self) -> str:
        """The name of the account's tier."""
        loaded = await self.call("loadCodeAssist", {"metadata": _METADATA})
        tiers = (object_of(loaded, name) for name in ("paidTier", "currentTier"))
        return next((name for tier in tiers if (name := text_of(tier, "name") or text_of(tier, "id"))), "")

    async def project(self, *, sleep: Sleep = asyncio.sleep) -> str:
        """The project that Google has for the account's calls; an account that is new there is set up first."""
        loaded = await self.call("loadCodeAssist", {"metadata": _METADATA})
        return _project(loaded) or await self._onboarded(_tier(loaded), sleep)

    async def _onboarded(self, tier: str, sleep: Sleep) -> str:
        # Without a project of its own: Google makes one, and for the free tier refuses any other.
        operation = await self.call("onboardUser", {"tierId": tier, "metadata": _METADATA})
        for _ in range(MAX_POLLS):
            if operation.get("done"):
                break
            await sleep(POLL_EVERY_S)
            operation = await self._asked("GET", f"{self._url}/{text_of(operation, 'name')}")
        else:
            raise EndpointTrouble("Google is still setting the account up")
        project = _project(object_of(operation, "response"))
        if not project:
            raise _needs_project()
        return project

    async def _asked(self, method: str, url: str, **body: Any) -> Json:
        host = httpx.URL(url).host
        try:
            response = await self._http.request(method, url, headers=self._headers, **body)
        except httpx.HTTPError as error:
            raise EndpointTrouble(f"{host} cannot be asked: {type(error).__name__}") from None
        if response.status_code != 200:
            refused = decode_error(response.status_code, response.headers, response.content)
            if response.status_code < 500 and response.status_code != 429:
                raise GrantRefused(refused.message, code=(refused.code or refused.kind or "refused").lower())
            message = f"{host} answered {response.status_code}: {refused.message}"
            raise EndpointTrouble(message, retry_after_s=refused.retry_after_s)
        try:
            value = response.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise EndpointTrouble(f"{host} did not answer with a JSON object")
        return cast("Json", value)


def _project(holder: Json) -> str:
    return text_of(object_of(holder, "cloudaicompanionProject"), "id") or text_of(holder, "cloudaicompanionProject")


def _tier(loaded: Json) -> str:
    """The tier for an account without a project. Raises GrantRefused where there is none for it."""
    allowed, current = objects_of(loaded, "allowedTiers"), object_of(loaded, "currentTier")
    tier = next((tier for tier in allowed if tier.get("isDefault")), current)
    ineligible = objects_of(loaded, "ineligibleTiers")
    if not tier and ineligible:
        raise GrantRefused("; ".join(map(_reason, ineligible)), code="ineligible")
    if tier.get("userDefinedCloudaicompanionProject"):
        raise _needs_project()
    return text_of(tier, "id") or _FREE_TIER


def _reason(tier: Json) -> str:
    """Why the account may not use a tier, with the page where Google lets it mend that."""
    return " ".join(filter(None, (text_of(tier, "reasonMessage"), text_of(tier, "validationUrl"))))


def _needs_project() -> GrantRefused:
    message = "Google wants a Google Cloud project of this account's own: set `project_id` in its auth file"
    return GrantRefused(message, code="no_project")


# ---------------------------------------------------------------- for the table of vendors


async def identify(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """`email` of a new login, and `project_id` where Google has one for it."""
    assert place.registration
    about = await ask(http, place.registration.userinfo_url, tokens.access_token)
    found = {"email": text_of(about or {}, "email")}
    try:
        found |= await discover({"access_token": tokens.access_token}, place, http)
    except EndpointTrouble:
        # The login is good; its first call will ask again.
        pass
    except GrantRefused as refused:
        if refused.code != "no_project":
            raise
    return found


async def discover(fields: Mapping[str, Any], place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """`project_id` of an account."""
    return {"project_id": await CloudCodeAccount.of(fields, place, http).project()}


def window(name: str, quota: Json) -> Window:
    """A quota as both vendors tell it: {remainingFraction, resetTime}."""
    left = quota.get("remainingFraction")
    used = 1.0 - min(1.0, max(0.0, left)) if isinstance(left, int | float) else None
    return Window(name, used, seconds_of(quota.get("resetTime")))
