"""The endpoint that calls an upstream for a panel, with a credential's token: quota pages are made of that."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import httpx
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from cliproxy.management.endpoint import MAX_BODY_BYTES, MIB, Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.inventory import Entry, inventory
from cliproxy.management.operating import Operator
from cliproxy.management.reach import is_known, is_own, origin_of
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.wire.errors import GatewayError

TOKEN = "$TOKEN$"
TIME_LIMIT_S = 60.0
_SET_BY_US = frozenset({"host", "content-length", "transfer-encoding", "connection"})

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


class Wanted(BaseModel):
    """What to call. `$TOKEN$` in a header's value stands for the credential's token."""

    model_config = ConfigDict(str_strip_whitespace=True, populate_by_name=True)

    auth_index: str = Field("", validation_alias=AliasChoices("auth_index", "authIndex", "AuthIndex"))
    method: str
    url: str
    proxy_url: str = ""
    """One that the configuration names, or `direct`."""
    header: dict[str, str] = {}
    data: str = ""


class Called(TypedDict):
    status_code: int
    header: dict[str, list[str]]
    body: str


async def _call(call: Call[None, Wanted]) -> dict[str, Any]:
    operator, wanted = call.operator, call.body
    if wanted.method.upper() not in Method.__args__:
        raise ManagementFault(400, "invalid method")
    entries = inventory(operator)
    entry = next((entry for entry in entries if wanted.auth_index and entry.auth_index == wanted.auth_index), None)
    _check_reach(operator, wanted, entry, entries)
    headers = await _headers(wanted.header, entry)
    try:
        async with asyncio.timeout(TIME_LIMIT_S), _client(operator, wanted.proxy_url, entry) as http:
            request = http.build_request(wanted.method.upper(), wanted.url, headers=headers, content=wanted.data)
            return await _answer(await http.send(request, stream=True))
    except (httpx.HTTPError, TimeoutError) as error:
        raise ManagementFault(502, "request failed", type(error).__name__) from None
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise ManagementFault(400, "invalid request", "the URL or a header cannot be sent") from None


def _check_reach(operator: Operator, wanted: Wanted, entry: Entry | None, entries: Sequence[Entry]) -> None:
    """Raises ManagementFault for where the call may not go."""
    origin = origin_of(wanted.url)
    if origin is None:
        raise ManagementFault(400, "invalid url")
    if not is_known(operator, origin, entries):
        hint = "name it in remote-management.api-call-hosts to let calls go there"
        raise ManagementFault(403, "host not allowed", f"{origin[1]} is no upstream of this gateway: {hint}")
    if any(TOKEN in value for value in wanted.header.values()):
        if entry is None:
            raise ManagementFault(400, "auth token not found")
        if not is_own(operator, origin, entry):
            raise ManagementFault(
                403, "host not allowed", f"{origin[1]} is not {entry.provider}'s: no token goes there"
            )


async def _headers(wanted: Mapping[str, str], entry: Entry | None) -> dict[str, str]:
    headers = {name: value for name, value in wanted.items() if name.strip().lower() not in _SET_BY_US}
    if any(TOKEN in value for value in headers.values()):
        token = await _token(entry)
        headers = {name: value.replace(TOKEN, token) for name, value in headers.items()}
    return headers


async def _token(entry: Entry | None) -> str:
    """Raises ManagementFault where there is none."""
    if entry and entry.account:
        try:
            await entry.account.ready()
        except GatewayError as error:
            raise ManagementFault(400, "auth token refresh failed", error.message) from None
    token = entry.credentials[0].bearer if entry and entry.credentials else ""
    if not token:
        raise ManagementFault(400, "auth token not found")
    return token


def _client(operator: Operator, proxy_url: str, entry: Entry | None) -> httpx.AsyncClient:
    """Through the proxy that was asked for, else the credential's, else the config's."""
    running = operator.running
    own = ""
    if entry and entry.account:
        own = entry.account.file.proxy_url
    elif entry and entry.credentials:
        own = entry.credentials[0].proxy_url
    if proxy_url and proxy_url not in ("direct", own, running.config.proxy_url):
        # It would see the token of a plain HTTP call, and could be any address of this network.
        raise ManagementFault(403, "proxy not allowed", "the configuration names no such proxy")
    return http_client(proxy_url or own or running.config.proxy_url, verify=running.verify)


async def _answer(response: httpx.Response) -> dict[str, Any]:
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise ManagementFault(502, "answer too large", f"it has more than {MAX_BODY_BYTES // MIB} MiB")
    finally:
        await response.aclose()
    header: dict[str, list[str]] = {}
    for name, value in response.headers.multi_items():
        # As Go's HTTP library spells names, which panels look for.
        header.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
    return {"status_code": response.status_code, "header": header, "body": body.decode("utf-8", "replace")}


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        "POST",
        "/api-call",
        _call,
        "Call an upstream with a credential's token",
        body=Wanted,
        answer=Called,
        errors=(502,),
    ),
)
