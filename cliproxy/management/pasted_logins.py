"""Endpoints that keep what the user has already: an API key, a long-lived token, a service account's key file."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from pydantic import BaseModel, Field

from cliproxy.accounts.joining import save_login, service_account_login
from cliproxy.management.auth_files import auth_dir_of
from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.form import FORM, read_form
from cliproxy.management.logins import ALSO_CALLED, place_in, told
from cliproxy.management.operating import Operator
from cliproxy.oauth.errors import LoginFailed
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Vendor
from cliproxy.providers.vertex import DEFAULT_LOCATION
from cliproxy.wire.fields import text_of

_LOCATION = re.compile(r"[a-z0-9-]{1,63}")
"""It becomes a part of a host's name."""


class Pasted(BaseModel):
    provider: str
    flow: Literal["api-key", "token", "service-account"]
    secret: str = Field(min_length=1)


class Kept(TypedDict):
    status: Literal["ok"]
    name: str


async def _paste(call: Call[None, Pasted]) -> dict[str, str]:
    wanted = call.body
    vendor = VENDORS.get(ALSO_CALLED.get(wanted.provider, wanted.provider))
    if vendor is None or wanted.flow not in vendor.flows:
        raise ManagementFault(400, "no such login", "the provider has no such login")
    login: Tokens | Mapping[str, Any]
    if wanted.flow == "service-account":
        login = _service_account(wanted.secret)
    else:
        secret = wanted.secret.strip()
        if not secret.isascii() or not secret.isprintable() or " " in secret or not secret:
            raise ManagementFault(400, "invalid secret", "expected one word")
        login = {"api_key": secret} if wanted.flow == "api-key" else Tokens(secret)
    return {"status": "ok", "name": await _keep(call.operator, vendor, login)}


def _service_account(data: str | bytes) -> dict[str, Any]:
    """Raises ManagementFault (400)."""
    try:
        login = service_account_login(data)
    except LoginFailed as fault:
        raise ManagementFault(400, "invalid service account", str(fault)) from None
    try:
        RSAKey.import_key(text_of(login["service_account"], "private_key"))
    except (JoseError, ValueError):
        # Without its cause, which may quote the key.
        message = "its private_key cannot be read: expected an RSA key in PEM"
        raise ManagementFault(400, "invalid service account", message) from None
    return login


async def _keep(operator: Operator, vendor: Vendor, login: Tokens | Mapping[str, Any]) -> str:
    """Write a login; the name of its file."""
    async with http_client(operator.running.config.proxy_url, verify=operator.running.verify) as http:
        name = await told(save_login(vendor, place_in(operator, vendor), login, auth_dir_of(operator), http))
    await operator.look_at_accounts()
    return name


async def _import_vertex(call: Call[None, None]) -> dict[str, str]:
    form = await read_form(call.request.headers, await call.read())
    if len(form.files) != 1:
        raise ManagementFault(400, "file required")
    location = form.fields.get("location", "").strip() or DEFAULT_LOCATION
    if not _LOCATION.fullmatch(location):
        raise ManagementFault(400, "invalid location")
    login = {**_service_account(form.files[0][1]), "location": location}
    name = await _keep(call.operator, VENDORS["vertex"], login)
    return {
        "status": "ok",
        "auth-file": str(auth_dir_of(call.operator).path / name),
        "project_id": login["project_id"],
        "email": login["email"],
        "location": login["location"],
    }


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/logins",
        _paste,
        "Keep a key, a token or a service account that the user has",
        body=Pasted,
        answer=Kept,
        errors=(502,),
    ),
    Endpoint("POST", "/vertex/import", _import_vertex, "Keep a service account", takes=FORM, errors=(502,)),
)
