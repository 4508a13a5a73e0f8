"""Endpoints of logins: begun here, ended in a browser, on another device, or by pasting; the account is then in use."""

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, Literal, TypedDict, cast

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from cliproxy.accounts.joining import save_login
from cliproxy.credentials.auth_file import AuthFileFault
from cliproxy.management.auth_files import auth_dir_of
from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.operating import Operator
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, LoginFailed, OAuthFault
from cliproxy.oauth.login import Kind, LoginSession
from cliproxy.oauth.page import PAGE_HEADERS, Page
from cliproxy.oauth.redirect import of_text
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Flow, Place, Vendor

_OAUTH_FLOWS: tuple[Flow, ...] = ("browser", "device", "codex-device")
ALSO_CALLED = {"anthropic": "claude"}
CALLBACKS = ("anthropic", "codex", "antigravity", "google", "iflow")
"""Paths on the main port to which a browser may bring an answer: `/codex/callback`."""
_STATE = r"[A-Za-z0-9._-]{1,128}"


class Begin(BaseModel):
    is_webui: Literal["", "1", "true", "0", "false"] = ""
    """`1`: a browser on this machine brings the answer by itself."""
    flow: Literal["", "browser", "device", "codex-device"] = ""
    """Default: the first that is possible."""


class Begun(TypedDict):
    status: Literal["ok"]
    url: str
    state: str
    expires_in: int


class ByState(BaseModel):
    state: str = Field(pattern=f"^{_STATE}$")


class LoginStatus(TypedDict):
    status: Literal["ok", "wait", "error"]
    error: str


class Callback(BaseModel):
    provider: str = ""
    redirect_url: str = ""
    """What the browser shows after the user has agreed: the address, its query, `code#state` or a code."""
    code: str = ""
    state: str = ""
    error: str = ""


class Cancelled(TypedDict):
    status: Literal["ok"]
    cancelled: bool


class ProviderView(TypedDict):
    name: str
    title: str
    flows: list[str]
    possible: list[str]
    auth_url: str | None


class Providers(TypedDict):
    providers: list[ProviderView]


class LoginView(TypedDict):
    state: str
    provider: str
    flow: str
    status: str
    error: str
    url: str
    user_code: str
    verification_uri: str
    expires_at_s: float


class Logins(TypedDict):
    logins: list[LoginView]


# ---------------------------------------------------------------- beginning


def place_in(operator: Operator, vendor: Vendor) -> Place:
    return operator.running.accounts.place_of(vendor)


def _possible(vendor: Vendor, place: Place) -> list[Flow]:
    """The ways to log in that lack nothing here."""
    has_client = bool(place.registration and place.registration.client_id)
    return [flow for flow in vendor.flows if has_client or flow not in _OAUTH_FLOWS]


async def _providers(call: Call[None, None]) -> dict[str, Any]:
    return {
        "providers": [
            {
                "name": vendor.name,
                "title": vendor.title,
                "flows": list(vendor.flows),
                "possible": _possible(vendor, place_in(call.operator, vendor)),
                "auth_url": f"{vendor.name}-auth-url" if any(flow in _OAUTH_FLOWS for flow in vendor.flows) else None,
            }
            for vendor in VENDORS.values()
        ]
    }


async def _begin(vendor: Vendor, call: Call[Begin, None]) -> dict[str, Any]:
    operator, place = call.operator, place_in(call.operator, vendor)
    kind = _kind(vendor, place, call.query.flow)
    assert place.registration
    http = http_client(operator.running.config.proxy_url, verify=operator.running.verify)

    async def save(tokens: Tokens) -> str:
        name = await save_login(vendor, place, tokens, auth_dir_of(operator), http)
        await operator.look_at_accounts()
        return name

    listens = call.query.is_webui in ("1", "true")
    session = await told(operator.logins.begin(vendor.name, kind, place.registration, http, save, listen=listens))
    prompt = session.prompt
    answer = {
        "status": "ok",
        "url": prompt.url,
        "state": session.state,
        "expires_in": max(0, int(prompt.expires_at_s - operator.clock())),
    }
    if kind != "browser":
        answer |= {"flow": "device", "user_code": prompt.user_code, "verification_uri": prompt.verification_uri}
    return answer


def _kind(vendor: Vendor, place: Place, wanted: str) -> Kind:
    """Raises ManagementFault (400), saying what is possible."""
    flows = [flow for flow in _possible(vendor, place) if flow in _OAUTH_FLOWS and wanted in ("", flow)]
    if flows:
        return cast("Kind", flows[0])
    if wanted and wanted not in vendor.flows:
        raise ManagementFault(400, "no such login", f"{vendor.title} has no such login")
    hint = f"set providers.{vendor.name}.oauth.client-id, or link the login of the vendor's own tool"
    raise ManagementFault(400, "no OAuth client", f"no OAuth client is shipped for {vendor.title}: {hint}")


async def told[T](work: Awaitable[T]) -> T:
    """Have a login's troubles told as answers."""
    try:
        return await work
    except (GrantRefused, EndpointTrouble) as error:
        raise ManagementFault(502, "the vendor refused", str(error)) from None
    except OAuthFault as error:
        raise ManagementFault(400, "login failed", str(error)) from None
    except AuthFileFault as error:
        raise ManagementFault(400, "invalid auth file", str(error)) from None


# ---------------------------------------------------------------- going on


async def _status(call: Call[ByState, None]) -> dict[str, str]:
    session = call.operator.logins.get(call.query.state)
    if session is None:
        return {"status": "error", "error": "unknown or expired state"}
    return {"status": session.status, "error": session.error}


async def _list(call: Call[None, None]) -> dict[str, Any]:
    return {"logins": [login_view(session) for session in call.operator.logins]}


def login_view(session: LoginSession) -> dict[str, Any]:
    prompt = session.prompt
    return {
        "state": session.state,
        "provider": session.provider,
        "flow": session.kind,
        "status": session.status,
        "error": session.error,
        "url": prompt.url,
        "user_code": prompt.user_code,
        "verification_uri": prompt.verification_uri,
        "expires_at_s": prompt.expires_at_s,
    }


async def _callback(call: Call[Callback, None]) -> dict[str, str]:
    return _take(call.operator, call.query)


async def _pasted_callback(call: Call[None, Callback]) -> dict[str, str]:
    return _take(call.operator, call.body)


def _take(operator: Operator, callback: Callback) -> dict[str, str]:
    try:
        pasted = of_text(callback.redirect_url) if callback.redirect_url.strip() else None
    except LoginFailed as fault:
        raise _refused(400, str(fault)) from None
    state = callback.state.strip() or (pasted.state if pasted else "")
    code = callback.code.strip() or (pasted.code if pasted else "")
    error = callback.error.strip() or (pasted.error if pasted else "")
    if not state:
        raise _refused(400, "state is required")
    if not code and not error:
        raise _refused(400, "code or error is required")
    session = operator.logins.get(state)
    if session is None:
        raise _refused(404, "unknown or expired state")
    provider = callback.provider.strip().lower()
    if provider and ALSO_CALLED.get(provider, provider) != session.provider:
        raise _refused(400, "provider does not match state")
    if session.status != "wait":
        raise _refused(409, session.error or "oauth flow is already completed")
    page = session.callback({"code": code, "state": state, "error": error})
    if page.status != 200 and not error:
        raise _refused(400, page.text)
    return {"status": "ok"}


def _refused(status: int, error: str) -> ManagementFault:
    fault = ManagementFault(status, error)
    fault.body["status"] = "error"
    return fault


async def _cancel(call: Call[ByState, None]) -> dict[str, Any]:
    session = call.operator.logins.get(call.query.state)
    waits = session is not None and session.status == "wait"
    if session and waits:
        session.cancel()
    return {"status": "ok", "cancelled": waits}


def callback_page(operator: Operator, request: Request) -> Response:
    """What a browser is shown that brings the answer of a login."""
    session = operator.logins.get(request.query_params.get("state", ""))
    if session is None or session.status != "wait":
        page = Page(400, "Not logged in", "No login waits for this answer. Begin again where you began.")
    else:
        page = session.callback(request.query_params)
    return Response(page.html, page.status, PAGE_HEADERS)


def _auth_urls() -> dict[str, Vendor]:
    """What the logins that can be begun are called, with other names that panels have for them."""
    vendors = {vendor.name: vendor for vendor in VENDORS.values() if any(flow in _OAUTH_FLOWS for flow in vendor.flows)}
    return vendors | {name: vendors[same] for name, same in ALSO_CALLED.items() if same in vendors}


_LOGIN_ERRORS = (404, 409, 502)
ENDPOINTS: Sequence[Endpoint] = (
    *(
        Endpoint(
            "GET",
            f"/{name}-auth-url",
            partial(_begin, vendor),
            f"Begin a login to {vendor.title}",
            query=Begin,
            answer=Begun,
            errors=(502,),
        )
        for name, vendor in _auth_urls().items()
    ),
    Endpoint("GET", "/get-auth-status", _status, "How a login is", query=ByState, answer=LoginStatus),
    Endpoint(
        "GET",
        "/oauth-callback",
        _callback,
        "The answer of a login",
        query=Callback,
        is_public=True,
        errors=_LOGIN_ERRORS,
    ),
    Endpoint(
        "POST",
        "/oauth-callback",
        _pasted_callback,
        "What the user pastes to end a login",
        body=Callback,
        is_public=True,
        errors=_LOGIN_ERRORS,
    ),
    Endpoint("DELETE", "/oauth-session", _cancel, "Give a login up", query=ByState, answer=Cancelled),
    Endpoint("GET", "/providers", _providers, "Whose accounts can be used, and how one logs in", answer=Providers),
    Endpoint("GET", "/logins", _list, "Logins under way or just ended", answer=Logins),
)
