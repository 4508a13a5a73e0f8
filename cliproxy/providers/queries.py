"""Asking a vendor about an account: small JSON answers to a GET, with the errors of `cliproxy.oauth`."""

from typing import Any, cast

import httpx

from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.wire.upstream_error import number


async def ask(http: httpx.AsyncClient, url: str, token: str, **headers: str) -> dict[str, Any] | None:
    """GET a JSON object with an account's token; None where the token may not ask that (403).

    headers: further ones, `_` for `-`. Raises EndpointTrouble for any other answer, and for none.
    """
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        host = httpx.URL(url).host
        response = await http.get(url, headers={"Authorization": f"Bearer {token}", **sent})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The rest of the address may hold a token.
        raise EndpointTrouble(f"{url.partition('?')[0]} cannot be asked: {type(error).__name__}") from None
    if response.status_code == 403:
        return None
    if response.status_code != 200:
        wait_s = number(response.headers.get("retry-after", ""))
        raise EndpointTrouble(f"{host} answered {response.status_code}", retry_after_s=wait_s)
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise EndpointTrouble(f"{host} answered without a JSON object")
    return cast("dict[str, Any]", value)
